"""One vehicle's telemetry in order, however it came about."""

from dataclasses import dataclass

ROWS_PER_SECOND = 1.0
"""How often a vehicle reports in a recording: OBD-II loggers poll their set of signals about once a second."""


@dataclass(frozen=True, slots=True)
class Drive:
    """What one device measured, a row a report. A signal that was not measured is absent from its row."""

    device: str
    rows: list[dict[str, float]]
