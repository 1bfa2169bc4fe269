"""What a drill sees and how it judges that: on the cluster's model, with the function that removes workers."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from envs.drills.judge import Judge, Look
from envs.drills.timeline import Kind, Timeline
from services.fabric.client import REMOVE_NODE
from services.fabric.fleet import RETAINED, Member
from services.fabric.lifecycle import TERMINATING, WAITS
from services.fabric.scale_in.decision import GUARDS, one_at_a_time
from services.fabric.scale_in.messages import continuation
from tests.services.fabric.fleet import SEEDS, WORKERS, Fleet

SEED_NAMES = ["seed-0", "seed-1", "seed-2"]


class Stage:
    """A fleet, and somebody who looks at it."""

    def __init__(self, workers: int = 3) -> None:
        self.fleet = Fleet(workers=workers, seeds=3)
        self.timeline = Timeline(self.fleet.clock)
        self.judge = Judge(self.timeline, SEED_NAMES, WORKERS)
        self.look()

    def look(self, **changed: Any) -> None:
        fleet = self.fleet
        members = {name: Member(name, stay.group, stay.state) for name, stay in fleet.stays.items()}
        names = {name: fleet.machines[name].node for name in members if name in fleet.machines}
        seen = {"members": members, "names": names, "nodes": fleet.world.cluster.nodes()}
        self.judge.take(Look(**seen | changed))

    def settle(self, seconds: int = 200) -> None:
        """Until all is done, with a look each second."""
        for _ in range(seconds):
            self.fleet.deliver_due()
            self.look()
            self.fleet.passes(1)
        self.look()

    def let_go(self, *instances: str) -> None:
        for instance in instances:
            self.fleet.queue.append((0.0, continuation(self.fleet.terminate(instance))))

    def texts(self, subject: str) -> list[str]:
        return [event.text for event in self.timeline.events if event.subject == subject]


def test_a_removal_is_followed_from_its_turn_to_its_end() -> None:
    stage = Stage()
    stage.let_go("i-worker-1")
    stage.settle()
    assert stage.judge.broken == []
    assert stage.judge.at_the_end() == []
    (departure,) = stage.judge.departures.values()
    assert departure.node == "worker-1"
    times = (departure.waits, departure.leaves, departure.forgotten, departure.answered, departure.gone)
    assert None not in times
    assert list(times) == sorted(time for time in times if time is not None)
    assert departure.seconds == departure.answered - departure.leaves  # type: ignore[operator]
    assert not departure.retained
    statuses = stage.texts("worker-1")
    assert [statuses[0], statuses[-3:]] == ["Up", ["Disabled (RemoveNode)", "Down (RemoveNode)", "gone"]]
    assert stage.texts("worker-1 (i-worker-1)")[0] == WAITS[TERMINATING]


def test_workers_that_leave_at_once_take_turns() -> None:
    stage = Stage()
    stage.let_go("i-worker-0", "i-worker-1", "i-worker-2")
    stage.settle(600)
    assert stage.judge.broken == []
    turns = sorted((each.leaves or 0.0, each.forgotten or 0.0) for each in stage.judge.departures.values())
    assert len(turns) == 3
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(turns))


def test_two_that_are_removed_at_the_same_time_are_told() -> None:
    stage = Stage()
    stage.fleet.process(guards=[guard for guard in GUARDS if guard is not one_at_a_time])
    stage.let_go("i-worker-0", "i-worker-1")
    stage.settle(30)
    assert stage.judge.broken == ["worker-0 and worker-1 were being removed at the same time"]
    assert [event.text for event in stage.timeline.events if event.kind is Kind.BROKEN] == stage.judge.broken


def test_a_machine_that_leaves_before_its_node_makes_a_zombie() -> None:
    stage = Stage()
    stage.fleet.drop("i-worker-0")
    stage.fleet.passes(60)
    stage.look()
    assert stage.judge.broken == ["worker-0 was Down after its machine had left: a zombie"]
    assert "worker-0 is a zombie: Down" in stage.judge.at_the_end()


def test_seeds_below_their_quorum_are_told_and_one_alone_is_not() -> None:
    stage = Stage()
    for number, wrong in ((0, []), (1, ["1 of 3 seeds were Up, and a quorum is 2"])):
        nodes = stage.fleet.world.cluster.nodes()
        down = {f"seed-{each}" for each in range(number + 1)}
        stage.look(nodes=[replace(node, status="Down") if node.name in down else node for node in nodes])
        assert stage.judge.broken == wrong
    assert stage.judge.lowest_seeds_up == 1
    assert {"seed seed-0 is not Up", "seed seed-1 is not Up"} <= set(stage.judge.at_the_end())


def test_a_quorum_that_the_gateway_misses_is_told() -> None:
    stage = Stage()
    stage.look(nodes=None, silence="not now: FABRIC_E_NO_WRITE_QUORUM 1 of 3")
    assert stage.judge.broken == ["the seeds' quorum was lost"]
    assert stage.judge.at_the_end() == ["the gateway does not answer in the end"]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"intent": REMOVE_NODE}, "seed seed-2 was being removed"),
        ({"is_seed": False}, "seed seed-2 was removed from the cluster"),
        ({"name": "other"}, "seed seed-2 was removed from the cluster"),
    ],
)
def test_a_seed_that_is_removed_is_told(changed: dict[str, Any], wrong: str) -> None:
    stage = Stage()
    nodes = stage.fleet.world.cluster.nodes()
    stage.look(nodes=[replace(node, **changed) if node.name == "seed-2" else node for node in nodes])
    assert stage.judge.broken == [wrong]


def test_a_hook_that_holds_a_machine_again_was_answered_twice() -> None:
    stage = Stage()
    for state in (WAITS[TERMINATING], "Terminating:Proceed", WAITS[TERMINATING]):
        stage.fleet.stays["i-worker-0"].state = state
        stage.look()
    assert stage.judge.broken == ["the hook of i-worker-0 was answered, and holds it again"]


def test_what_is_retained_is_told_in_the_end_only() -> None:
    stage = Stage()
    stage.fleet.tag("i-worker-0", node="seed-0")
    stage.look()
    stage.let_go("i-worker-0")
    stage.settle(30)
    assert stage.judge.broken == []
    assert stage.judge.departures["i-worker-0"].retained
    assert stage.judge.departures["i-worker-0"].node == "worker-0"
    assert stage.judge.at_the_end() == ["i-worker-0 is retained"]
    assert stage.fleet.stays["i-worker-0"].state == RETAINED


def test_a_machine_that_is_started_has_arrived_when_it_serves_and_its_node_is_up() -> None:
    stage = Stage()
    stage.fleet.passes(5)
    instance = stage.fleet.launch()
    stage.fleet.stays[instance].state = "Pending:Wait"
    stage.look()
    assert stage.judge.arrivals[instance].up is None
    stage.fleet.passes(2)
    stage.fleet.stays[instance].state = "InService"
    stage.look()
    assert stage.judge.arrivals[instance].seconds == 2
    assert SEEDS not in stage.judge.arrivals


def test_a_gateway_that_is_silent_and_answers_is_told_once_each() -> None:
    stage = Stage()
    for nodes in (None, None, stage.fleet.world.cluster.nodes()):
        stage.look(nodes=nodes, silence="HTTP 503")
    assert stage.texts("gateway") == ["does not answer: HTTP 503", "answers again"]
    assert stage.judge.broken == []
