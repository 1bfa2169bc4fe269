"""The product's own rules for ClusterConfig.json: every broken one at once, where the product stops at the first.

They are those of microsoft/service-fabric, ``src/prod/src/managed/Api/Dlls``: each rule names the file that has it.
Two things only the product can judge: whether it knows a parameter of ``fabricSettings`` (a list inside its package),
and whether certificates are installed on every machine; TestConfiguration.ps1 looks at both.
"""

import json
from collections.abc import Mapping
from typing import Any

from services.fabric.errors import FabricServiceError
from services.fabric.rules import nodes, ports, security, settings, update
from services.fabric.rules.rule import Broken, Rule
from services.fabric.rules.view import placeholders

__all__ = ["Broken", "Rule", "check", "check_update", "parse", "placeholders"]

RULES: tuple[Rule, ...] = (*nodes.RULES, *ports.RULES, *settings.RULES, *security.RULES)
UPDATE_RULES: tuple[Rule, ...] = update.RULES


def parse(text: str, where: str) -> Any:
    """A configuration's JSON. Raises `FabricServiceError` that names line and column."""
    try:
        return json.loads(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"))
    except json.JSONDecodeError as error:
        raise FabricServiceError(
            f"{where}: line {error.lineno}, column {error.colno}: no JSON: {error.msg}"
        ) from error


def check(configuration: Any) -> list[Broken]:
    """Every rule that a configuration breaks, in its own order; none: the product takes it."""
    return [broken for rule in RULES for broken in rule.judge(configuration)]


def check_update(current: Mapping[str, Any], new: Mapping[str, Any]) -> list[Broken]:
    """Every rule that the step from the cluster's current configuration to another one breaks."""
    return [broken for rule in UPDATE_RULES for broken in rule.judge(current, new)]
