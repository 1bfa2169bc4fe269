"""The cluster's rules: joining, leaving, seed nodes, and what is refused."""

import pickle

import pytest

from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Health, SafetyCheck, Status
from tests.envs.sandbox.fabric.clusters import PACE, VERSION, Clock, address, document, entry, formed, join


def status(cluster: Cluster, name: str) -> Status | None:
    node = cluster.node(name)
    return node.status if node is not None else None


def refused(code: str) -> pytest.RaisesExc[FabricError]:
    return pytest.RaisesExc(FabricError, check=lambda error: error.code == code)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_cluster_forms_on_machines_that_are_prepared_and_takes_its_time(clock: Clock) -> None:
    cluster = Cluster(clock, PACE)
    for number in range(5):
        with pytest.raises(FabricError, match=r"10\.0\.1\.14"):
            cluster.form(document(), VERSION)
        cluster.prepare(address(f"seed-{number}"))
    cluster.form(document(), VERSION)
    assert cluster.lost
    with refused("FABRIC_E_NO_WRITE_QUORUM"):
        cluster.deactivate("seed-0", "Restart")
    clock.passes(PACE.forming)
    assert [status(cluster, f"seed-{number}") for number in range(5)] == [Status.UP] * 5
    assert (cluster.configuration.reliability, len(cluster.seeds), cluster.quorum) == ("Silver", 5, 3)
    assert cluster.health() is Health.OK
    with refused("E_INVALIDARG"):
        cluster.form(document(), VERSION)


def test_a_worker_leaves_in_the_order_disabled_down_removed(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0)
    with refused("FABRIC_E_NODE_IS_UP"):
        cluster.remove_state("worker-0")
    cluster.deactivate("worker-0", "RemoveNode")
    assert status(cluster, "worker-0") is Status.DISABLING
    clock.passes(PACE.safety_check + PACE.deactivate)
    assert status(cluster, "worker-0") is Status.DISABLED
    with refused("FABRIC_E_NODE_IS_UP"):
        cluster.remove_state("worker-0")
    cluster.lose(address("worker-0"))
    assert status(cluster, "worker-0") is Status.DISABLED
    clock.passes(PACE.lease)
    assert status(cluster, "worker-0") is Status.DOWN
    assert cluster.node_health("worker-0") is Health.ERROR
    cluster.remove_state("worker-0")
    assert status(cluster, "worker-0") is None
    clock.passes(PACE.removed_keep / 2)
    cluster.remove_state("worker-0")
    clock.passes(PACE.removed_keep / 2)
    with refused("FABRIC_E_NODE_NOT_FOUND"):
        cluster.remove_state("worker-0")


def test_a_machine_that_ends_without_being_drained_leaves_a_node_that_is_down(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0)
    cluster.lose(address("worker-0"))
    clock.passes(PACE.lease)
    assert status(cluster, "worker-0") is Status.DOWN
    assert cluster.health() is Health.ERROR
    clock.passes(1e6)
    assert status(cluster, "worker-0") is Status.DOWN


def test_a_seed_node_is_never_removed(clock: Clock) -> None:
    cluster = formed(clock)
    cluster.deactivate("seed-0", "RemoveNode")
    clock.passes(1e6)
    assert status(cluster, "seed-0") is Status.DISABLING
    assert cluster.pending_checks("seed-0") == [SafetyCheck("EnsureSeedNodeQuorum")]
    cluster.activate("seed-0")
    assert status(cluster, "seed-0") is Status.ENABLING
    clock.passes(PACE.activate)
    assert status(cluster, "seed-0") is Status.UP


def test_seed_nodes_are_restarted_only_while_the_others_keep_the_quorum(clock: Clock) -> None:
    cluster = formed(clock)
    for number in range(3):
        cluster.deactivate(f"seed-{number}", "Restart")
    clock.passes(1e4)
    found = sorted(status(cluster, f"seed-{number}") or "" for number in range(3))
    assert found == [Status.DISABLED, Status.DISABLED, Status.DISABLING]
    held = next(name for name in cluster.seeds if status(cluster, name) is Status.DISABLING)
    assert cluster.pending_checks(held) == [SafetyCheck("EnsureSeedNodeQuorum")]
    cluster.activate(next(name for name in cluster.seeds if status(cluster, name) is Status.DISABLED))
    clock.passes(1e4)
    assert status(cluster, held) is Status.DISABLED


def test_a_cluster_without_a_quorum_of_seed_nodes_answers_nothing_until_it_has_one_again(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0)
    cluster.deactivate("worker-0", "RemoveNode")
    for number in range(3):
        cluster.lose(address(f"seed-{number}"))
    clock.passes(PACE.lease - 1)
    assert not cluster.lost
    clock.passes(1)
    assert cluster.lost
    for order in (cluster.current_configuration, lambda: cluster.remove_state("seed-0")):
        with refused("FABRIC_E_NO_WRITE_QUORUM"):
            order()
    clock.passes(1e4)
    assert status(cluster, "worker-0") is Status.DISABLING
    cluster.prepare(address("seed-0"))
    cluster.start_node("seed-0", address("seed-0"), VERSION)
    clock.passes(PACE.joining)
    assert not cluster.lost
    clock.passes(PACE.safety_check + PACE.deactivate)
    assert status(cluster, "worker-0") is Status.DISABLED


def test_a_replaced_seed_comes_back_as_the_same_node_with_a_new_instance(clock: Clock) -> None:
    cluster = formed(clock)
    before = cluster.node("seed-0")
    assert before is not None
    instance = before.instance
    cluster.lose(address("seed-0"))
    clock.passes(PACE.lease)
    with refused("FABRIC_E_INVALID_ADDRESS"):
        cluster.start_node("seed-0", address("seed-0"), VERSION)
    cluster.prepare(address("seed-0"))
    with refused("FABRIC_E_FABRIC_VERSION_NOT_FOUND"):
        cluster.start_node("seed-0", address("seed-0"), "9.0.0.0")
    with refused("FABRIC_E_INVALID_ADDRESS"):
        cluster.start_node("seed-0", "10.9.9.9", VERSION)
    with refused("FABRIC_E_NODE_NOT_FOUND"):
        cluster.start_node("seed-9", address("seed-0"), VERSION)
    cluster.start_node("seed-0", address("seed-0"), VERSION)
    assert status(cluster, "seed-0") is Status.DOWN
    clock.passes(PACE.joining)
    after = cluster.node("seed-0")
    assert after is not None
    assert (after.status, after.instance > instance) == (Status.UP, True)
    with refused("FABRIC_E_NODE_IS_UP"):
        cluster.start_node("seed-0", address("seed-0"), VERSION)


def test_an_intent_rises_and_never_falls(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0)
    for asked, kept in (("Pause", "Pause"), (2, "Restart"), ("RemoveNode", "RemoveNode"), ("Restart", "RemoveNode")):
        cluster.deactivate("worker-0", asked)
        node = cluster.node("worker-0")
        assert node is not None
        assert node.deactivation.intent.label == kept
    for wrong in ("Invalid", 0, "removenode", "5"):
        with refused("E_INVALIDARG"):
            cluster.deactivate("worker-0", wrong)


def test_a_name_without_a_node_becomes_an_unknown_node_that_lists_leave_out(clock: Clock) -> None:
    cluster = formed(clock)
    cluster.deactivate("worker-7", "RemoveNode")
    assert status(cluster, "worker-7") is None
    assert [node.status for node in cluster.all_nodes() if node.name == "worker-7"] == [Status.UNKNOWN]


def test_a_node_that_joins_under_the_name_of_a_removed_one_is_still_deactivated(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0)
    cluster.deactivate("worker-0", "RemoveNode")
    clock.passes(100)
    cluster.lose(address("worker-0"))
    clock.passes(PACE.lease)
    cluster.remove_state("worker-0")
    join(cluster, clock, 0)
    assert status(cluster, "worker-0") is Status.DISABLED
    cluster.activate("worker-0")
    clock.passes(PACE.activate)
    assert status(cluster, "worker-0") is Status.UP


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": "SEED-1"}, "E_INVALIDARG"),
        ({"address": address("seed-1")}, "E_INVALIDARG"),
        ({"node_type": "Gpu"}, "E_INVALIDARG"),
        ({"version": "9.1.0.0"}, "FABRIC_E_FABRIC_VERSION_NOT_FOUND"),
        ({"address": "10.0.2.99"}, "FABRIC_E_INVALID_ADDRESS"),
    ],
)
def test_a_node_that_does_not_fit_cannot_join(clock: Clock, changed: dict[str, str], code: str) -> None:
    cluster = formed(clock)
    place = entry("worker-0", 0, "Worker")
    cluster.prepare(place["iPAddress"])
    wanted = {
        "name": "worker-0",
        "node_type": "Worker",
        "address": place["iPAddress"],
        "upgrade_domain": "UD0",
        "fault_domain": "fd:/zone0/0",
        "version": VERSION,
    }
    with refused(code):
        cluster.add_node(**wanted | changed)


def test_a_node_whose_machine_ends_before_it_is_up_never_joins(clock: Clock) -> None:
    cluster = formed(clock)
    place = entry("worker-0", 0, "Worker")
    cluster.prepare(place["iPAddress"])
    cluster.add_node("worker-0", "Worker", place["iPAddress"], "UD0", "fd:/zone0/0", VERSION)
    clock.passes(PACE.joining - 1)
    cluster.lose(place["iPAddress"])
    clock.passes(100)
    assert status(cluster, "worker-0") is None


def test_a_cluster_that_was_put_away_goes_on_where_it_was(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0)
    cluster.deactivate("worker-0", "RemoveNode")
    found: Cluster = pickle.loads(pickle.dumps(cluster))  # noqa: S301 (made here)
    # Its clock was put away with it.
    kept = found._clock
    assert isinstance(kept, Clock)
    kept.passes(PACE.safety_check + PACE.deactivate)
    with found.lock:
        assert status(found, "worker-0") is Status.DISABLED
    assert status(cluster, "worker-0") is Status.DISABLING
