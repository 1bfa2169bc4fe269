"""What differs from one environment to the next, as the table in ``envs/README.md``: `make tables` writes it anew."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from infra import settings
from infra.settings import Settings

ENVIRONMENTS: Final = ("sandbox", "dev", "staging", "prod")
"""Those of everybody; a developer's own stack has the sandbox's sizes."""

_STACK_FILES: Final = Path(__file__).resolve().parent.parent / "envs"

_HEAD: Final = """\
# Environments

One program, and a settings file for each environment (`Pulumi.<env>.yaml`). This table is made from them (`make
tables`); it shows every setting that is not the same everywhere, defaults included. `-` is a setting left out.

"""


def page() -> str:
    """The whole of ``envs/README.md``. Raises `SettingsError` for a stack file with a mistake."""
    chosen = {name: load(name) for name in ENVIRONMENTS}
    flat = {name: dict(_flat(one.model_dump(mode="json"))) for name, one in chosen.items()}
    rows = [("setting", *ENVIRONMENTS, "meaning"), ("---",) * (len(ENVIRONMENTS) + 2)]
    for path in dict.fromkeys(path for values in flat.values() for path in values):
        values = [flat[name].get(path) for name in ENVIRONMENTS]
        if any(value != values[0] for value in values):
            rows.append((f"`{path}`", *map(_shown, values), _meaning(path)))
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def stack_config(name: str) -> dict[str, str]:
    """A tracked stack file as Pulumi hands it to a program."""
    found = yaml.safe_load((_STACK_FILES / f"Pulumi.{name}.yaml").read_text())["config"]
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


def load(name: str) -> Settings:
    """The settings of a tracked environment."""
    chosen, _ = settings.load(stack_config(name))
    return chosen


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return "<br>".join(" ".join(map(str, one.values())) if isinstance(one, dict) else str(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(path: str) -> str:
    """A setting's description, from the models."""
    *parents, last = path.split(".")
    section = settings.section_at(parents)
    description = section.model_fields[last].description if section is not None else None
    return (description or "").replace("|", "\\|")


if __name__ == "__main__":
    (_STACK_FILES / "README.md").write_text(page())
