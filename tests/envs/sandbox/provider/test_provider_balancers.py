"""Load balancers and prefix lists under the real engine: made, changed in place where AWS can, replaced where not."""

from pathlib import Path

import pytest
from provider_stage import Sandbox, Stack

pytestmark = pytest.mark.xdist_group("provider-engine")


@pytest.fixture
def stack(sandbox: Sandbox, tmp_path: Path) -> Stack:
    """A new stack of the engine."""
    return Stack(sandbox, tmp_path)


def test_a_balancer_lives_changes_in_place_and_leaves_nothing(sandbox: Sandbox, stack: Stack) -> None:
    ec2, elb = sandbox.client("ec2"), sandbox.client("elbv2")
    stack.up("balancers")
    stack.unchanged("balancers")
    made = stack.ids()
    (balancer,) = elb.describe_load_balancers(LoadBalancerArns=[made["balancer"]])["LoadBalancers"]
    assert (balancer["Type"], balancer["Scheme"], balancer["State"]["Code"]) == (
        "network",
        "internet-facing",
        "active",
    )
    assert len(balancer["LoadBalancerName"]) <= 32

    grown = {"10.0.0.0/16": "renamed", "10.2.0.0/16": "three", "10.3.0.0/16": "four"}
    changed = {"groups": 2, "zones": "abc", "clients": grown, "size": 4, "interval": 20, "owner": "two"}
    stack.up("balancers", **changed)
    stack.unchanged("balancers", **changed)
    assert stack.ids() == made, "everything could be changed in place"
    entries = ec2.get_managed_prefix_list_entries(PrefixListId=made["clients"])["Entries"]
    assert {entry["Cidr"]: entry["Description"] for entry in entries} == grown
    (balancer,) = elb.describe_load_balancers(LoadBalancerArns=[made["balancer"]])["LoadBalancers"]
    assert len(balancer["SecurityGroups"]) == 2
    assert len(balancer["AvailabilityZones"]) == 3

    smaller = {**changed, "clients": {"10.0.0.0/16": "renamed"}, "size": 1}
    stack.up("balancers", **smaller)
    stack.unchanged("balancers", **smaller)
    assert stack.ids() == made

    stack.destroy()
    assert elb.describe_load_balancers()["LoadBalancers"] == []
    assert elb.describe_target_groups()["TargetGroups"] == []
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_what_a_balancer_cannot_change_replaces_it(stack: Stack) -> None:
    stack.up("balancers", groups=0, zones="abc")
    made = stack.ids()
    stack.up("balancers", groups=1, zones="ab", port=444)
    moved = stack.ids()
    assert {name for name in made if made[name] != moved[name]} == {"balancer", "targets", "listener"}
    stack.unchanged("balancers", groups=1, zones="ab", port=444)
    stack.destroy()


def test_a_list_that_outgrows_its_rules_quota_is_refused(stack: Stack) -> None:
    stack.up("balancers")
    told = stack.fails("up", "balancers", size=61)
    assert "modify-failed: The following VPC Security Group resources do not have sufficient capacity" in told
    stack.up("balancers", size=60)
    stack.unchanged("balancers", size=60)
    stack.destroy()


def test_the_guardrails_let_the_platforms_own_ways_in_pass_and_no_other(sandbox: Sandbox, stack: Stack) -> None:
    stack.up("ways_in")
    stack.unchanged("ways_in")
    ports = {
        (rule["FromPort"], rule.get("CidrIpv4"))
        for rule in sandbox.client("ec2").describe_security_group_rules()["SecurityGroupRules"]
        if rule.get("CidrIpv4") == "0.0.0.0/0" and not rule["IsEgress"]
    }
    assert ports == {(443, "0.0.0.0/0")}
    for hole in (80, 22):
        told = stack.fails("preview", "ways_in", hole=hole)
        assert "hole (aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule): network-closed" in told
        assert "1 guardrail violation" in told
    stack.destroy()
