"""How far this machine's clock may be off, as chrony says: times of two machines compare only within that."""

import shutil
import subprocess
from typing import Final

from pydantic import BaseModel, ConfigDict

_COMMAND: Final = ("chronyc", "-c", "tracking")
_SECONDS: Final = 5.0
_FIELDS: Final = 14
_NAME, _OFFSET, _ROOT_DELAY, _ROOT_DISPERSION, _LEAP = 1, 4, 10, 11, 13
_ADRIFT: Final = "Not synchronised"


class ClockCheck(BaseModel):
    """What is known of a clock. Both figures are None when that is nothing, and `source` says why.

    `offset_us`: how far it is from its source now. `error_us`: how far it is from the true time at most, which is the
    offset, the root dispersion and half the root delay together (chrony.conf(5), "clock_error").
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    offset_us: float | None = None
    error_us: float | None = None


def check() -> ClockCheck:
    """Asks chrony, where there is one."""
    if shutil.which(_COMMAND[0]) is None:
        return ClockCheck(source="not known: there is no chronyc")
    try:
        ran = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return ClockCheck(source=f"not known: chronyc did not answer within {_SECONDS:g} s")
    if ran.returncode:
        return ClockCheck(source=f"not known: {(ran.stdout + ran.stderr).strip()[:200]}")
    return parse(ran.stdout)


def parse(told: str) -> ClockCheck:
    """What ``chronyc -c tracking`` printed: one line, its fields in the order of the plain report (chronyc(1)).

    Reference and its name, stratum, reference time, system time (s off), last offset, RMS offset, frequency, residual
    frequency, skew, root delay (s), root dispersion (s), update interval, leap status.
    """
    fields = told.strip().split(",")
    try:
        offset, delay, dispersion = (float(fields[at]) for at in (_OFFSET, _ROOT_DELAY, _ROOT_DISPERSION))
    except (ValueError, IndexError):
        fields = []
        offset = delay = dispersion = 0.0
    if len(fields) != _FIELDS:
        return ClockCheck(source=f"not known: chronyc tracking printed {told.strip()[:200]!r}")
    if fields[_LEAP] == _ADRIFT:
        return ClockCheck(source="not known: chrony has no source")
    error = abs(offset) + dispersion + delay / 2
    return ClockCheck(
        source=f"chrony, {fields[_NAME]}", offset_us=round(offset * 1e6, 3), error_us=round(error * 1e6, 3)
    )
