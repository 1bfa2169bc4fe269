"""The rolling upgrade of an application: domain by domain, and what is refused."""

import pytest

from envs.sandbox.fabric import application_answers as answers
from envs.sandbox.fabric.application_upgrade import Order
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.model import Cluster
from tests.envs.sandbox.fabric.clusters import PACE, Clock, formed, join
from tests.envs.sandbox.fabric.package import files


@pytest.fixture
def clock() -> Clock:
    return Clock()


def provision(cluster: Cluster, version: str, **replaced: str) -> None:
    for name, content in files().items():
        text = content.replace(b"1.0.0", version.encode())
        for old, new in replaced.items():
            text = text.replace(old.encode(), new.encode())
        cluster.applications.store.put(f"App-{version}/{name}", text, cluster.now)
    cluster.applications.provision(f"App-{version}")


@pytest.fixture
def cluster(clock: Clock) -> Cluster:
    found = formed(clock)
    join(found, clock, 0, 1, 2)
    found.tick()
    provision(found, "1.0.0")
    provision(found, "2.0.0")
    found.applications.create("fabric:/App", "ConsumerType", "1.0.0", {"Instances": "-1"})
    clock.passes(PACE.replica)
    found.tick()
    return found


def order(version: str = "2.0.0", **parameters: str) -> Order:
    return Order(version, parameters, "Monitored")


def code(cluster: Cluster, wanted: Order) -> str:
    with pytest.raises(FabricError) as caught:
        cluster.upgrade_application("App", wanted)
    return caught.value.code


def test_domain_by_domain_to_the_other_version(cluster: Cluster, clock: Clock) -> None:
    application = cluster.applications.require("App")
    partition = cluster.applications.service("App~Service").partition
    before = {name: replica.number for name, replica in partition.replicas.items()}
    cluster.upgrade_application("App", order())
    assert answers.application(cluster, application)["Status"] == "Upgrading"
    clock.passes(PACE.upgrade_domain)
    cluster.tick()
    # UD0 is done: the instance there is another one, the others run on.
    changed = {name for name, replica in partition.replicas.items() if replica.number != before[name]}
    assert changed == {"worker-0"}
    progress = answers.application_upgrade(cluster, application)
    assert (progress["UpgradeState"], progress["NextUpgradeDomain"]) == ("RollingForwardInProgress", "UD2")
    assert application.type.version == "1.0.0"
    clock.passes(4 * PACE.upgrade_domain)
    cluster.tick()
    shown = answers.application(cluster, application)
    assert (shown["Status"], shown["TypeVersion"]) == ("Ready", "2.0.0")
    assert answers.application_upgrade(cluster, application)["UpgradeState"] == "RollingForwardCompleted"
    assert all(replica.number != before[name] for name, replica in partition.replicas.items())
    cluster.applications.unprovision("ConsumerType", "1.0.0")


def test_what_is_refused(cluster: Cluster) -> None:
    assert code(cluster, order("3.0.0")) == "FABRIC_E_APPLICATION_TYPE_NOT_FOUND"
    assert code(cluster, order(Count="1")) == "E_INVALIDARG"
    assert code(cluster, order(Instances="many")) == "FABRIC_E_IMAGEBUILDER_VALIDATION_ERROR"
    assert code(cluster, order("1.0.0", Instances="-1")) == "FABRIC_E_APPLICATION_ALREADY_IN_TARGET_VERSION"
    provision(cluster, "4.0.0", GuestType="OtherType")
    assert code(cluster, order("4.0.0")) == "FABRIC_E_APPLICATION_UPGRADE_VALIDATION_ERROR"
    cluster.upgrade_application("App", order())
    assert code(cluster, order()) == "FABRIC_E_APPLICATION_UPGRADE_IN_PROGRESS"
    with pytest.raises(FabricError, match="TYPE_IN_USE"):
        cluster.applications.unprovision("ConsumerType", "2.0.0")
    with pytest.raises(FabricError, match="APPLICATION_NOT_FOUND"):
        cluster.upgrade_application("Nobody", order())


def test_parameters_that_are_not_given_have_their_defaults_again(cluster: Cluster, clock: Clock) -> None:
    cluster.upgrade_application("App", order("1.0.0", Instances="2"))
    clock.passes(5 * PACE.upgrade_domain)
    cluster.tick()
    application = cluster.applications.require("App")
    assert application.parameters == {"Instances": "2"}
    cluster.upgrade_application("App", order())
    clock.passes(5 * PACE.upgrade_domain)
    cluster.tick()
    assert application.parameters == {"Instances": "-1"}


def test_a_new_default_service_is_created_and_one_that_is_there_is_kept(cluster: Cluster, clock: Clock) -> None:
    provision(cluster, "5.0.0", **{'<Service Name="Service">': '<Service Name="Second">'})
    cluster.upgrade_application("App", order("5.0.0"))
    clock.passes(5 * PACE.upgrade_domain)
    cluster.tick()
    assert sorted(cluster.applications.require("App").services) == ["fabric:/App/Second", "fabric:/App/Service"]
