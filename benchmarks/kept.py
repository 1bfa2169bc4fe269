"""The rounds that were measured, kept by row: a benchmark that was interrupted goes on where it was."""

import hashlib
import json
import statistics
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.measure import Figures, Round

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "build" / "bench"
_MEASURED: Final = (
    "services",
    "benchmarks/brokers.py",
    "benchmarks/measure.py",
    "benchmarks/peers.py",
    "benchmarks/rows.py",
    "benchmarks/warm.py",
)


@dataclass(frozen=True)
class Figure:
    """The median of a figure over the rounds, and the lowest and highest."""

    median: float
    low: float
    high: float


@dataclass
class Kept:
    """The rounds of one row. Those of another code or other settings do not count."""

    path: Path
    key: str
    machine: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def add(self, found: Round, machine: dict[str, str]) -> None:
        """Keeps one more round, at once."""
        self.machine = machine
        self.rounds.append({"at": datetime.now(UTC).isoformat(timespec="seconds"), **asdict(found)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".part")
        kept = {"key": self.key, "machine": machine, "rounds": self.rounds}
        scratch.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2))
        scratch.replace(self.path)

    @property
    def figures(self) -> dict[str, Figure]:
        """Every figure that all rounds have."""
        each: list[Figures] = [one["figures"] for one in self.rounds]
        names = [name for name in each[0] if all(name in one for one in each)] if each else []
        columns = {name: [one[name] for one in each] for name in names}
        return {name: Figure(statistics.median(all_), min(all_), max(all_)) for name, all_ in columns.items()}


def of(row: str, settings: dict[str, Any], folder: Path = FOLDER, again: bool = False) -> Kept:
    """The kept rounds of a row; none when they are of other code or settings, or are to be measured `again`."""
    kept = Kept(folder / f"{row}.json", _key(settings))
    if not again:
        try:
            found = json.loads(kept.path.read_bytes())
        except (OSError, ValueError):
            return kept
        if found.get("key") == kept.key:
            kept.machine, kept.rounds = found["machine"], found["rounds"]
    return kept


def _key(settings: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in _MEASURED:
        place = ROOT / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
