"""What differs is found and put right; what is not ours to repair is told and left alone."""

from dataclasses import replace

import pytest

from services.fabric import credentials, dispose, upgrade
from services.fabric.bootstrap import Bootstrap
from services.fabric.client import Gateway, Node
from services.fabric.errors import FabricServiceError
from services.fabric.fleet import RETAINED, Fleet, Interface, Machine, Member, SeedPlace
from services.fabric.reconcile import Finding, Kind, Tools, World, apply, compare
from tests.services.fabric.fleet_stage import QUICK, Stage

SEEDS = {f"seed-{n}": SeedPlace(f"10.0.0.{n}", "a", f"g-{n}") for n in range(3)}
FLEET = Fleet("fleet", SEEDS, "workers", "bucket", "a", "n", "c", "127.0.0.1", "10.1.2175.9590")


def node(name: str, address: str, **more: object) -> Node:
    found = Node(name, address, "Worker", "Up", False, "1", "Ok", "UD0", "fd:/a/0")
    return replace(found, **more)  # type: ignore[arg-type]


def machine(name: str, address: str, **more: object) -> Machine:
    found = Machine(f"i-{name}", "worker", "running", name, address, "", "a", "workers")
    return replace(found, **more)  # type: ignore[arg-type]


def member(name: str, state: str = "InService") -> Member:
    return Member(f"i-{name}", "workers", state)


def world(**more: object) -> World:
    """Three seeds and two workers that agree in everything, with what a test changes."""
    seeds = [
        (
            node(name, place.address, type="Seed", is_seed=True),
            machine(name, place.address, role="seed", interface=f"eni-{name}"),
        )
        for name, place in SEEDS.items()
    ]
    workers = [(node(name, f"10.0.1.{at}"), machine(name, f"10.0.1.{at}")) for at, name in enumerate("ab")]
    pairs = [*seeds, *workers]
    found = World(
        fleet=FLEET,
        machines=tuple(each for _, each in pairs),
        members={f"i-{each.name}": member(each.name) for each, _ in pairs},
        interfaces=tuple(Interface(f"eni-{name}", name, place.address) for name, place in SEEDS.items()),
        nodes=tuple(each for each, _ in pairs),
        listed={each.name: each.address for each, _ in pairs},
        upgrading=False,
    )
    return replace(found, **more)  # type: ignore[arg-type]


def having(name: str, **more: object) -> tuple[Node, ...]:
    """The nodes, one of them changed."""
    return tuple(replace(each, **more) if each.name == name else each for each in world().nodes)  # type: ignore[arg-type]


def running(name: str, **more: object) -> tuple[Machine, ...]:
    return tuple(replace(each, **more) if each.node == name else each for each in world().machines)  # type: ignore[arg-type]


def left_out(name: str) -> tuple[Machine, ...]:
    return tuple(each for each in world().machines if each.node != name)


def no_node(name: str) -> tuple[Node, ...]:
    return tuple(each for each in world().nodes if each.name != name)


def test_what_agrees_is_left_alone() -> None:
    assert compare(world()) == []


CASES: list[tuple[str, World, list[tuple[Kind, str, bool]]]] = [
    ("no tag", world(machines=running("a", node="")), [(Kind.TAG, "i-a", True)]),
    ("another's tag", world(machines=running("a", node="x")), [(Kind.TAG, "i-a", True)]),
    ("a seed without a tag", world(machines=running("seed-1", node="")), [
        (Kind.SEED_MACHINE, "seed-1", False), (Kind.TAG, "i-seed-1", True)]),
    ("Down, no instance", world(nodes=having("a", status="Down"), machines=left_out("a")), [
        (Kind.ZOMBIE, "a", True)]),
    ("Invalid, no instance", world(nodes=having("a", status="Invalid"), machines=left_out("a")), [
        (Kind.ZOMBIE, "a", True)]),
    ("Unknown, no instance", world(nodes=having("a", status="Unknown"), machines=left_out("a")), [
        (Kind.ZOMBIE, "a", True)]),
    ("Down, stopped and retained",
     world(nodes=having("a", status="Down"), machines=running("a", state="stopped"),
           members={**world().members, "i-a": member("a", RETAINED)}),
     [(Kind.ZOMBIE, "a", True), (Kind.RETAINED, "i-a", False)]),
    ("a zombie's address is another's by now",
     world(nodes=(*having("a", status="Down"), node("c", "10.0.1.0")),
           machines=(*left_out("a"), machine("c", "10.0.1.0")), members={**world().members, "i-c": member("c")},
           listed={**world().listed, "c": "10.0.1.0"}),
     [(Kind.ZOMBIE, "a", True)]),
    ("a scale-in is at it",
     world(nodes=having("a", status="Down"), machines=running("a", state="stopped"),
           members={**world().members, "i-a": member("a", "Terminating:Wait")}), []),
    ("Down, instance runs", world(nodes=having("a", status="Down")), [(Kind.NODE_DOWN, "a", False)]),
    ("disabled and in service",
     world(nodes=having("a", status="Disabled", intent="RemoveNode")), [(Kind.LEFT_DISABLED, "a", True)]),
    ("disabled and leaving",
     world(nodes=having("a", status="Disabled", intent="RemoveNode"),
           members={**world().members, "i-a": member("a", "Terminating:Wait")}), []),
    ("in service without a node", world(nodes=no_node("a"), listed={k: v for k, v in world().listed.items()
                                                                   if k != "a"}),
     [(Kind.MACHINE_WITHOUT_NODE, "i-a", True)]),
    ("still joining", world(nodes=no_node("a"), listed={k: v for k, v in world().listed.items() if k != "a"},
                            members={**world().members, "i-a": member("a", "Pending:Wait")}), []),
    ("nobody's", world(nodes=no_node("a"), listed={k: v for k, v in world().listed.items() if k != "a"},
                       members={k: v for k, v in world().members.items() if k != "i-a"}),
     [(Kind.MACHINE_WITHOUT_NODE, "i-a", False)]),
    ("Up on an unknown machine", world(machines=left_out("a")), [(Kind.NODE_WITHOUT_MACHINE, "a", False)]),
    ("listed and gone", world(listed={**world().listed, "old": "10.0.9.9"}), [
        (Kind.MEMBERSHIP, "configuration", True)]),
    ("joined and not listed", world(listed={k: v for k, v in world().listed.items() if k != "b"}), [
        (Kind.MEMBERSHIP, "configuration", True)]),
    ("listed and gone, upgrading", world(listed={**world().listed, "old": "10.0.9.9"}, upgrading=True), [
        (Kind.MEMBERSHIP, "configuration", False)]),
    ("a seed is Down and has no instance",
     world(nodes=having("seed-0", status="Down"), machines=left_out("seed-0")),
     [(Kind.SEED_MACHINE, "seed-0", False)]),
    ("a seed is Down and its instance runs", world(nodes=having("seed-0", status="Down")), [
        (Kind.SEED_NODE, "seed-0", False)]),
    ("a seed is gone from the cluster", world(nodes=no_node("seed-0")), [(Kind.SEED_NODE, "seed-0", False)]),
    ("a seed's address in the configuration", world(listed={**world().listed, "seed-2": "10.0.0.9"}), [
        (Kind.SEED_ADDRESS, "seed-2", False)]),
    ("a seed's interface is another one",
     world(interfaces=(Interface("eni-x", "seed-2", "10.0.0.9"), *world().interfaces[:2])), [
        (Kind.SEED_ADDRESS, "seed-2", False)]),
    ("retained", world(members={**world().members, "i-a": member("a", RETAINED)}), [(Kind.RETAINED, "i-a", False)]),
]  # fmt: skip


@pytest.mark.parametrize(("there", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_difference_is_found(there: World, expected: list[tuple[Kind, str, bool]]) -> None:
    found = compare(there)
    assert [(each.kind, each.subject, each.repair is not None) for each in found] == expected
    assert all(each.reason and each.proposal for each in found)


def test_no_seed_is_ever_repaired_by_removing_it() -> None:
    gone = world(
        nodes=tuple(replace(each, status="Down") for each in world().nodes if each.name.startswith("seed")),
        machines=(),
        members={},
        listed={name: place.address for name, place in SEEDS.items()},
    )
    assert {each.kind for each in compare(gone)} == {Kind.SEED_MACHINE}
    assert all(each.repair is None for each in compare(gone))


# With a cluster


@pytest.fixture
def formed(stage: Stage) -> Stage:
    Bootstrap(stage.fleet, stage.clients, stage.quiet, QUICK).run(2, stage.packages)
    return stage


def gateway(stage: Stage) -> Gateway:
    return Gateway(stage.fleet.gateway, credentials.fetch(stage.clients.secretsmanager, stage.fleet.client_secret))


def repaired(stage: Stage) -> tuple[list[Kind], list[Finding]]:
    tools = Tools(stage.clients, gateway(stage), QUICK, stage.quiet)
    done, left = apply(stage.fleet, tools, lambda _: None)
    return [each.kind for each in done], left


def test_repairs_are_made_until_all_agrees(formed: Stage) -> None:
    first, second = formed.workers()
    assert repaired(formed) == ([Kind.MEMBERSHIP], []), "the workers have joined, and nobody listed them"
    assert repaired(formed) == ([], [])
    # One worker breaks, the other loses its tag, and somebody left it disabled.
    address = formed.address_of(first)
    formed.aws.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=first, ShouldDecrementDesiredCapacity=True
    )
    formed.cluster.lose(address)
    formed.settle(lambda: first not in formed.workers())
    formed.settle(lambda: not formed.cluster.node(formed.node_of(first)).up)  # type: ignore[union-attr]
    formed.aws.client("ec2").delete_tags(Resources=[second], Tags=[{"Key": "node"}])
    gateway(formed).deactivate(formed.node_of(second))
    formed.settle(lambda: gateway(formed).node(formed.node_of(second)).status == "Disabled")  # type: ignore[union-attr]
    assert repaired(formed) == ([Kind.TAG, Kind.LEFT_DISABLED, Kind.ZOMBIE, Kind.MEMBERSHIP], [])
    assert formed.tags_of(second)["node"] == formed.node_of(second)
    assert set(formed.cluster.configuration.nodes) == {*formed.fleet.seeds, formed.node_of(second)}


def test_an_instance_in_service_without_a_node_is_replaced_once(formed: Stage) -> None:
    repaired(formed)
    name = formed.fleet.worker_group
    formed.aws.client("autoscaling").set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=3)
    formed.settle(lambda: len(formed.in_service()) == 3)
    (lone,) = [each for each in formed.workers() if formed.cluster.node(formed.node_of(each)) is None]
    done, _ = repaired(formed)
    assert done == [Kind.MACHINE_WITHOUT_NODE]
    formed.settle(lambda: lone not in formed.workers())
    assert formed.describe(lone)["State"]["Name"] in ("shutting-down", "terminated")


def test_retained_instances_end_once_their_node_is_gone(formed: Stage) -> None:
    first, second = formed.workers()
    formed.states = {first: RETAINED}
    found = dispose.find(formed.fleet, formed.clients.ec2, formed.clients.autoscaling, gateway(formed))
    (kept,) = found
    assert (kept.instance, kept.node) == (first, formed.node_of(first))
    assert "the cluster still has its node" in kept.hindrance
    formed.cluster.lose(formed.address_of(first))
    formed.settle(lambda: not formed.cluster.node(formed.node_of(first)).up)  # type: ignore[union-attr]
    (kept,) = dispose.find(formed.fleet, formed.clients.ec2, formed.clients.autoscaling, gateway(formed))
    assert "reconcile --apply" in kept.hindrance
    gateway(formed).remove_state(formed.node_of(first))
    (kept,) = dispose.find(formed.fleet, formed.clients.ec2, formed.clients.autoscaling, gateway(formed))
    assert kept.hindrance == ""
    dispose.end(formed.clients.autoscaling, kept)
    formed.settle(lambda: first not in formed.workers())
    assert second in formed.workers()


# Upgrades


def carried_out(stage: Stage, **settings: str) -> upgrade.Change | None:
    named = {name.replace("__", "/"): value for name, value in settings.items()}
    wanted = upgrade.change(gateway(stage), named, None)
    if wanted is not None:
        with stage.quiet("upgrade") as progress:
            upgrade.carry_out(gateway(stage), wanted, QUICK, progress)
    return wanted


def test_a_setting_is_changed_from_what_the_cluster_has(formed: Stage) -> None:
    repaired(formed)
    wanted = carried_out(formed, Management__Name="value")
    assert wanted is not None
    assert any(line.startswith("+") and '"value"' in line for line in wanted.lines)
    assert gateway(formed).upgrade_status().version == wanted.version
    assert carried_out(formed, Management__Name="value") is None


def test_nodes_that_left_are_named_by_the_next_upgrade(formed: Stage) -> None:
    repaired(formed)
    first, _ = formed.workers()
    formed.end(first)
    formed.settle(lambda: not formed.cluster.node(formed.node_of(first)).up)  # type: ignore[union-attr]
    gateway(formed).remove_state(formed.node_of(first))
    assert carried_out(formed, Management__Name="other") is not None
    assert formed.node_of(first) not in formed.cluster.configuration.nodes


def test_what_is_refused_before_anything_is_sent(formed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FabricServiceError, match=r"would refuse this configuration:\n  roots:"):
        upgrade.change(gateway(formed), {"Setup/FabricDataRoot": "here"}, None)
    with pytest.raises(FabricServiceError, match="names no setting"):
        upgrade.change(gateway(formed), {"FabricDataRoot": "here"}, None)
    wanted = upgrade.change(gateway(formed), {"Management/Name": "value"}, None)
    assert wanted is not None
    monkeypatch.setattr(formed.cluster, "timings", replace(formed.cluster.timings, upgrade_domain=60))
    gateway(formed).start_configuration_upgrade(wanted.new)
    with pytest.raises(FabricServiceError, match=r"is being upgraded \(RollingForwardInProgress"):
        upgrade.refuse_while_running(gateway(formed))


def test_an_upgrade_that_is_rolled_back_fails(formed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    repaired(formed)
    monkeypatch.setattr(formed.cluster, "timings", replace(formed.cluster.timings, health_retry=0.05))
    formed.cluster.lose(formed.address_of(formed.workers()[0]))
    with pytest.raises(FabricServiceError, match="did not succeed: RollingBackCompleted"):
        carried_out(formed, Management__Name="value")
