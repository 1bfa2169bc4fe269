"""The ways in: what the two balancers are, and that the guardrails open exactly one of them to the world."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from declared import Declaration, declare, run_mocked, stack_config

from infra import __main__ as program
from infra import environment, rules, settings
from infra.guardrails import Guardrails
from infra.ingress import Ingress, IngressArgs
from infra.sections import Ingress as IngressSettings
from infra.sections import TrafficPort


def rules_of(declaration: Declaration, kind: str, group: str) -> list[dict[str, Any]]:
    found = [each.properties for each in declaration.all(kind)]
    return [properties for properties in found if properties["securityGroupId"] == f"{group}-id"]


def test_traffic_faces_the_internet_and_management_does_not(sandbox: Declaration) -> None:
    traffic = sandbox.one("LoadBalancer", "ingress-traffic").properties
    management = sandbox.one("LoadBalancer", "ingress-management").properties
    assert (traffic["internal"], management["internal"]) == (False, True)
    assert {each["loadBalancerType"] for each in (traffic, management)} == {"network"}
    assert all("public" in subnet for subnet in traffic["subnets"])
    assert all("private" in subnet for subnet in management["subnets"])
    assert traffic["securityGroups"] == ["ingress-traffic-id"]
    assert management["securityGroups"] == ["ingress-management-id"]


def test_listeners_forward_to_the_nodes_ports(sandbox: Declaration) -> None:
    targets = {each.name: each.properties for each in sandbox.all("TargetGroup")}
    listeners = {
        each.name: (each.properties["port"], targets[each.name]["port"], each.properties["protocol"])
        for each in sandbox.all("Listener")
    }
    assert listeners == {
        "ingress-traffic-443": (443, 8443, "TCP"),
        "ingress-client": (19000, 19000, "TCP"),
        "ingress-gateway": (19080, 19080, "TCP"),
    }
    assert {each["healthCheck"]["protocol"] for each in targets.values()} == {"TCP"}
    assert targets["ingress-gateway"]["preserveClientIp"] == "false"


def test_management_is_for_whom_the_settings_name(sandbox: Declaration) -> None:
    rules = rules_of(sandbox, "SecurityGroupIngressRule", "ingress-management")
    (function,) = [each for each in rules if "referencedSecurityGroupId" in each]
    assert (function["referencedSecurityGroupId"], function["fromPort"]) == ("scale-in-id", 19080)
    entrances = [each for each in rules if each is not function]
    assert {(each["fromPort"], each["toPort"], each["prefixListId"]) for each in entrances} == {
        (port, port, "ingress-management-clients-id") for port in (19000, 19080)
    }
    assert not any("cidrIpv4" in each for each in entrances)
    clients = sandbox.one("ManagedPrefixList").properties
    assert [entry["cidr"] for entry in clients["entries"]] == ["10.10.0.0/16"]
    assert clients["maxEntries"] * len(entrances) + 1 <= 60


@pytest.fixture(scope="module")
def hosted() -> Declaration:
    """With agents on the internet that deploy to the cluster."""
    ranges = [{"cidr": f"20.37.{n}.0/24", "description": "hosted agents"} for n in (158, 159)]
    return declare("sandbox", lambda values: values["ingress"].update(public_management=ranges))


def test_the_gateway_is_on_the_internet_for_named_ranges_only(hosted: Declaration) -> None:
    balancer = hosted.one("LoadBalancer", "ingress-public").properties
    assert (balancer["internal"], balancer["securityGroups"]) == (False, ["ingress-public-id"])
    (entrance,) = rules_of(hosted, "SecurityGroupIngressRule", "ingress-public")
    assert (entrance["fromPort"], entrance["toPort"]) == (19080, 19080)
    assert entrance["prefixListId"] == "ingress-public-clients-id"
    assert "cidrIpv4" not in entrance
    clients = hosted.one("ManagedPrefixList", "ingress-public-clients").properties
    assert ([each["cidr"] for each in clients["entries"]], clients["maxEntries"]) == (
        ["20.37.158.0/24", "20.37.159.0/24"],
        2,
    )
    assert len(hosted.one("Group", "fleet-seed-0").properties["targetGroupArns"]) == 3
    nodes = rules_of(hosted, "SecurityGroupIngressRule", "fleet-nodes")
    assert [each["fromPort"] for each in nodes if each.get("referencedSecurityGroupId") == "ingress-public-id"] == [
        19080
    ]


def test_the_gateway_on_the_internet_is_never_for_the_world(hosted: Declaration) -> None:
    entrance = hosted.one("SecurityGroupIngressRule", "ingress-public-from-clients-public-gateway")
    assert list(rules.judge(entrance.type, entrance.properties, {443, 19080})) == []
    world = {**entrance.properties, "cidrIpv4": "0.0.0.0/0"}
    assert [name for name, _ in rules.judge(entrance.type, world, {443, 19080})] == ["network-closed"]


def test_nothing_manages_over_the_internet_unasked(sandbox: Declaration) -> None:
    assert {each.name for each in sandbox.all("LoadBalancer")} == {"ingress-traffic", "ingress-management"}


@pytest.mark.parametrize(("group", "ports"), [("ingress-traffic", {8443}), ("ingress-management", {19000, 19080})])
def test_balancers_speak_to_the_nodes_ports_only(sandbox: Declaration, group: str, ports: set[int]) -> None:
    exits = rules_of(sandbox, "SecurityGroupEgressRule", group)
    assert {each["fromPort"] for each in exits} == {each["toPort"] for each in exits} == ports
    assert {each["cidrIpv4"] for each in exits} == {"10.10.0.0/16"}


def test_production_keeps_its_balancers(sandbox: Declaration, prod: Declaration) -> None:
    for declaration, kept in ((sandbox, False), (prod, True)):
        balancers = [each.properties for each in declaration.all("LoadBalancer")]
        assert {each["enableDeletionProtection"] for each in balancers} == {kept}
        assert {each["enableCrossZoneLoadBalancing"] for each in balancers} == {kept}


def opened(monkeypatch: pytest.MonkeyPatch, body: Callable[[], object]) -> dict[str, frozenset[int]]:
    """The ports that the guardrails let each rule of a program open to the world."""
    found: dict[str, frozenset[int]] = {}
    monkeypatch.setattr(pulumi, "ResourceHook", lambda *_: None)
    monkeypatch.setattr(pulumi.runtime, "register_resource_transform", lambda _: None)

    def declare() -> None:
        rails = Guardrails((), date(2026, 1, 31))
        rails.install()
        body()

        names = [name for type_, name, _, _ in rails._declared if type_ == rules.INGRESS_RULE]
        found.update({name: rails.public_ports(rules.INGRESS_RULE, name) for name in names})

    run_mocked(declare)
    return found


def test_the_program_opens_its_traffic_ports_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        chosen, region = settings.load(stack_config("prod"))
        program.declare(environment.enter(chosen, region))

    found = opened(monkeypatch, body)
    assert found.pop("ingress-traffic-from-world-443") == {443}
    assert "ingress-management-from-clients-gateway" in found
    assert set(found.values()) == {frozenset()}


def entrance(group: pulumi.Input[str]) -> None:
    aws.vpc.SecurityGroupIngressRule("entrance", security_group_id=group, ip_protocol="tcp", cidr_ipv4="0.0.0.0/0")


def behind(group: aws.ec2.SecurityGroup, name: str = "balancer", **options: Any) -> None:
    settings: dict[str, Any] = {"load_balancer_type": "network", "internal": False, **options}
    balancer = aws.lb.LoadBalancer(name, security_groups=[group.id], **settings)
    aws.lb.Listener(name, load_balancer_arn=balancer.arn, port=443, default_actions=[{"type": "forward"}])


def a_balancer() -> None:
    group = aws.ec2.SecurityGroup("group")
    behind(group)
    entrance(group.id)


def an_internal_balancer() -> None:
    group = aws.ec2.SecurityGroup("group")
    behind(group, internal=True)
    entrance(group.id)


def an_application_balancer() -> None:
    group = aws.ec2.SecurityGroup("group")
    behind(group, load_balancer_type="application")
    entrance(group.id)


def another_group() -> None:
    behind(aws.ec2.SecurityGroup("group"))
    entrance(aws.ec2.SecurityGroup("other").id)


def a_group_nobody_wears() -> None:
    entrance(aws.ec2.SecurityGroup("group").id)


def a_group_known_by_its_id() -> None:
    behind(aws.ec2.SecurityGroup("group"))
    entrance("group-id")


def two_that_are_known_by_an_id() -> None:
    balancer = aws.lb.LoadBalancer("balancer", load_balancer_type="network", security_groups=["sg-1"])
    aws.lb.Listener("listener", load_balancer_arn=balancer.arn, port=443, default_actions=[{"type": "forward"}])
    entrance("sg-1")


def a_machine_too() -> None:
    group = aws.ec2.SecurityGroup("group")
    behind(group)
    aws.ec2.LaunchTemplate(
        "machines",
        network_interfaces=[aws.ec2.LaunchTemplateNetworkInterfaceArgs(security_groups=[group.id])],
    )
    entrance(group.id)


def perhaps_a_machine_too() -> None:
    group = aws.ec2.SecurityGroup("group")
    behind(group)
    aws.ec2.Instance("machine", vpc_security_group_ids=[group.id.apply(str)])
    entrance(group.id)


def management_too() -> None:
    group = aws.ec2.SecurityGroup("group")
    behind(group)
    behind(group, "management", internal=True)
    entrance(group.id)


def nodes_let_it_in() -> None:
    group = aws.ec2.SecurityGroup("group")
    behind(group)
    aws.vpc.SecurityGroupIngressRule(
        "nodes", security_group_id="sg-1", referenced_security_group_id=group.id, ip_protocol="tcp"
    )
    entrance(group.id)


@pytest.mark.parametrize(
    ("body", "ports"),
    [
        (a_balancer, {443}),
        (nodes_let_it_in, {443}),
        (an_internal_balancer, set()),
        (an_application_balancer, set()),
        (another_group, set()),
        (a_group_nobody_wears, set()),
        (a_group_known_by_its_id, set()),
        (two_that_are_known_by_an_id, set()),
        (a_machine_too, set()),
        (perhaps_a_machine_too, set()),
        (management_too, set()),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_group_is_open_only_as_the_group_of_a_balancer_that_faces_the_internet(
    monkeypatch: pytest.MonkeyPatch, body: Callable[[], None], ports: set[int]
) -> None:
    assert opened(monkeypatch, body)["entrance"] == ports


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, False),
        ({"fromPort": 80, "toPort": 80}, True),
        ({"toPort": 444}, True),
        ({"fromPort": 22, "toPort": 22}, True),
        ({"fromPort": 19080, "toPort": 19080}, True),
        ({"ipProtocol": "udp"}, True),
        ({"ipProtocol": "-1", "fromPort": None, "toPort": None}, True),
        ({"cidrIpv6": "::/0"}, True),
    ],
)
def test_the_world_comes_to_listener_ports_over_tcp_only(change: dict[str, Any], refused: bool) -> None:
    rule = {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "tcp", "fromPort": 443, "toPort": 443, **change}
    # Even a balancer that listens there does not open what machines are administered by.
    found = list(rules.judge(rules.INGRESS_RULE, rule, frozenset({443, 22, 19080})))
    assert [name for name, _ in found] == (["network-closed"] if refused else [])
    assert [name for name, _ in rules.judge(rules.INGRESS_RULE, rule)][:1] == ["network-closed"]


def test_nodes_of_one_group_are_all_that_a_balancer_speaks_to() -> None:
    def body() -> None:
        Ingress(
            "ingress",
            IngressArgs(
                settings=IngressSettings(traffic=(TrafficPort(port=443, target_port=8443),)),
                vpc_id="vpc-1",
                vpc_cidr="10.0.0.0/16",
                public_subnet_ids=["subnet-1"],
                private_subnet_ids=["subnet-2"],
                after=[],
                protect=False,
                node_group_id="sg-nodes",
            ),
        )

    exits = [each.properties for each in run_mocked(body).declared if each.type.endswith("SecurityGroupEgressRule")]
    assert {each["referencedSecurityGroupId"] for each in exits} == {"sg-nodes"}
    assert not any("cidrIpv4" in each for each in exits)
