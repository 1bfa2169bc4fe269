"""All drills: what each is called, what it shows, and what it needs before it can begin."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from rich.table import Table

from envs.drills import faults, scaling, seeds
from envs.drills.field import Field
from envs.errors import UsageError


@dataclass(frozen=True)
class Drill:
    """One drill."""

    name: str
    shows: str
    carry_out: Callable[[Field], None]
    workers: tuple[int, int] = (0, 0)
    """How many it needs, in full and shortened."""
    sandbox: bool = False
    """Whether its fault can be made in a sandbox only."""


DRILLS: Final = (
    Drill("scale-out", "workers join, each in its domains and in the configuration", scaling.scale_out, (3, 1)),
    Drill(
        "scale-in",
        "3 of 6 workers leave while messages flow: no zombie, no message lost, quorum never at risk",
        scaling.scale_in,
        (6, 6),
    ),
    Drill(
        "duplicate-events",
        "each event comes ten times, and nothing is done twice",
        faults.duplicate_events,
        (2, 1),
        sandbox=True,
    ),
    Drill(
        "lost-event",
        "the event is lost, and the sweep finds the worker that waits",
        faults.lost_event,
        (1, 1),
        sandbox=True,
    ),
    Drill(
        "gateway-errors",
        "the gateway fails and hangs for a minute, and removals go on afterwards",
        faults.gateway_errors,
        (2, 1),
        sandbox=True,
    ),
    Drill(
        "crash-each-step",
        "the function is killed after each of its steps, and the removal ends all the same",
        faults.crash_each_step,
        (1, 1),
        sandbox=True,
    ),
    Drill(
        "seed-target",
        "a worker that is tagged as a seed is let go: refused and retained, then disposed of",
        faults.seed_target,
        (1, 1),
    ),
    Drill("all-at-once", "every worker is let go at once, and they leave one by one", scaling.all_at_once, (6, 2)),
    Drill("seed-loss", "a seed's machine is lost: same address, same disk, Up again", seeds.seed_loss),
    Drill(
        "seed-volume-loss",
        "a seed's disk is lost as well: a new one from the newest snapshot, Up again",
        seeds.seed_volume_loss,
        sandbox=True,
    ),
)
ALL: Final = "all"


def chosen(name: str) -> tuple[Drill, ...]:
    """The drills that a name stands for. Raises `UsageError` for one that does not exist."""
    if name == ALL:
        return DRILLS
    known = {drill.name: drill for drill in DRILLS}
    if name not in known:
        close = get_close_matches(name, [*known, ALL], 1)
        meant = f": did you mean {close[0]}?" if close else ""
        raise UsageError(f"there is no drill {name}{meant} (`fleetstream drill list` shows all)")
    return (known[name],)


def table(drills: Iterable[Drill] = DRILLS) -> Table:
    """The drills for a terminal."""
    found = Table("drill", "shows", "workers", "where", title="drills", title_justify="left")
    for drill in drills:
        found.add_row(
            drill.name, drill.shows, str(drill.workers[0] or ""), "sandbox" if drill.sandbox else "everywhere"
        )
    return found
