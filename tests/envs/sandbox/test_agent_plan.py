"""What the agent decides, without any process."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.agent_plan import (
    Action,
    Actual,
    Assign,
    Cluster,
    DeleteLogs,
    Desired,
    KeepLogs,
    Owner,
    Process,
    StartBroker,
    StartHost,
    StartStream,
    StopBroker,
    StopHost,
    StopStream,
    plan,
)

SETTINGS: Mapping[str, str] = {"log.retention.hours": "24"}
CLUSTER = Cluster("arn:one", deleting=False, properties=SETTINGS)
OWNER = Owner(1.0, "arn:one", SETTINGS)
SERVING = Actual(Process.RUNNING, OWNER)


def test_a_new_cluster_gets_a_broker_with_what_is_deployed() -> None:
    assert plan(Desired(1.0, CLUSTER), Actual()) == [Assign(OWNER), StartBroker(SETTINGS)]
    assert plan(Desired(1.0, CLUSTER), SERVING) == []


def test_a_deleted_cluster_takes_its_broker_and_its_logs_along() -> None:
    deleting = Desired(1.0, replace(CLUSTER, deleting=True))
    assert plan(deleting, SERVING) == [StopBroker(), DeleteLogs()]
    assert plan(deleting, Actual()) == []
    assert plan(deleting, Actual(Process.DIED, OWNER)) == [StopBroker(), DeleteLogs()]


def test_a_deletion_between_two_looks_is_noticed() -> None:
    assert plan(Desired(1.0), SERVING) == [StopBroker(), DeleteLogs()]
    another = Cluster("arn:two", deleting=False, properties={})
    assert plan(Desired(1.0, another), SERVING) == [
        StopBroker(),
        DeleteLogs(),
        Assign(Owner(1.0, "arn:two", {})),
        StartBroker({}),
    ]


def test_logs_that_outlive_their_account_are_kept_and_adopted() -> None:
    assert plan(Desired(2.0), SERVING) == [KeepLogs(2.0)]
    kept = Actual(Process.RUNNING, Owner(2.0, None, SETTINGS))
    assert plan(Desired(2.0), kept) == []
    made_anew = Cluster("arn:two", deleting=False, properties=SETTINGS)
    assert plan(Desired(2.0, made_anew), kept) == [Assign(Owner(2.0, "arn:two", SETTINGS))]
    assert plan(Desired(2.0, made_anew), SERVING) == [KeepLogs(2.0), Assign(Owner(2.0, "arn:two", SETTINGS))]


def test_a_changed_configuration_restarts_the_broker_on_its_logs() -> None:
    changed = {"log.retention.hours": "48"}
    assert plan(Desired(1.0, replace(CLUSTER, properties=changed)), SERVING) == [
        Assign(replace(OWNER, properties=changed)),
        StopBroker(),
        StartBroker(changed),
    ]


def test_a_broker_that_died_stays_dead_until_its_record_is_gone() -> None:
    assert plan(Desired(1.0, CLUSTER), Actual(Process.DIED, OWNER)) == []
    assert plan(Desired(1.0, CLUSTER), Actual(Process.ABSENT, OWNER)) == [StartBroker(SETTINGS)]


def test_delivery_streams_follow_the_account() -> None:
    desired = Desired(1.0, CLUSTER, frozenset({"archive", "audit", "late"}))
    actual = replace(
        SERVING, running=frozenset({"archive", "old"}), ended=frozenset({"late", "gone"}), resting=frozenset({"late"})
    )
    assert plan(desired, actual) == [StopStream("gone"), StopStream("old"), StartStream("audit")]
    assert StartStream("late") in plan(desired, replace(actual, resting=frozenset()))


def test_linux_instances_are_played_while_they_run() -> None:
    desired = Desired(1.0, CLUSTER, hosts=frozenset({"new", "on", "died", "resting"}))
    actual = replace(
        SERVING,
        hosts=frozenset({"on", "off"}),
        dead_hosts=frozenset({"died", "resting", "gone"}),
        resting_hosts=frozenset({"resting"}),
    )
    assert plan(desired, actual) == [StopHost("gone"), StopHost("off"), StartHost("died"), StartHost("new")]


CLUSTERS = st.none() | st.builds(
    Cluster, st.sampled_from(["arn:one", "arn:two"]), st.booleans(), st.sampled_from([{}, SETTINGS])
)
NAMES = st.frozensets(st.sampled_from(["a", "b", "c"]))
OWNERS = st.builds(
    Owner, st.sampled_from([1.0, 2.0]), st.sampled_from([None, "arn:one", "arn:two"]), st.sampled_from([{}, SETTINGS])
)


@given(
    st.builds(Desired, st.just(2.0), CLUSTERS, NAMES, NAMES),
    st.builds(Actual, st.sampled_from(Process), st.none() | OWNERS, NAMES, NAMES, hosts=NAMES, dead_hosts=NAMES),
)
def test_one_round_of_actions_leaves_nothing_to_do(desired: Desired, actual: Actual) -> None:
    actual = replace(actual, ended=actual.ended - actual.running)
    settled = actual
    for action in plan(desired, actual):
        settled = carried_out(action, settled)

    assert plan(desired, settled) == []
    assert settled.running == desired.streams
    assert settled.hosts == desired.hosts
    if desired.cluster is not None and not desired.cluster.deleting:
        assert settled.owner == Owner(2.0, desired.cluster.arn, desired.cluster.properties)


@given(st.builds(Desired, st.just(2.0), CLUSTERS), st.sampled_from(Process), OWNERS)
def test_logs_of_another_life_of_the_account_are_deleted_only_with_a_cluster(
    desired: Desired, broker: Process, owner: Owner
) -> None:
    owner = replace(owner, account=1.0)
    deletes = DeleteLogs() in plan(desired, Actual(broker, owner))
    assert deletes == (desired.cluster is not None and desired.cluster.deleting)


def carried_out(action: Action, actual: Actual) -> Actual:
    """What is on the machine after an action that worked."""
    match action:
        case StopBroker():
            return replace(actual, broker=Process.ABSENT)
        case DeleteLogs():
            assert actual.broker is Process.ABSENT, "logs are never deleted under a broker"
            return replace(actual, owner=None)
        case KeepLogs(account=account):
            assert actual.owner is not None
            return replace(actual, owner=Owner(account, None, actual.owner.properties))
        case Assign(owner=owner):
            return replace(actual, owner=owner)
        case StartBroker():
            assert actual.broker is Process.ABSENT, "one broker at a time"
            return replace(actual, broker=Process.RUNNING)
        case StartHost(instance=instance):
            return replace(actual, hosts=actual.hosts | {instance}, dead_hosts=actual.dead_hosts - {instance})
        case StopHost(instance=instance):
            return replace(actual, hosts=actual.hosts - {instance}, dead_hosts=actual.dead_hosts - {instance})
        case StartStream(name=name):
            return replace(actual, running=actual.running | {name}, ended=actual.ended - {name})
        case StopStream(name=name):
            return replace(actual, running=actual.running - {name}, ended=actual.ended - {name})
