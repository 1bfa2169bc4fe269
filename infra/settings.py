"""What an environment is set to: read, checked as a whole, and refused with every mistake at once."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from infra.errors import InfraError
from infra.sections import (
    Archive,
    Filesystem,
    Fleet,
    Functions,
    Ingress,
    Monitoring,
    Network,
    Operations,
    Section,
    Simulators,
    Streaming,
    wrong,
)

NAMESPACE: Final = "fleetstream"
KEY: Final = f"{NAMESPACE}:settings"
REGION: Final = "aws:region"


class SettingsError(InfraError):
    """Every mistake in an environment's settings, one line each: where it is, what is wrong, and the remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Settings(Section):
    """One environment: all that differs from one to the next, and nothing else."""

    account: str | None = Field(
        default=None,
        description="the AWS account it must be in, 12 digits in quotes; left out: any that is signed in",
    )
    owner: str = Field(min_length=1, max_length=64, description="who answers for it; becomes a tag on everything")
    network: Network = Field(description="the VPC's range and zones")
    streaming: Streaming = Field(default_factory=lambda: Streaming(), description="the Kafka cluster")
    archive: Archive = Field(default_factory=lambda: Archive(), description="the archive of all telemetry")
    functions: Functions = Field(default_factory=lambda: Functions(), description="the functions around the stream")
    filesystem: Filesystem = Field(default_factory=lambda: Filesystem(), description="the shared file system")
    ingress: Ingress = Field(default_factory=lambda: Ingress(), description="the load balancers and who may use them")
    monitoring: Monitoring = Field(default_factory=lambda: Monitoring(), description="alarms, and whom they tell")
    fleet: Fleet = Field(default_factory=lambda: Fleet(), description="the Service Fabric cluster's machines")
    simulators: Simulators | None = Field(
        default=None, description="hosts that make load together; left out: there are none"
    )
    operations: Operations = Field(default_factory=lambda: Operations(), description="retention and protection")

    @field_validator("account")
    @classmethod
    def _account(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d{12}", value):
            raise wrong(f"{value!r} is no account number: write its 12 digits in quotes")
        return value


def load(config: Mapping[str, str]) -> tuple[Settings, str]:
    """The settings and the region from a stack's configuration, as Pulumi hands it to the program (values are text).

    Raises `SettingsError` that lists every mistake, those in keys beside the settings included.
    """
    problems = [
        f"{key}: unknown key{_suggestion(key, [KEY])}. Everything of this project is below {KEY}"
        for key in sorted(config)
        if key.startswith(f"{NAMESPACE}:") and key != KEY
    ]
    region = config.get(REGION, "")
    if not region:
        problems.append(f"{REGION}: is missing: add it to the stack file, such as eu-central-1")
    settings = None
    if KEY not in config:
        problems.append(f"{KEY}: is missing: add it to the stack file; envs/Pulumi.dev.yaml shows its form")
    else:
        try:
            settings = Settings.model_validate_json(config[KEY], context={"region": region})
        except ValidationError as error:
            problems += [_explain(detail) for detail in error.errors(include_url=False)]
    if problems or settings is None:
        raise SettingsError(problems)
    return settings, region


def _explain(detail: ErrorDetails) -> str:
    *parents, last = detail["loc"] or ("",)
    path = ".".join([KEY, *(str(part) for part in detail["loc"])])
    section = section_at(parents)
    field = section.model_fields.get(str(last)) if section else None
    # The description of the innermost named field also serves for items of its lists.
    meaning = f" ({field.description})" if field and field.description else ""
    match detail["type"]:
        case "extra_forbidden" if section:
            known = list(section.model_fields)
            return f"{path}: unknown key{_suggestion(str(last), known)}. Known here: {', '.join(known)}"
        case "missing":
            return f"{path}: is missing: add it{meaning}"
        case "json_invalid":
            return f"{KEY}: is not a structure: write keys below it as in envs/Pulumi.dev.yaml"
        case "setting":
            return f"{path}: {detail['msg']}"
        case _:
            found = "" if isinstance(detail["input"], dict | list) else f", found {detail['input']!r}"
            return f"{path}: {detail['msg'][0].lower()}{detail['msg'][1:]}{found}: correct it{meaning}"


def section_at(path: Sequence[int | str]) -> type[BaseModel] | None:
    """The model at a path; None where the path leads into a list."""
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(str(part))
        # A section that may be left out is one beside None.
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            return None
        model = found[0]
    return model


def _suggestion(key: str, known: Sequence[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return f", did you mean {close[0]}?" if close else ""
