"""Any interleaving of events, crashes, silence and scale commands: what must never happen does not.

The rules drive the function against the sandbox's model of a cluster. `Fleet` looks at every call of the function for
what must never happen; after each rule the same is looked for in the cluster, and at the end a sweep must have left
nothing behind. Mutants of the function show that the test would notice.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.fabric.client import REMOVE_NODE
from services.fabric.lifecycle import CONTINUE, IN_SERVICE, TERMINATING, WAITS, Instance
from services.fabric.scale_in import core, sweep
from services.fabric.scale_in.decision import (
    GUARDS,
    Decision,
    Guard,
    Step,
    by_machine,
    enough_remains,
    next_step,
    one_at_a_time,
    seeds_stay,
)
from services.fabric.scale_in.messages import continuation
from tests.services.fabric.fleet import POLL, SEEDS, WORKERS, Fleet
from tests.services.fabric.samples import text

SEEDS_IN_ALL = 3
SWEEP = text("scheduled")
LIMITS = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


class Interleavings(RuleBasedStateMachine):
    """A fleet, what happens to it, and a function that is cut off at times."""

    changes: dict[str, Any] = {}  # noqa: RUF012 - what a mutant sets

    @initialize(workers=st.integers(min_value=1, max_value=4), whole=st.booleans())
    def begin(self, workers: int, whole: bool) -> None:
        self.fleet = Fleet(workers=workers, seeds=SEEDS_IN_ALL)
        self.fleet.process(**self.changes)
        for number in range(SEEDS_IN_ALL):
            # So that the cluster has to say which nodes are seeds.
            self.fleet.tag(f"i-seed-{number}", role=None)
        self.said: list[str] = []
        if not whole:
            self.a_seed_goes_down()

    def machines(self, group: str, state: str = IN_SERVICE) -> list[str]:
        return sorted(name for name, stay in self.fleet.stays.items() if (stay.group, stay.state) == (group, state))

    @rule(data=st.data(), fate=st.sampled_from(["comes", "comes twice", "is late", "is lost"]))
    def a_worker_is_let_go(self, data: st.DataObject, fate: str) -> None:
        if candidates := self.machines(WORKERS):
            self.let_go(data.draw(st.sampled_from(candidates)), fate)

    @rule(data=st.data())
    def somebody_ends_a_seed(self, data: st.DataObject) -> None:
        if candidates := self.machines(SEEDS):
            self.let_go(data.draw(st.sampled_from(candidates)), "comes")

    def let_go(self, instance: str, fate: str) -> None:
        body = continuation(self.fleet.terminate(instance))
        self.said.append(body)
        if fate == "is late":
            self.fleet.queue.append((self.fleet.clock.now + 100, body))
        elif fate != "is lost":
            self.fleet.deliver(body)
            if fate == "comes twice":
                self.fleet.deliver(body)

    @rule()
    def the_group_grows(self) -> None:
        if len(self.machines(WORKERS)) < 2 and self.fleet.model.seeds_up == SEEDS_IN_ALL:
            self.fleet.launch()

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def an_event_comes_again(self, data: st.DataObject) -> None:
        self.fleet.deliver(data.draw(st.sampled_from(self.said)))

    @rule(seconds=st.sampled_from([1, 5, POLL, 60, 700]))
    def time_passes(self, seconds: int) -> None:
        self.fleet.passes(seconds)
        self.fleet.deliver_due()

    @rule()
    def the_schedule_comes(self) -> None:
        self.fleet.deliver(SWEEP)

    @rule(calls=st.integers(min_value=0, max_value=25))
    def the_process_will_end(self, calls: int) -> None:
        self.fleet.crash_after = calls

    @rule()
    def the_process_is_replaced(self) -> None:
        self.fleet.process(**self.changes)

    @rule()
    def the_gateway_falls_silent_or_answers(self) -> None:
        self.fleet.reachable = not self.fleet.reachable

    @rule(data=st.data())
    def a_machine_dies(self, data: st.DataObject) -> None:
        candidates = self.machines(WORKERS) + self.machines(WORKERS, WAITS[TERMINATING])
        if candidates:
            self.fleet.drop(data.draw(st.sampled_from(candidates)))

    @rule()
    def a_seed_goes_down(self) -> None:
        node = self.fleet.model.node("seed-2")
        if node and node.up:
            self.fleet.model.lose(node.address)
            self.fleet.passes(5)

    @rule()
    def the_seed_comes_back(self) -> None:
        node = self.fleet.model.node("seed-2")
        if node and not node.up:
            self.fleet.model.prepare(node.address)
            self.fleet.model.start_node(node.name, node.address, self.fleet.model.code_version)
            self.fleet.passes(10)

    @rule(data=st.data())
    def an_operator_deactivates_a_worker(self, data: st.DataObject) -> None:
        candidates = self.machines(WORKERS)
        if candidates and not self.leaving() and not self.fleet.model.lost:
            instance = data.draw(st.sampled_from(candidates))
            self.fleet.model.deactivate(instance.removeprefix("i-"), REMOVE_NODE)

    def leaving(self) -> list[str]:
        return [node.name for node in self.fleet.model.nodes() if node.deactivation.intent.label == REMOVE_NODE]

    @invariant()
    def nothing_went_wrong(self) -> None:
        assert self.fleet.wrong == []

    @invariant()
    def no_seed_is_removed(self) -> None:
        found = {node.name: node.deactivation.active for node in self.fleet.model.nodes()}
        assert [found.get(f"seed-{number}") for number in range(SEEDS_IN_ALL)] == [False] * SEEDS_IN_ALL

    @invariant()
    def at_most_one_node_leaves(self) -> None:
        assert len(self.leaving()) <= 1

    @invariant()
    def each_hook_is_completed_once_at_most(self) -> None:
        names = [instance for instance, _ in self.fleet.completed]
        assert len(names) == len(set(names))

    def teardown(self) -> None:
        """Peace: the gateway answers, no process ends early, every seed is up, and the schedule goes on."""
        fleet = self.fleet
        fleet.crash_after, fleet.reachable = None, True
        self.the_seed_comes_back()
        held = self.waiting()
        for _ in range(30):
            fleet.deliver(SWEEP)
            for _ in range(6):
                fleet.passes(POLL)
                fleet.deliver_due()
            if not fleet.queue and not self.leaving() and not self.zombies() and not self.waiting():
                break
        fleet.passes(1)
        self.nothing_went_wrong()
        self.no_seed_is_removed()
        self.each_hook_is_completed_once_at_most()
        assert not self.zombies(), f"zombies: {self.zombies()}"
        assert not self.leaving(), f"half removed: {self.leaving()}"
        # Peace is long enough for time-outs: none of those that were held may end by one.
        overlooked = set(held) - {instance for instance, _ in fleet.completed}
        assert not overlooked, f"overlooked: {overlooked}"
        assert not fleet.queue, f"messages without end: {fleet.queue}"
        left = {instance for instance, result in fleet.completed if result == CONTINUE} & set(fleet.machines)
        assert not left, f"released and not gone: {left}"

    def zombies(self) -> list[str]:
        named = {machine.node for machine in self.fleet.machines.values()}
        return [node.name for node in self.fleet.model.nodes() if not node.up and node.name not in named]

    def waiting(self) -> list[str]:
        return self.machines(WORKERS, WAITS[TERMINATING]) + self.machines(SEEDS, WAITS[TERMINATING])


def run(**changes: Any) -> None:
    machine = type("Mutant", (Interleavings,), {"changes": changes})
    # It ends with the first failure.
    run_state_machine_as_test(machine, settings=settings(LIMITS, max_examples=500))


def test_any_interleaving() -> None:
    run_state_machine_as_test(Interleavings, settings=LIMITS)


@pytest.mark.parametrize(
    ("guard", "noticed"),
    [
        (seeds_stay, "seed seed-. deactivated"),
        (one_at_a_time, "deactivated while"),
        (enough_remains, "nodes remain of 3"),
    ],
)
def test_it_notices_a_guard_that_is_missing(guard: Guard, noticed: str) -> None:
    with pytest.raises(AssertionError, match=noticed):
        run(guards=tuple(other for other in GUARDS if other is not guard))


def _released_when_disabled(instance: Instance, nodes: Any, guards: Any) -> Decision:
    found = next_step(instance, nodes, guards)
    return replace(found, step=Step.RELEASE) if found.step is Step.STOP else found


def _stopped_before_deactivated(instance: Instance, nodes: Any, guards: Any) -> Decision:
    found = next_step(instance, nodes, guards)
    return replace(found, step=Step.STOP) if found.step is Step.DEACTIVATE else found


@pytest.mark.parametrize(
    ("order", "noticed"), [(_released_when_disabled, "still has its node"), (_stopped_before_deactivated, "early")]
)
def test_it_notices_a_wrong_order(
    monkeypatch: pytest.MonkeyPatch, order: Callable[..., Decision], noticed: str
) -> None:
    monkeypatch.setattr(core, "next_step", order)
    with pytest.raises(AssertionError, match=noticed):
        run()


def test_it_notices_a_sweep_that_leaves_zombies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_forget", lambda world, node: None)
    with pytest.raises(AssertionError, match="zombies"):
        run()


def test_it_notices_a_sweep_that_overlooks_machines_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "advance", lambda world, action: None)
    with pytest.raises(AssertionError, match="overlooked"):
        run()


def test_it_notices_a_sweep_that_leaves_a_removal_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_settle", lambda world, node, machine, members: None)
    with pytest.raises(AssertionError, match="half removed"):
        run()


def test_it_notices_a_machine_that_is_released_whatever_its_node_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(instance: Instance) -> Decision:
        return by_machine(instance) or Decision(Step.RELEASE, "whatever")

    monkeypatch.setattr(core, "by_machine", careless)
    with pytest.raises(AssertionError, match="still has its node"):
        run()
