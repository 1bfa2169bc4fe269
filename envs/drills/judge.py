"""What is seen of the cluster in a drill: every change becomes an entry, and what must never be is found. Pure.

Looks are samples. What is between two of them stays unseen, so that a look which shows something wrong proves it, and
looks that do not only make it likely; the functions' own property tests go through every order of calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Final

from envs.drills.timeline import Kind, Timeline
from services.fabric.client import REMOVE_NODE, UP, Node
from services.fabric.fleet import RETAINED, Member

IN_SERVICE: Final = "InService"
WAITS: Final = "Terminating:Wait"
CLUSTER: Final = "cluster"
"""The subject of entries about the whole."""
GATEWAY: Final = "gateway"
_REASON: Final = 160
"""Characters of an error that an entry has room for."""
_NO_QUORUM: Final = "FABRIC_E_NO_WRITE_QUORUM"


@dataclass(frozen=True)
class Look:
    """One moment. The groups are read before the cluster: a node whose machine has left is left behind for sure."""

    members: Mapping[str, Member]
    """The instances of the fleet's groups, by id."""
    names: Mapping[str, str]
    """The tag `node` of each instance that has one."""
    nodes: Sequence[Node] | None
    """None: the gateway did not answer, for the reason `silence`."""
    silence: str = ""


@dataclass
class Departure:
    """A worker on its way out; times in seconds since the drill began, None for what was not seen yet."""

    instance: str
    node: str
    waits: float
    leaves: float | None = None
    """When its node was first seen to be deactivated for removal."""
    forgotten: float | None = None
    answered: float | None = None
    """When the hook had its answer: the group goes on."""
    gone: float | None = None
    retained: bool = False

    @property
    def seconds(self) -> float | None:
        """From its turn to the hook's answer; how long it waited for the others is not its own time."""
        return None if self.answered is None or self.leaves is None else self.answered - self.leaves


@dataclass
class Arrival:
    """A machine that was started in the drill."""

    instance: str
    began: float
    node: str = ""
    up: float | None = None

    @property
    def seconds(self) -> float | None:
        """From the first sight of the machine until it serves and its node is Up."""
        return None if self.up is None else self.up - self.began


@dataclass
class Judge:
    """Takes looks one after the other, from one thread."""

    timeline: Timeline
    seeds: Sequence[str]
    workers_group: str
    broken: list[str] = field(default_factory=list)
    """What must never be, and was."""
    departures: dict[str, Departure] = field(default_factory=dict)
    arrivals: dict[str, Arrival] = field(default_factory=dict)
    lowest_seeds_up: int | None = None
    last: Look | None = None
    _statuses: dict[str, str] = field(default_factory=dict)
    _states: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _workers: set[str] = field(default_factory=set)
    _answered: bool = True
    _now: float = 0.0

    @property
    def quorum(self) -> int:
        """How many seeds have to be Up."""
        return len(self.seeds) // 2 + 1

    def take(self, look: Look) -> None:
        """One look."""
        first = self.last is None
        # What one look shows is true of one moment.
        self._now = self.timeline.now
        for instance, name in look.names.items():
            # The first name it had: a tag may be made wrong on purpose.
            self._names.setdefault(instance, name)
        self._groups(look, first)
        if look.nodes is None:
            self._silent(look.silence)
        else:
            self._cluster(look, look.nodes)
        self.last = look

    def at_the_end(self) -> list[str]:
        """What the last look still shows and should not."""
        look = self.last
        if look is None or look.nodes is None:
            return ["the gateway does not answer in the end"]
        left = [f"{node.name} is a zombie: {node.status}" for node in look.nodes if node.zombie]
        left += [f"{node.name} is still being removed" for node in look.nodes if node.intent == REMOVE_NODE]
        up = {node.name for node in look.nodes if node.status == UP}
        left += [f"seed {name} is not Up" for name in self.seeds if name not in up]
        left += [f"{one.instance} is retained" for one in look.members.values() if one.state == RETAINED]
        return left

    # The groups

    def _groups(self, look: Look, first: bool) -> None:
        for instance, member in look.members.items():
            before = self._states.get(instance)
            if before == member.state:
                continue
            if not first or member.state != IN_SERVICE:
                self.timeline.note(self._called(instance), member.state, Kind.STATE)
            if before is None and not first:
                self.arrivals[instance] = Arrival(instance, self._now)
            if member.group == self.workers_group:
                self._worker(instance, member.state)
            self._states[instance] = member.state
        for instance in [each for each in self._states if each not in look.members]:
            del self._states[instance]
            self.timeline.note(self._called(instance), "out of its group", Kind.STATE)
            if instance in self._workers:
                departure = self._departing(instance)
                departure.answered = self._now if departure.answered is None else departure.answered
                departure.gone = self._now

    def _worker(self, instance: str, state: str) -> None:
        self._workers.add(instance)
        if not state.startswith("Terminating"):
            return
        departure = self._departing(instance)
        if state != WAITS:
            departure.answered = self._now if departure.answered is None else departure.answered
        elif departure.answered is not None:
            self._break(f"the hook of {instance} was answered, and holds it again")
        departure.retained = state == RETAINED

    def _departing(self, instance: str) -> Departure:
        """What is known of its way out; the state in which it waits may have come and gone between two looks."""
        made = Departure(instance, self._names.get(instance, ""), self._now)
        return self.departures.setdefault(instance, made)

    def _called(self, instance: str) -> str:
        name = self._names.get(instance)
        return f"{name} ({instance})" if name else instance

    # The cluster

    def _silent(self, why: str) -> None:
        if self._answered:
            self.timeline.note(GATEWAY, f"does not answer: {shorten(why, _REASON, placeholder=' ...')}")
        self._answered = False
        if _NO_QUORUM in why:
            self._break("the seeds' quorum was lost")

    def _cluster(self, look: Look, nodes: Sequence[Node]) -> None:
        if not self._answered:
            self.timeline.note(GATEWAY, "answers again")
        self._answered = True
        self._note_statuses(nodes)
        self._judge(look, nodes)
        live = {node.name: node for node in nodes}
        for departure in self.departures.values():
            node = live.get(departure.node)
            if departure.leaves is None and node is not None and node.intent == REMOVE_NODE:
                departure.leaves = self._now
            if departure.forgotten is None and departure.node and node is None:
                departure.forgotten = self._now
        for arrival in self.arrivals.values():
            arrival.node = arrival.node or look.names.get(arrival.instance, "")
            node = live.get(arrival.node)
            serves = self._states.get(arrival.instance) == IN_SERVICE
            if arrival.up is None and serves and node is not None and node.status == UP:
                arrival.up = self._now

    def _note_statuses(self, nodes: Sequence[Node]) -> None:
        shown = {node.name: _status(node) for node in nodes}
        for name, status in shown.items():
            if self._statuses.get(name) != status:
                self.timeline.note(name, status, Kind.STATUS)
        for name in self._statuses:
            if name not in shown:
                self.timeline.note(name, "gone", Kind.STATUS)
        self._statuses = shown

    def _judge(self, look: Look, nodes: Sequence[Node]) -> None:
        up = sum(node.name in self.seeds and node.status == UP for node in nodes)
        self.lowest_seeds_up = up if self.lowest_seeds_up is None else min(up, self.lowest_seeds_up)
        if up < self.quorum:
            self._break(f"{up} of {len(self.seeds)} seeds were Up, and a quorum is {self.quorum}")
        leaving = sorted(node.name for node in nodes if node.intent == REMOVE_NODE)
        if len(leaving) > 1:
            self._break(f"{' and '.join(leaving)} were being removed at the same time")
        known = {node.name: node for node in nodes}
        for seed in self.seeds:
            node = known.get(seed)
            if node is None or not node.is_seed:
                self._break(f"seed {seed} was removed from the cluster")
            elif node.intent == REMOVE_NODE:
                self._break(f"seed {seed} was being removed")
        held = {self._names[instance] for instance in look.members if instance in self._names}
        for node in nodes:
            if node.zombie and node.name not in self.seeds and node.name not in held:
                self._break(f"{node.name} was {node.status} after its machine had left: a zombie")

    def _break(self, what: str) -> None:
        if what not in self.broken:
            self.broken.append(what)
            self.timeline.note(CLUSTER, what, Kind.BROKEN)


def _status(node: Node) -> str:
    """As an entry shows it: what it is being deactivated for tells more than Disabling alone."""
    return f"{node.status} ({node.intent})" if node.intent and node.status != UP else node.status
