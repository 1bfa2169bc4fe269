"""Exceptions from the security rules: read from one file, each with a reason and a last day."""

from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from infra import rules
from infra.errors import InfraError


class WaiverError(InfraError):
    """A file of waivers that cannot be used: every mistake in it, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Waiver(BaseModel):
    """One exception."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str
    resource: str = Field(min_length=1)
    """A resource's name in the program; ``*`` and ``?`` stand for anything, but not for everything."""
    reason: str = Field(min_length=10)
    expires: date
    """The last day it holds."""

    @field_validator("rule")
    @classmethod
    def _rule(cls, value: str) -> str:
        if value not in rules.NAMES:
            close = get_close_matches(value, rules.NAMES, n=1)
            hint = f", did you mean {close[0]}?" if close else f": rules are {', '.join(sorted(rules.NAMES))}"
            raise PydanticCustomError("waiver", "there is no rule {rule}{hint}", {"rule": value, "hint": hint})
        return value

    @field_validator("resource")
    @classmethod
    def _resource(cls, value: str) -> str:
        if not value.strip("*?"):
            raise PydanticCustomError("waiver", "names no resource: a waiver is for one or a few, not for all")
        return value

    def covers(self, rule: str, resource: str) -> bool:
        """Whether it is about this violation, be it still in force or not."""
        return self.rule == rule and fnmatchcase(resource, self.resource)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    waivers: tuple[Waiver, ...] = ()


def load(path: Path) -> tuple[Waiver, ...]:
    """The waivers in a file. Raises `WaiverError` for a file that is not there, not YAML, or not of this form."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise WaiverError([f"{path.name}: cannot be read: {error}"]) from error
    try:
        return _File.model_validate(content or {}).waivers
    except ValidationError as error:
        raise WaiverError(
            [
                f"{path.name}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}: correct it as its head shows"
                for detail in error.errors(include_url=False)
            ]
        ) from error
