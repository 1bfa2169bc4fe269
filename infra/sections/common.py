"""What all sections of an environment's settings share: how they refuse, and the ranges that are private."""

import ipaddress
from collections.abc import Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

Value = TypeVar("Value", str, int)

PRIVATE: Final = tuple(ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


class Section(BaseModel):
    """A group of settings: unknown keys are refused, types are taken literally, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def wrong(message: str) -> PydanticCustomError:
    """A refusal in our own words; pydantic's templates would trip over braces in values."""
    return PydanticCustomError("setting", "{message}", {"message": message})


def one_of(value: Value, allowed: Sequence[Value]) -> Value:
    """The value when it is one of a list; the refusal shows the list."""
    if value not in allowed:
        raise wrong(f"{value!r} is not one of {', '.join(map(str, allowed))}")
    return value
