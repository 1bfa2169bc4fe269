"""What Azure Pipelines makes of azure-pipelines.yml, as far as the deployment needs it: parameters and macros."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from envs.project import ROOT

_EXPRESSION = re.compile(r"\$\{\{ *parameters\.(\w+) *\}\}")
_MACRO = re.compile(r"\$\(([\w.]+)\)")


def pipeline() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "azure-pipelines.yml").read_text())


def deployment(**chosen: Any) -> dict[str, Any]:
    """The deployment's job, with the template expressions expanded for parameters that are chosen or the default."""
    found = pipeline()
    parameters = {item["name"]: item["default"] for item in found["parameters"]} | chosen
    stage = next(stage for stage in found["stages"] if stage["stage"] == "deploy")
    return _expanded(stage["jobs"][0], parameters)


def scripts(job: Mapping[str, Any], variables: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The script steps with their environment; a macro of an unknown variable stays as it is, as in the product."""
    steps = job["strategy"]["runOnce"]["deploy"]["steps"]
    return [
        (_macros(step["bash"], variables), {key: _macros(text, variables) for key, text in step["env"].items()})
        for step in steps
        if "bash" in step
    ]


def _macros(text: str, variables: Mapping[str, str]) -> str:
    return _MACRO.sub(lambda match: variables.get(match[1], match[0]), text)


def _expanded(node: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_expanded(item, parameters) for item in node]
    if isinstance(node, str):
        return _EXPRESSION.sub(lambda match: str(parameters[match[1]]), node)
    if not isinstance(node, dict):
        return node
    result: dict[str, Any] = {}
    taken = False
    for key, value in node.items():
        if condition := re.fullmatch(r"\$\{\{ *if parameters\.(\w+) *\}\}", key):
            taken = bool(parameters[condition[1]])
        elif re.fullmatch(r"\$\{\{ *else *\}\}", key):
            taken = not taken
        else:
            result[key] = _expanded(value, parameters)
            continue
        if taken:
            result |= _expanded(value, parameters)
    return result
