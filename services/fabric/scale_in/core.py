"""Takes a worker out of the cluster before its machine ends: each delivery makes what progress it can. Pure.

Nothing is remembered between two deliveries but what the world shows: the hook that waits, the node's deactivation,
the machine's state. So a delivery may be late, doubled, lost or cut off after any call, and the next one goes on. A
delivery asks the hook for more time before anything else, so that one that is cut off leaves time for the next. When
it is not done it leaves a new message for later: handing its own back would count it as received again, until it were
taken for a dead letter.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from services.fabric.client import REMOVE_NODE, Node, Upgrade
from services.fabric.errors import FabricServiceError, GatewayUnreachableError
from services.fabric.lifecycle import (
    ABANDON,
    CONTINUE,
    TERMINATING,
    Action,
    ActionOverError,
    Groups,
    Instance,
    Member,
    stray,
)
from services.fabric.scale_in.decision import ENDS, GUARDS, Decision, Guard, Step, by_machine, next_step

HOOK: Final = "worker-terminate"
"""The hook of the workers' group that this function answers; other hooks belong to others."""
LATE_SHARE: Final = 0.8
"""Of a hook's global time-out: a machine that waits for longer is reported."""


class Outcome(StrEnum):
    """How a step ended, or a delivery."""

    DONE = "done"
    FAILED = "failed"
    UNREACHABLE = "gateway-unreachable"
    WAITING = "waiting"
    PROMISED = "waiting-for-a-message-under-way"
    RELEASED = "released"
    REFUSED = "refused"
    OVER = "over"
    STRAY = "stray"
    LATE = "late"
    SEED_DOWN = "seed-down"


class Machines(Protocol):
    """EC2, as far as this function speaks to it."""

    def instance(self, instance_id: str) -> Instance | None:
        """A machine; None when it is gone."""
        ...

    def instances(self, cluster: str) -> list[Instance]:
        """The cluster's machines, but those that are gone."""
        ...

    def stop(self, instance_id: str) -> None:
        """Begins to stop a machine."""
        ...


class WorkerGroups(Groups, Protocol):
    """Auto Scaling, with the machines of the cluster's groups."""

    def members(self, cluster: str) -> list[Member]:
        """The machines of every group of the cluster."""
        ...


class Cluster(Protocol):
    """The cluster's gateway, as far as this function speaks to it. Every call raises `FabricServiceError`."""

    def nodes(self) -> list[Node]:
        """Every node that the cluster knows."""
        ...

    def deactivate(self, name: str, intent: str = REMOVE_NODE) -> None:
        """Begins to take a node out of use."""
        ...

    def activate(self, name: str) -> None:
        """Takes a deactivation back."""
        ...

    def remove_state(self, name: str) -> None:
        """Makes the cluster forget a node that is down."""
        ...

    def upgrade_status(self) -> Upgrade:
        """How far the last change of the configuration is."""
        ...


@dataclass(frozen=True)
class Standing:
    """How far a removal has come."""

    decision: Decision
    node: str
    outcome: Outcome = Outcome.WAITING
    """Of a wait: what is waited for."""


@dataclass(frozen=True)
class Record:
    """One step, for the log and the metrics; of the last one of a delivery the time is the delivery's."""

    step: str
    outcome: Outcome
    reason: str = ""
    node: str = ""
    instance: str = ""
    group: str = ""
    attempt: int = 0
    seconds: float = 0.0


class Agenda:
    """The messages that are under way, as far as this process knows.

    Doubled events would each begin a chain of messages. A chain that meets a younger message of another ends; that
    a process forgets costs a few looks more, and nothing else.
    """

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def awaits(self, instance: str, now: float) -> bool:
        """Whether a message about this machine is still to come."""
        return now < self._due.get(instance, 0.0)

    def note(self, instance: str, due: float, now: float) -> None:
        """A message was sent that comes when it is due."""
        self._due = {known: when for known, when in self._due.items() if now < when} | {instance: due}


@dataclass(frozen=True)
class World:
    """What a delivery looks at and acts upon."""

    cluster_name: str
    groups: WorkerGroups
    machines: Machines
    cluster: Cluster
    send: Callable[[Action, int], None]
    """Leaves a message that comes after so many seconds."""
    record: Callable[[Record], None]
    gauge: Callable[[str, int], None]
    """Tells how many of something there are."""
    certificates: Callable[[], Sequence[float]]
    """When each certificate that can be read ends, in seconds since 1970. Raises `FabricServiceError`."""
    poll_seconds: int
    agenda: Agenda = field(default_factory=Agenda)
    hook: str = HOOK
    guards: Sequence[Guard] = GUARDS
    now: Callable[[], float] = time.time


def advance(world: World, action: Action) -> Outcome:
    """One delivery for a machine that leaves: everything that can be done now, and never a wait."""
    begun = world.now()
    if reason := _stray(world, action):
        return _note(world, action, "look", Outcome.STRAY, reason, begun=begun)
    node = ""
    try:
        world.groups.heartbeat(action)
        standing = pursue(world, action)
        decision, node = standing.decision, standing.node
        match decision.step:
            case Step.RELEASE:
                world.groups.complete(action, CONTINUE)
                return _note(world, action, "complete", Outcome.RELEASED, decision.reason, node, begun)
            case Step.REFUSE:
                world.groups.complete(action, ABANDON)
                return _note(world, action, "complete", Outcome.REFUSED, decision.reason, node, begun)
            case _:
                return _come_back(world, action, standing, begun)
    except ActionOverError as error:
        return _note(world, action, "complete", Outcome.OVER, str(error), node, begun)


def pursue(world: World, action: Action) -> Standing:
    """Goes step by step to where only time helps, or to the end.

    No step is done twice: what was asked for may take a while to show.
    """
    done: set[Step] = set()
    node = ""
    while True:
        begun = world.now()
        name = "look"
        try:
            instance = world.machines.instance(action.instance)
            node = instance.node if instance else ""
            decision = _decide(world, instance)
            if decision.step in (*ENDS, *done):
                return Standing(decision, node)
            name = decision.step
            _perform(world, decision.step, action.instance, node)
        except FabricServiceError as error:
            outcome = failure(error)
            _note(world, action, name, outcome, str(error), node, begun)
            return Standing(Decision(Step.WAIT, str(error)), node, outcome)
        done.add(decision.step)
        _note(world, action, name, Outcome.DONE, decision.reason, node, begun)


def failure(error: FabricServiceError) -> Outcome:
    """What a failed call counts as."""
    return Outcome.UNREACHABLE if isinstance(error, GatewayUnreachableError) else Outcome.FAILED


def _decide(world: World, instance: Instance | None) -> Decision:
    if instance is None:
        return Decision(Step.RELEASE, "the instance is gone")
    return by_machine(instance) or next_step(instance, world.cluster.nodes(), world.guards)


def _perform(world: World, step: Step, instance: str, node: str) -> None:
    match step:
        case Step.DEACTIVATE:
            world.cluster.deactivate(node, REMOVE_NODE)
        case Step.STOP:
            world.machines.stop(instance)
        case Step.FORGET:
            world.cluster.remove_state(node)


def _stray(world: World, action: Action) -> str:
    """Why there is nothing to do; empty when the machine waits for this function."""
    if reason := stray(world.groups, world.cluster_name, action, TERMINATING):
        return reason
    return "" if action.hook == world.hook else f"hook {action.hook} is answered by others: ours is {world.hook}"


def _come_back(world: World, action: Action, standing: Standing, begun: float) -> Outcome:
    """Sees to it that somebody looks again."""
    _warn_if_late(world, action, standing.node)
    now = world.now()
    outcome = standing.outcome
    if world.agenda.awaits(action.instance, now):
        outcome = Outcome.PROMISED
    else:
        world.send(replace(action, attempt=action.attempt + 1), world.poll_seconds)
        world.agenda.note(action.instance, now + world.poll_seconds, now)
    return _note(world, action, "wait", outcome, standing.decision.reason, standing.node, begun)


def _warn_if_late(world: World, action: Action, node: str) -> None:
    group = world.groups.group(action.group)
    hook = group.hooks.get(action.hook) if group else None
    waited = world.now() - action.began
    if hook and waited > LATE_SHARE * hook.global_seconds:
        reason = (
            f"waits for {waited:.0f} s, and the hook ends after {hook.global_seconds} s, heartbeats or not: "
            "the instance is retained then"
        )
        _note(world, action, "heartbeat", Outcome.LATE, reason, node)


def _note(
    world: World, action: Action, step: str, outcome: Outcome, reason: str, node: str = "", begun: float | None = None
) -> Outcome:
    seconds = 0.0 if begun is None else world.now() - begun
    world.record(Record(step, outcome, reason, node, action.instance, action.group, action.attempt, seconds))
    return outcome
