"""Decides what the archive takes: a message that keeps the contract, with the archive's own leg appended. Pure.

Only `services.contract` and the standard library are used: this runs for every message.
"""

import json
from typing import Final, NamedTuple, NoReturn

from services import contract


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Built once: json.loads makes a new decoder a call when it is given a hook.
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


class Origin(NamedTuple):
    """Where a message comes from and when it passed: the archive's leg of `contract.archived`."""

    partition: int
    offset: int
    broker_ms: int
    arrival_ms: int


def admit(value: bytes, origin: Origin, gate_us: int) -> bytes:
    """The line that the archive holds for this message, without a line end.

    Raises `contract.ContractError`, whose text is the reason, for anything that does not belong there: what breaks
    the contract, and what is not one line of UTF-8, which readers of the archive would take for several messages.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise contract.ContractError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    body = value.rstrip()
    if b"\n" in body or b"\r" in body:
        raise contract.ContractError("not one line: it holds a line break")
    try:
        fields = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise contract.ContractError(f"not JSON: {error}") from error
    contract.validate(fields)
    return contract.archived(body, origin.partition, origin.offset, origin.broker_ms, origin.arrival_ms, gate_us)
