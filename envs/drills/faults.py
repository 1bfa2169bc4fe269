"""Drills of faults: events that come too often or not at all, a function that is killed, a gateway in trouble."""

from collections.abc import Sequence
from typing import Final

from envs.drills.field import Field
from envs.drills.judge import Look
from envs.drills.scaling import note_times
from envs.errors import FleetstreamError
from services.fabric import dispose
from services.fabric import fleet as machinery
from services.fabric.client import UP
from services.fabric.fleet import RETAINED, Machine
from services.fabric.waiting import NotYet

_COPIES: Final = 10
_WAITS: Final = ("autoscaling:RecordLifecycleActionHeartbeat", "sqs:SendMessage")
"""What the function does when it has to wait."""
_CALLS: Final = ("ec2:StopInstances", "autoscaling:CompleteLifecycleAction")
_REQUESTS: Final = ("/$/Deactivate", "/$/RemoveNodeState")
"""With the calls above: all that the function changes, which is what its steps are made of."""
_INSTANT_S: Final = 0.1
_UNHEARD_S: Final = 5.0
"""How long a worker whose event was lost is left alone, to see that nobody knows of it."""


def duplicate_events(field: Field) -> None:
    """Each event that a worker leaves comes ten times."""
    field.faults.leaving_events(copies=_COPIES)
    field.act(f"each event that a worker leaves comes {_COPIES} times")
    field.shrink(field.size(2, 1))
    note_times(field)


def lost_event(field: Field) -> None:
    """The event that a worker leaves is lost: the sweep finds the machine that waits."""
    field.faults.leaving_events(copies=0)
    field.act("events that a worker leaves are lost")
    worker = _one(field)
    field.let_go(worker)
    begun = field.timeline.now

    def unheard(_: Look) -> None:
        departure = field.watch.judge.departures.get(worker.id)
        if departure is None:
            raise NotYet(f"{worker.id} does not wait for its hook yet")
        if departure.leaves is None and field.timeline.now - departure.waits < _UNHEARD_S:
            raise NotYet("nobody was told")

    field.wait("a worker that nobody was told of", unheard)
    if field.settings.short:
        _sweep(field)
    _gone(field, worker)
    field.figures["seconds_until_repaired"] = round(field.timeline.now - begun, 1)


def gateway_errors(field: Field) -> None:
    """The gateway fails, then hangs, while workers leave: removals stand still, and go on by themselves."""
    total = field.settings.fault_seconds
    failing, count = total / 3, field.size(2, 1)
    before = set(field.watch.judge.departures)
    field.faults.gateway_fails(failing)
    field.act(f"the gateway answers with errors for {failing:.0f} s")
    field.scale(len(field.workers()) - count)
    ends = field.timeline.now + failing
    field.wait("a gateway that fails", lambda _: _until(field, ends))
    field.faults.gateway_hangs(total - failing)
    field.act(f"the gateway does not answer for {total - failing:.0f} s")
    ends = field.timeline.now + total - failing
    field.wait("a gateway that hangs", lambda _: _until(field, ends))
    field.act("the gateway is well again")
    begun = field.timeline.now
    if field.settings.short:
        _sweep(field)
    field.wait(f"{count} workers leave", lambda look: field.left(look, before, count))
    field.figures["seconds_after_the_fault"] = round(field.timeline.now - begun, 1)


def crash_each_step(field: Field) -> None:
    """The function is killed once after each thing that it changes, before it learns that it did."""
    worker, faults = _one(field), field.faults
    # With a gateway that fails it has to wait for sure; without, that depends on how fast the cluster is.
    faults.gateway_fails(field.settings.limit_s)
    for call in (*_WAITS, *_CALLS):
        faults.kill_after_call(call)
    for request in _REQUESTS:
        faults.kill_after_request(request)
    coming = faults.kills_to_come()
    field.act(f"the gateway fails, and the function will be killed after each of {', '.join(sorted(coming))}")
    field.let_go(worker)
    field.wait("a function that waits, and is killed", lambda _: _killed(field, coming, _WAITS))
    # The last fault counts: this one ends the one before, and leaves the kills.
    faults.gateway_fails(_INSTANT_S)
    field.act("the gateway is well again")

    def look(look: Look) -> None:
        _killed(field, coming, ())
        field.left(look, set(), 1)

    field.wait(f"{worker.node} leaves", look)
    _killed(field, coming, ())
    field.figures["kills"] = len(_WAITS) + len(_CALLS) + len(_REQUESTS) - len(coming)
    field.require(not coming, f"the function was never killed after {', '.join(coming)}: it made no such call")
    note_times(field)


def _killed(field: Field, coming: list[str], wanted: Sequence[str]) -> None:
    """Writes down which kills have happened, and takes them from those to come. Raises `NotYet` for `wanted`."""
    left = field.faults.kills_to_come()
    for step in [each for each in coming if each not in left]:
        coming.remove(step)
        field.act(f"the function was killed after {step}")
        if field.settings.short:
            # By themselves messages come again after six time-outs of the function, and sweeps by the minute.
            field.faults.sweep()
    if missing := [each for each in wanted if each in coming]:
        raise NotYet(f"not killed yet after {', '.join(missing)}")


def seed_target(field: Field) -> None:
    """A worker whose tag names a seed is let go: refused and retained; somebody mends the tag and disposes of it."""
    worker, seed = _one(field), next(iter(field.fleet.seeds))
    ec2, autoscaling = field.place.clients.ec2, field.place.clients.autoscaling
    field.act(f"{worker.id} of {worker.node} is tagged as {seed}")
    machinery.tag_node(ec2, worker.id, seed)
    try:
        field.let_go(worker)
        field.wait("a removal that is refused", lambda look: _state(look, worker, RETAINED))
    finally:
        machinery.tag_node(ec2, worker.id, worker.node)
    untouched = field.gateway.node(seed)
    field.require(untouched is not None and untouched.status == UP, f"{seed} is not Up any more")
    field.require(
        field.watch.judge.departures[worker.id].leaves is None, f"{worker.node} was deactivated all the same"
    )
    field.act(f"the tag is mended, and {worker.node} deactivated for its removal")
    hindered = dispose.find(field.fleet, ec2, autoscaling, field.gateway)
    field.require(
        [(each.instance, bool(each.hindrance)) for each in hindered] == [(worker.id, True)],
        "`cluster dispose` would have ended a machine whose node the cluster still has",
    )
    field.gateway.deactivate(worker.node)
    if field.settings.short:
        _sweep(field)
    field.wait(f"the cluster without {worker.node}", lambda look: _forgotten(field, look, worker))
    for each in dispose.find(field.fleet, ec2, autoscaling, field.gateway):
        if each.hindrance:
            raise FleetstreamError(f"{each.instance} cannot be disposed of: {each.hindrance}")
        dispose.end(autoscaling, each)
        field.act(f"{each.instance} is disposed of")
    field.wait("a group without it", lambda look: _state(look, worker, None))


def _one(field: Field) -> Machine:
    found = field.workers()
    if not found:
        raise FleetstreamError("no worker is in service: `fleetstream cluster nodes` shows what there is")
    return found[-1]


def _gone(field: Field, worker: Machine) -> None:
    field.wait(f"{worker.node} leaves", lambda look: field.left(look, set(), 1))


def _sweep(field: Field) -> None:
    field.act("the sweep comes before its time")
    field.faults.sweep()


def _until(field: Field, moment: float) -> None:
    if (left := moment - field.timeline.now) > 0:
        raise NotYet(f"{left:.0f} s more")


def _state(look: Look, worker: Machine, wanted: str | None) -> None:
    member = look.members.get(worker.id)
    state = member.state if member else None
    if state != wanted:
        raise NotYet(f"{worker.id} is {state or 'out of its group'}")


def _forgotten(field: Field, look: Look, worker: Machine) -> None:
    """A sweep does what it can and goes; the next one goes on."""
    node = next((node for node in look.nodes or () if node.name == worker.node), None)
    if look.nodes is None or node is not None:
        if field.settings.short:
            field.faults.sweep()
        raise NotYet(f"{worker.node} is {node.status if node else 'unseen'}")
