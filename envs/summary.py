"""What a run leaves in ``summary.json``: counts, latencies, service levels and whether all of it holds."""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

REQUIRED_RATE: Final = 5000.0
"""Messages a second that the platform must take at least (Mission, "How to Use AWS Cloud-native Services to Process
70K Messages/Second"); so are the latency bounds below."""
REQUIRED_P99_MS: Final = 10.0
REQUIRED_MAX_MS: Final = 100.0


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Resources(_Part):
    """What the environment consists of. ``created`` counts this run's creations, ``by_type`` all there are."""

    created: int = 0
    by_type: dict[str, int] = Field(default_factory=dict)


class Messages(_Part):
    """Every message's fate, counted by sequence numbers. None: not measured."""

    attempted: int = 0
    acked: int = 0
    rejected: int = 0
    unknown: int = 0
    consumed: int | None = None
    archived: int | None = None
    dead_lettered: int | None = None
    duplicates: int | None = None
    lost: int | None = None


class Rate(_Part):
    """Messages a second."""

    target: float | None = None
    produced: float | None = None
    consumed: float | None = None


class Latency(_Part):
    """From the moment a message was due to be sent to its arrival at the consumer: milliseconds, and shares of 1."""

    p50: float
    p99: float
    p99_6: float
    p99_9: float
    max: float
    share_le_1ms: float
    share_le_10ms: float
    share_le_100ms: float


class Leg(_Part):
    """One stretch of a message's way, in milliseconds."""

    p50: float
    p99: float
    max: float


class Analysis(_Part):
    """What Spark found in the archive."""

    rows: int | None = None
    devices: int | None = None
    windows: int | None = None
    output: str | None = None
    report: str | None = None


class Fabric(_Part):
    """The cluster after the drill: nodes Up, and what the drill removed and left behind. None: it was not reached."""

    nodes: int | None = None
    seed_nodes: int | None = None
    removed: int | None = None
    zombies: int | None = None


class ServiceLevel(_Part):
    """One requirement and how it went."""

    name: str
    required: str
    measured: float | None
    passed: bool


class Check(_Part):
    """Two independent counts of the same thing."""

    name: str
    expected: int
    found: int

    @property
    def passed(self) -> bool:
        """Whether the two agree."""
        return self.expected == self.found


class Summary(_Part):
    """The whole file. ``passed``: nothing failed, the accounting holds and every service level was met."""

    environment: str
    seed: int
    started: datetime
    seconds: float = 0.0
    resources: Resources = Field(default_factory=Resources)
    messages: Messages = Field(default_factory=Messages)
    rate: Rate = Field(default_factory=Rate)
    latency_ms: Latency | None = None
    legs_ms: dict[str, Leg] = Field(default_factory=dict)
    analysis: Analysis = Field(default_factory=Analysis)
    fabric: Fabric = Field(default_factory=Fabric)
    checks: list[Check] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)
    slo: list[ServiceLevel] = Field(default_factory=list)
    passed: bool = False

    def conclude(self) -> int:
        """Judges the run: fills `slo` and `passed`, and returns the exit code that belongs to them."""
        failed = [
            f"{check.name}: {check.expected} expected, {check.found} found"
            for check in self.checks
            if not check.passed
        ]
        self.problems.extend(failed)
        self.slo = service_levels(self)
        missed = not all(level.passed for level in self.slo)
        self.passed = not self.problems and not missed
        return 1 if self.problems else 3 if missed else 0


def service_levels(summary: Summary) -> list[ServiceLevel]:
    """The platform's requirements against what was measured; what was not measured has not passed."""
    latency, rate, lost = summary.latency_ms, summary.rate.consumed, summary.messages.lost
    return [
        ServiceLevel(
            name="messages a second",
            required=f">= {REQUIRED_RATE:g}",
            measured=rate,
            # Whole messages: a rate is a count over a time that no clock ends exactly on a message.
            passed=rate is not None and round(rate) >= REQUIRED_RATE,
        ),
        ServiceLevel(
            name="latency p99, ms",
            required=f"< {REQUIRED_P99_MS:g}",
            measured=latency.p99 if latency else None,
            passed=latency is not None and latency.p99 < REQUIRED_P99_MS,
        ),
        ServiceLevel(
            name="latency of the slowest message, ms",
            required=f"<= {REQUIRED_MAX_MS:g}",
            measured=latency.max if latency else None,
            passed=latency is not None and latency.max <= REQUIRED_MAX_MS,
        ),
        ServiceLevel(
            name="messages lost",
            required="0",
            measured=lost,
            passed=lost == 0,
        ),
    ]


def tables(summary: Summary) -> list[Table]:
    """The same for a terminal: the accounting, and the requirements with their verdicts."""
    counts = Table("messages", "", title="accounting", title_justify="left")
    counts.columns[1].justify = "right"
    for name, value in summary.messages.model_dump().items():
        counts.add_row(name.replace("_", " "), "not measured" if value is None else f"{value:,}")
    levels = Table("requirement", "required", "measured", "", title="service levels", title_justify="left")
    for level in summary.slo:
        measured = "not measured" if level.measured is None else f"{level.measured:,.2f}".rstrip("0").rstrip(".")
        levels.add_row(
            level.name, level.required, measured, "[green]met[/green]" if level.passed else "[red]missed[/red]"
        )
    return [counts, levels]
