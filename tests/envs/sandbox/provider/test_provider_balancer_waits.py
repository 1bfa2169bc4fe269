"""Load balancers and prefix lists are waited for where the official provider waits, and AWS's reasons are told."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from envs.sandbox.provider.aws import Aws, Clients
from envs.sandbox.provider.errors import NotReadyError, ProviderError
from envs.sandbox.provider.registry import TYPES

_ACCOUNT, _REGION = "123456789012", "eu-central-1"
_ARN = f"arn:aws:elasticloadbalancing:{_REGION}:{_ACCOUNT}:loadbalancer/net/front/1234"
_BALANCER = TYPES["aws:lb/loadBalancer:LoadBalancer"]
_LIST = TYPES["aws:ec2/managedPrefixList:ManagedPrefixList"]
_ARGS = {
    "name": "front",
    "loadBalancerType": "network",
    "subnets": ["subnet-1"],
    "securityGroups": ["sg-1"],
    "dnsRecordClientRoutingPolicy": "any_availability_zone",
    "enableCrossZoneLoadBalancing": False,
    "enableDeletionProtection": False,
}


class _Stubbed(Clients):
    """Clients whose answers are said beforehand; requests and answers are checked against AWS's own models."""

    def __init__(self, **stubbers: Stubber) -> None:
        super().__init__(_REGION)
        self._clients = {service: stubber.client for service, stubber in stubbers.items()}


def _stubber(service: str) -> Stubber:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    stubber = Stubber(boto3.client(service, region_name=_REGION, endpoint_url="http://127.0.0.1:9", **keys))  # type: ignore[call-overload]
    stubber.activate()
    return stubber


def _aws(**stubbers: Stubber) -> Aws:
    return Aws(_ACCOUNT, _REGION, {}, _Stubbed(**stubbers))


def _balancer(state: str) -> dict[str, Any]:
    about: dict[str, Any] = {
        "LoadBalancerArn": _ARN,
        "LoadBalancerName": "front",
        "DNSName": "front.elb",
        "CanonicalHostedZoneId": "Z",
        "Scheme": "internet-facing",
        "VpcId": "vpc-1",
        "Type": "network",
        "State": {"Code": state},
        "SecurityGroups": ["sg-1"],
        "AvailabilityZones": [{"SubnetId": "subnet-1"}],
    }
    return {"LoadBalancers": [about]}


def _list(state: str, **more: Any) -> dict[str, Any]:
    about = {"PrefixListId": "pl-1", "PrefixListName": "clients", "MaxEntries": 2, "State": state, "Version": 1}
    return {"PrefixLists": [{**about, "PrefixListArn": "arn", "OwnerId": _ACCOUNT, "AddressFamily": "IPv4", **more}]}


def test_a_balancer_is_set_up_once_it_is_active() -> None:
    elb = _stubber("elbv2")
    created = {"Name": "front", "Type": "network", "Subnets": ["subnet-1"], "SecurityGroups": ["sg-1"]}
    attributes = [
        {"Key": "dns_record.client_routing_policy", "Value": "any_availability_zone"},
        {"Key": "load_balancing.cross_zone.enabled", "Value": "false"},
        {"Key": "deletion_protection.enabled", "Value": "false"},
    ]
    elb.add_response("create_load_balancer", _balancer("provisioning"), created)
    for state in ("provisioning", "provisioning", "active"):
        elb.add_response("describe_load_balancers", _balancer(state))
    elb.add_response("modify_load_balancer_attributes", {}, {"LoadBalancerArn": _ARN, "Attributes": attributes})
    for _ in range(2):
        elb.add_response("describe_load_balancers", _balancer("active"))
    elb.add_response("describe_load_balancer_attributes", {"Attributes": attributes})
    elb.add_response("describe_tags", {"TagDescriptions": [{"ResourceArn": _ARN}]})
    identifier, state = _BALANCER.create_it(_aws(elbv2=elb), _ARGS)
    elb.assert_no_pending_responses()
    assert identifier == _ARN
    assert (state["arnSuffix"], state["internal"]) == ("net/front/1234", False)


def test_a_balancer_is_gone_when_its_interfaces_are() -> None:
    elb, ec2 = _stubber("elbv2"), _stubber("ec2")
    elb.add_response("delete_load_balancer", {})
    described = {"Filters": [{"Name": "description", "Values": ["ELB net/front/1234"]}]}
    for left in (2, 1, 0):
        interfaces = [{"NetworkInterfaceId": f"eni-{at}"} for at in range(left)]
        ec2.add_response("describe_network_interfaces", {"NetworkInterfaces": interfaces}, described)
    elb.add_client_error("describe_load_balancers", "LoadBalancerNotFound")
    _BALANCER.delete_it(_aws(elbv2=elb, ec2=ec2), _ARN, _ARGS)
    for each in (elb, ec2):
        each.assert_no_pending_responses()


def test_another_type_of_balancer_is_refused_by_its_name() -> None:
    with pytest.raises(ProviderError, match="loadBalancerType 'application' is not emulated"):
        _BALANCER.create_it(_aws(elbv2=_stubber("elbv2")), {**_ARGS, "loadBalancerType": "application"})


def test_a_list_that_cannot_be_resized_says_why() -> None:
    ec2 = _stubber("ec2")
    had = {"name": "clients", "addressFamily": "IPv4", "maxEntries": 2, "entries": []}
    ec2.add_response("modify_managed_prefix_list", {}, {"PrefixListId": "pl-1", "MaxEntries": 61})
    ec2.add_response("describe_managed_prefix_lists", _list("modify-in-progress"))
    for _ in range(2):
        ec2.add_response("describe_managed_prefix_lists", _list("modify-failed", StateMessage="sg-1 is full"))
    ec2.add_response("get_managed_prefix_list_entries", {"Entries": []})
    with pytest.raises(NotReadyError, match="modify-failed: sg-1 is full") as trouble:
        _LIST.update_it(_aws(ec2=ec2), "pl-1", had, {**had, "maxEntries": 61})
    assert trouble.value.state["maxEntries"] == 2


def test_a_list_that_is_named_by_a_rule_says_so() -> None:
    ec2 = _stubber("ec2")
    ec2.add_response("delete_managed_prefix_list", {})
    ec2.add_response("describe_managed_prefix_lists", _list("delete-in-progress"))
    ec2.add_response("describe_managed_prefix_lists", _list("delete-failed", StateMessage="sg-1 names it"))
    with pytest.raises(ProviderError, match="delete-failed: sg-1 names it"):
        _LIST.delete_it(_aws(ec2=ec2), "pl-1", {})
    ec2.assert_no_pending_responses()
