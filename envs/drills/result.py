"""What a drill has shown: a verdict with its reasons, figures, and the timeline."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from analytics import report
from envs.drills.timeline import Event, as_json
from envs.lifecycle import write_json


@dataclass(frozen=True, kw_only=True)
class Result:
    """One drill's. `seconds`: how long the drill itself took, without what had to be made ready."""

    drill: str
    shows: str
    environment: str
    started: datetime
    seconds: float
    reasons: tuple[str, ...]
    """Why it has failed; none: it has passed."""
    figures: Mapping[str, Any]
    events: Sequence[Event] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "events"},
            "started": self.started.isoformat(),
            "passed": self.passed,
            "timeline": as_json(self.events),
        }

    def write(self, folder: Path) -> Path:
        """Leaves ``result.json`` and ``report.html`` in the folder; the page's path."""
        content, page = self.as_json(), folder / "report.html"
        write_json(folder / "result.json", content)
        report.render_drill(content, page)
        return page


def table(results: Sequence[Result]) -> Table:
    """The verdicts for a terminal."""
    found = Table("drill", "", "seconds", "a node, median / max", "why", title="drills", title_justify="left")
    found.columns[2].justify = found.columns[3].justify = "right"
    for one in results:
        median, longest = (one.figures.get(f"seconds_a_node_{which}") for which in ("median", "max"))
        found.add_row(
            one.drill,
            "[green]passed[/]" if one.passed else "[red]failed[/]",
            f"{one.seconds:.1f}",
            "" if median is None else f"{median:g} / {longest:g} s",
            escape("; ".join(one.reasons)),
        )
    return found
