"""A worker leaves: in the right order, from anything that can be in the way, and after a crash at any call."""

import json
from dataclasses import replace

import pytest

from services.fabric.client import REMOVE_NODE
from services.fabric.errors import FabricServiceError
from services.fabric.lifecycle import (
    ABANDON,
    CONTINUE,
    LAUNCHING,
    RETAINED,
    TERMINATING,
    WAITS,
    Action,
    Group,
    Hook,
    Instance,
)
from services.fabric.scale_in.core import HOOK, Outcome
from services.fabric.scale_in.messages import continuation
from tests.services.fabric.fleet import CLUSTER, DAY, HEARTBEAT, POLL, STOPPING, WORKERS, Fleet, Stay
from tests.services.fabric.samples import text

WORKER = "i-worker-0"
ORDER = ["deactivate", "stop", "remove_state", "complete"]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def released(fleet: Fleet, instance: str = WORKER) -> None:
    """The machine's hook went on, and nothing of its node is left."""
    assert fleet.completed == [(instance, CONTINUE)]
    assert fleet.node(instance.removeprefix("i-")) is None
    fleet.passes(1)
    assert instance not in fleet.machines
    assert fleet.wrong == []


def refused(fleet: Fleet, instance: str, reason: str) -> None:
    """The machine is retained, and nothing was done to its node."""
    assert fleet.completed == [(instance, ABANDON)]
    assert fleet.stays[instance].state == RETAINED
    assert fleet.changes == ["complete"]
    assert reason in fleet.records[-1].reason
    assert fleet.records[-1].outcome == Outcome.REFUSED


def test_a_worker_leaves_in_service_fabrics_order(fleet: Fleet) -> None:
    fleet.run(fleet.terminate(WORKER))
    assert fleet.changes == ORDER
    released(fleet)
    steps = [(record.step, record.outcome) for record in fleet.records if record.outcome != Outcome.WAITING]
    assert steps == [
        ("deactivate", Outcome.DONE),
        ("stop-instance", Outcome.DONE),
        ("remove-node-state", Outcome.DONE),
        ("complete", Outcome.RELEASED),
    ]
    assert {(record.node, record.instance, record.group) for record in fleet.records} == {
        ("worker-0", WORKER, WORKERS)
    }


def test_a_delivery_that_is_not_done_asks_for_time_and_leaves_one_message_for_later(fleet: Fleet) -> None:
    action = fleet.terminate(WORKER)
    fleet.passes(HEARTBEAT - 1)
    fleet.deliver(continuation(action))
    assert fleet.stays[WORKER].hook_ends == fleet.clock.now + HEARTBEAT
    assert fleet.queue == [(fleet.clock.now + POLL, continuation(replace(action, attempt=1)))]
    fleet.passes(POLL)
    fleet.deliver_due()
    assert fleet.queue == [(fleet.clock.now + POLL, continuation(replace(action, attempt=2)))]


def test_a_delivery_asks_for_time_before_it_does_anything(fleet: Fleet) -> None:
    """One that is cut off leaves its hook open until the queue gives its message out again."""
    fleet.deliver(continuation(fleet.terminate(WORKER)))
    assert fleet.calls.index("heartbeat") < fleet.calls.index(fleet.changes[0])


def calls() -> int:
    """How many calls a removal makes that nothing disturbs."""
    fleet = Fleet(workers=2)
    fleet.run(fleet.terminate(WORKER))
    return len(fleet.calls)


@pytest.mark.parametrize("call", range(calls()))
def test_after_a_crash_at_any_call_the_next_delivery_goes_on(call: int) -> None:
    fleet = Fleet(workers=2)
    action = fleet.terminate(WORKER)
    fleet.crash_after = call
    fleet.run(action)
    assert fleet.crash_after is None
    released(fleet)
    assert fleet.changes == ORDER


@pytest.mark.parametrize("every", range(1, 8))
def test_crashes_again_and_again_delay_and_change_nothing(fleet: Fleet, every: int) -> None:
    action = fleet.terminate(WORKER)
    fleet.queue.append((fleet.clock.now, continuation(action)))
    for attempt in range(200):
        # Each process gets a little further than the one before, or none would ever come through.
        fleet.crash_after = every + attempt
        fleet.deliver_due()
        fleet.passes(5)
        if not fleet.queue:
            break
    released(fleet)


def test_an_event_that_comes_ten_times_is_one_removal_and_one_chain_of_messages(fleet: Fleet) -> None:
    action = fleet.terminate(WORKER)
    for _ in range(10):
        fleet.deliver(continuation(action))
    assert len(fleet.queue) == 1
    fleet.settle()
    released(fleet)
    assert fleet.changes == ORDER


def test_chains_that_a_process_did_not_know_of_become_one(fleet: Fleet) -> None:
    action = fleet.terminate(WORKER)
    for _ in range(3):
        fleet.process()
        fleet.deliver(continuation(action))
        fleet.passes(1)
    assert len(fleet.queue) == 3
    fleet.passes(POLL)
    fleet.deliver_due()
    assert len(fleet.queue) == 1


def test_workers_that_leave_all_at_once_leave_one_after_the_other() -> None:
    fleet = Fleet(workers=5)
    actions = [fleet.terminate(f"i-worker-{number}") for number in range(4)]
    for action in actions:
        fleet.deliver(continuation(action))
    fleet.settle()
    assert fleet.changes == ORDER * 4
    assert sorted(fleet.completed) == [(action.instance, CONTINUE) for action in actions]
    assert fleet.wrong == []


class TestRefusals:
    def test_a_seed_by_the_cluster(self, fleet: Fleet) -> None:
        fleet.tag("i-seed-0", role=None)
        fleet.run(fleet.terminate("i-seed-0"))
        refused(fleet, "i-seed-0", "node seed-0 is a seed")

    def test_a_seed_by_its_tag_even_when_the_gateway_is_silent(self, fleet: Fleet) -> None:
        fleet.reachable = False
        fleet.run(fleet.terminate("i-seed-0"))
        refused(fleet, "i-seed-0", "seeds stay")

    def test_a_machine_tagged_with_the_node_of_another(self, fleet: Fleet) -> None:
        fleet.tag(WORKER, node="worker-1")
        fleet.run(fleet.terminate(WORKER))
        refused(fleet, WORKER, "correct the tag")

    def test_a_removal_that_leaves_too_little_of_the_cluster(self) -> None:
        fleet = Fleet(workers=1, seeds=3)
        fleet.model.lose(fleet.machines["i-seed-2"].address)
        fleet.passes(60)
        fleet.run(fleet.terminate(WORKER))
        refused(fleet, WORKER, "2 nodes would be up, and the cluster's reliability needs 3")

    def test_the_last_worker_may_leave_while_the_seeds_are_all_up(self) -> None:
        fleet = Fleet(workers=1, seeds=3)
        fleet.run(fleet.terminate(WORKER))
        released(fleet)


class TestOddMachines:
    def test_no_name_tag_never_joined(self, fleet: Fleet) -> None:
        fleet.tag(WORKER, node=None)
        fleet.reachable = False
        fleet.run(fleet.terminate(WORKER))
        assert fleet.completed == [(WORKER, CONTINUE)]
        assert "never joined" in fleet.records[-1].reason

    def test_a_tag_naming_no_node_goes_on_once_the_machine_cannot_join_any_more(self, fleet: Fleet) -> None:
        fleet.tag(WORKER, node="worker-99")
        action = fleet.terminate(WORKER)
        fleet.deliver(continuation(action))
        assert fleet.changes == ["stop"]
        fleet.passes(STOPPING)
        fleet.settle()
        assert fleet.changes == ["stop", "complete"]
        assert fleet.completed == [(WORKER, CONTINUE)]

    def test_a_machine_that_died_leaves_no_zombie(self, fleet: Fleet) -> None:
        action = fleet.terminate(WORKER)
        fleet.machines[WORKER] = replace(fleet.machines[WORKER], state="stopped")
        fleet.model.lose(fleet.machines[WORKER].address)
        fleet.run(action)
        assert fleet.changes == ["remove_state", "complete"]
        released(fleet)

    def test_a_machine_that_is_starting_is_not_told_to_stop_yet(self, fleet: Fleet) -> None:
        fleet.tag(WORKER, node="worker-99")
        fleet.machines[WORKER] = replace(fleet.machines[WORKER], state="pending")
        fleet.deliver(continuation(fleet.terminate(WORKER)))
        assert fleet.changes == []
        assert len(fleet.queue) == 1

    def test_a_machine_that_ec2_does_not_stop_keeps_its_hook_open(self, fleet: Fleet) -> None:
        action = fleet.terminate(WORKER)
        fleet.tag(WORKER, node="worker-99")
        fleet.process(machines=_Stuck(fleet.machines[WORKER]))
        fleet.deliver(continuation(action))
        assert fleet.outcomes() == [Outcome.FAILED, Outcome.FAILED]
        assert fleet.stays[WORKER].state == WAITS[TERMINATING]
        assert len(fleet.queue) == 1


class _Stuck:
    """EC2 with stop protection on its only machine."""

    def __init__(self, machine: Instance) -> None:
        self._machine = machine

    def instance(self, instance_id: str) -> Instance:
        return self._machine

    def instances(self, cluster: str) -> list[Instance]:
        return [self._machine]

    def stop(self, instance_id: str) -> None:
        from services.fabric.account import InstanceRefusedError

        raise InstanceRefusedError(f"instance {instance_id} does not stop: OperationNotPermitted")


class TestStrayEvents:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"group": "gone"}, "no group gone"),
            ({"group": "theirs"}, "belongs to cluster 'other'"),
            ({"hook": "unknown"}, "no hook unknown"),
            ({"hook": "drain-logs"}, "answered by others"),
            ({"hook": "worker-launch"}, "no hook worker-launch for autoscaling:EC2_INSTANCE_TERMINATING"),
            ({"instance": "i-gone"}, "no instance i-gone"),
            ({"instance": "i-seed-0"}, "no instance i-seed-0"),
        ],
    )
    def test_nothing_is_done_and_the_log_says_why(self, fleet: Fleet, changes: dict[str, str], reason: str) -> None:
        hooks = {
            **fleet.groups[WORKERS].hooks,
            "drain-logs": Hook("drain-logs", TERMINATING, 100),
            "worker-launch": Hook("worker-launch", LAUNCHING, 100),
        }
        fleet.groups[WORKERS] = replace(fleet.groups[WORKERS], hooks=hooks)
        fleet.groups["theirs"] = Group("theirs", {"cluster": "other"}, hooks)
        fleet.run(replace(fleet.terminate(WORKER), **changes))
        assert fleet.changes == []
        assert "heartbeat" not in fleet.calls
        assert fleet.outcomes() == [Outcome.STRAY]
        assert reason in fleet.records[0].reason

    @pytest.mark.parametrize("state", ["InService", RETAINED, "Terminating:Proceed", "Terminated"])
    def test_an_action_that_is_over_is_left_over(self, fleet: Fleet, state: str) -> None:
        action = fleet.terminate(WORKER)
        fleet.stays[WORKER].state = state
        fleet.run(action)
        assert fleet.changes == []
        assert f"is {state}" in fleet.records[0].reason

    def test_an_event_after_the_end_changes_nothing(self, fleet: Fleet) -> None:
        action = fleet.terminate(WORKER)
        fleet.run(action)
        fleet.run(action)
        fleet.passes(5)
        fleet.run(action)
        assert fleet.changes == ORDER

    def test_an_action_that_ends_under_the_functions_hands_is_over(self, fleet: Fleet) -> None:
        action = fleet.terminate(WORKER)
        fleet.tag(WORKER, node=None)
        groups = fleet.world.groups

        class Late:
            """Still shows the machine as waiting when its hook has timed out."""

            def __getattr__(self, name: str) -> object:
                return getattr(groups, name)

            def complete(self, action: Action, result: str) -> None:
                fleet.stays[action.instance] = Stay(WORKERS, RETAINED)
                groups.complete(action, result)

        fleet.process(groups=Late())
        fleet.run(action)
        assert fleet.outcomes() == [Outcome.OVER]
        assert fleet.completed == []


class TestGateway:
    def test_silent_the_hook_is_kept_open_until_it_answers(self, fleet: Fleet) -> None:
        fleet.reachable = False
        action = fleet.terminate(WORKER)
        fleet.deliver(continuation(action))
        for _ in range(100):
            fleet.passes(POLL)
            fleet.deliver_due()
        assert fleet.stays[WORKER].state == WAITS[TERMINATING]
        assert fleet.changes == []
        assert set(fleet.outcomes()) == {Outcome.UNREACHABLE}
        fleet.reachable = True
        fleet.settle()
        released(fleet)

    def test_a_cluster_without_a_quorum_is_waited_for(self, fleet: Fleet) -> None:
        for seed in ("i-seed-1", "i-seed-2"):
            fleet.model.lose(fleet.machines[seed].address)
        fleet.passes(60)
        fleet.deliver(continuation(fleet.terminate(WORKER)))
        assert fleet.outcomes() == [Outcome.UNREACHABLE, Outcome.UNREACHABLE]
        assert "FABRIC_E_NO_WRITE_QUORUM" in fleet.records[0].reason
        assert fleet.changes == []
        assert len(fleet.queue) == 1

    def test_a_machine_that_waits_for_long_is_reported_before_its_hook_ends(self, fleet: Fleet) -> None:
        hook = Hook(HOOK, TERMINATING, 1000)
        fleet.groups[WORKERS] = Group(WORKERS, {"cluster": CLUSTER}, {HOOK: hook})
        fleet.reachable = False
        action = fleet.terminate(WORKER)
        fleet.deliver(continuation(action))
        assert Outcome.LATE not in fleet.outcomes()
        fleet.deliver(continuation(replace(action, began=fleet.clock.now - 801)))
        late = [record for record in fleet.records if record.outcome == Outcome.LATE]
        assert len(late) == 1
        assert "801 s" in late[0].reason


class TestSweep:
    SWEEP = text("scheduled")

    def sweep(self, fleet: Fleet, times: int = 1) -> None:
        for _ in range(times):
            fleet.deliver(self.SWEEP)
            fleet.settle()
            fleet.passes(30)

    def test_a_machine_whose_event_was_lost(self, fleet: Fleet) -> None:
        fleet.terminate(WORKER)
        self.sweep(fleet)
        assert fleet.changes == ORDER
        assert fleet.node("worker-0") is None

    def test_a_machine_whose_messages_are_under_way_is_waited_for(self, fleet: Fleet) -> None:
        fleet.deliver(continuation(fleet.terminate(WORKER)))
        fleet.deliver(self.SWEEP)
        assert len(fleet.queue) == 1

    def test_a_zombie_is_forgotten_and_a_node_whose_machine_restarts_is_not(self, fleet: Fleet) -> None:
        fleet.drop(WORKER)
        fleet.model.lose(fleet.machines["i-worker-1"].address)
        fleet.passes(30)
        self.sweep(fleet)
        assert fleet.node("worker-0") is None
        assert fleet.node("worker-1") is not None
        assert fleet.changes == ["remove_state"]

    def test_a_node_is_no_zombie_while_an_untagged_machine_has_its_address(self, fleet: Fleet) -> None:
        fleet.tag(WORKER, node=None)
        fleet.model.lose(fleet.machines[WORKER].address)
        fleet.passes(30)
        self.sweep(fleet)
        assert fleet.changes == []

    def test_a_seed_that_is_down_is_reported_and_kept(self, fleet: Fleet) -> None:
        fleet.drop("i-seed-0")
        fleet.passes(30)
        self.sweep(fleet)
        assert fleet.changes == []
        assert [(record.node, record.outcome) for record in fleet.records] == [("seed-0", Outcome.SEED_DOWN)]

    def test_a_node_deactivated_though_its_machine_is_in_service_is_activated(self, fleet: Fleet) -> None:
        fleet.model.deactivate("worker-0", REMOVE_NODE)
        fleet.passes(30)
        self.sweep(fleet)
        assert fleet.changes == ["activate"]
        assert str(fleet.model.node("worker-0").status) == "Up"  # type: ignore[union-attr]

    def test_a_node_that_an_operator_restarts_is_left_alone(self, fleet: Fleet) -> None:
        fleet.model.deactivate("worker-0", "Restart")
        fleet.passes(30)
        self.sweep(fleet)
        assert fleet.changes == []

    def test_a_removal_whose_hook_ended_is_finished_and_its_machine_kept(self, fleet: Fleet) -> None:
        fleet.deliver(continuation(fleet.terminate(WORKER)))
        fleet.stays[WORKER].state = RETAINED
        self.sweep(fleet, times=4)
        assert fleet.changes == ["deactivate", "stop", "remove_state"]
        assert fleet.node("worker-0") is None
        assert fleet.machines[WORKER].state == "stopped"
        assert fleet.completed == []

    def test_a_machine_that_was_refused_and_retained_keeps_its_node(self, fleet: Fleet) -> None:
        fleet.stays[WORKER].state = RETAINED
        self.sweep(fleet)
        assert fleet.changes == []

    def test_a_removal_with_a_machine_in_no_group_is_reported(self, fleet: Fleet) -> None:
        fleet.model.deactivate("worker-0", REMOVE_NODE)
        del fleet.stays[WORKER]
        self.sweep(fleet)
        assert fleet.changes == []
        assert "in no group" in fleet.records[-1].reason

    def test_what_aws_fails_for_one_machine_does_not_hold_up_the_others(self, fleet: Fleet) -> None:
        fleet.drop(WORKER)
        fleet.terminate("i-worker-1")
        fleet.terminate("i-worker-2")
        fleet.passes(30)
        machines = fleet.world.machines

        class Denied:
            """Lets nobody look at one of the machines."""

            def __getattr__(self, name: str) -> object:
                return getattr(machines, name)

            def instance(self, instance_id: str) -> Instance | None:
                if instance_id == "i-worker-1":
                    raise RuntimeError("UnauthorizedOperation")
                return machines.instance(instance_id)

        fleet.process(machines=Denied())
        with pytest.raises(ExceptionGroup) as raised:
            fleet.deliver(self.SWEEP)
        assert [str(error) for error in raised.value.exceptions] == ["UnauthorizedOperation"]
        assert "Sweeps" not in fleet.gauges
        assert fleet.changes == ["deactivate", "remove_state"]
        assert fleet.node("worker-0") is None

    def test_what_the_alarms_are_on_is_counted(self, fleet: Fleet) -> None:
        fleet.drop("i-seed-0")
        fleet.stays[WORKER].state = RETAINED
        fleet.passes(30)
        self.sweep(fleet)
        assert fleet.gauges == {"Retained": 1, "SeedsUp": 2, "CertificateDaysLeft": 90, "Sweeps": 1}
        fleet.gauges.clear()
        fleet.reachable = False
        self.sweep(fleet)
        assert fleet.gauges == {"Retained": 1, "CertificateDaysLeft": 90}

    @pytest.mark.parametrize(("seconds", "days"), [(DAY, 1), (DAY - 1, 0), (0, 0), (-1, -1)])
    def test_the_days_of_the_first_certificate_that_ends_are_counted(
        self, fleet: Fleet, seconds: int, days: int
    ) -> None:
        fleet.certificates = lambda: [fleet.clock.now + left for left in (40 * DAY, seconds, 90 * DAY)]
        self.sweep(fleet)
        assert fleet.gauges["CertificateDaysLeft"] == days

    def test_certificates_that_cannot_be_read_do_not_hold_up_the_sweep(self, fleet: Fleet) -> None:
        def nothing() -> list[float]:
            raise FabricServiceError("the secret holds no certificate")

        fleet.certificates = nothing
        self.sweep(fleet)
        assert fleet.records[-1].reason == "the secret holds no certificate"
        assert "CertificateDaysLeft" not in fleet.gauges
        assert fleet.gauges["Sweeps"] == 1

    def test_a_silent_gateway_is_left_to_the_next_sweep(self, fleet: Fleet) -> None:
        fleet.drop(WORKER)
        fleet.passes(30)
        fleet.reachable = False
        self.sweep(fleet)
        fleet.reachable = True
        self.sweep(fleet)
        assert fleet.outcomes() == [Outcome.UNREACHABLE, Outcome.DONE]
        assert fleet.node("worker-0") is None


def test_the_documented_event_removes_its_machine(fleet: Fleet) -> None:
    fleet.terminate(WORKER)
    fleet.deliver(text("autoscaling_terminate"))
    fleet.settle()
    released(fleet)


def test_a_continuation_tells_when_it_was_first_heard_of_and_how_often_it_was_looked_at(fleet: Fleet) -> None:
    fleet.terminate(WORKER)
    fleet.deliver(text("autoscaling_terminate"))
    fleet.passes(POLL)
    fleet.deliver_due()
    found = json.loads(fleet.queue[0][1])
    assert (found["version"], found["attempt"], found["began"]) == (1, 2, 1795644607.0)
