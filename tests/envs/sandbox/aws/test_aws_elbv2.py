"""Network load balancers as the provider makes and reads them, and what AWS refuses of them."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-elbv2")  # one AWS process for all of them


@pytest.fixture(scope="module")
def elb(aws: Aws) -> Any:
    return aws.client("elbv2")


@pytest.fixture(scope="module")
def ec2(aws: Aws) -> Any:
    return aws.client("ec2")


@pytest.fixture(scope="module")
def network(ec2: Any) -> Network:
    made = make_network(ec2)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=made.vpc)
    return made


def balancer(elb: Any, network: Network, name: str, **changes: Any) -> str:
    request: dict[str, Any] = {
        "Name": name,
        "Type": "network",
        "Subnets": network.subnets,
        "SecurityGroups": [network.group],
    }
    return elb.create_load_balancer(**{**request, **changes})["LoadBalancers"][0]["LoadBalancerArn"]


def targets(elb: Any, network: Network, name: str, **changes: Any) -> str:
    request: dict[str, Any] = {"Name": name, "Protocol": "TCP", "Port": 8443, "VpcId": network.vpc}
    return elb.create_target_group(**{**request, **changes})["TargetGroups"][0]["TargetGroupArn"]


def listener(elb: Any, balancer_arn: str, group_arn: str, port: int = 443) -> str:
    action = {"Type": "forward", "TargetGroupArn": group_arn}
    made = elb.create_listener(LoadBalancerArn=balancer_arn, Protocol="TCP", Port=port, DefaultActions=[action])
    return made["Listeners"][0]["ListenerArn"]


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The code of AWS's refusal."""
    with pytest.raises(ClientError) as error:
        call(*arguments, **options)
    return error.value.response["Error"]["Code"]


def test_a_balancer_has_an_interface_in_each_subnet_until_it_goes(elb: Any, ec2: Any, network: Network) -> None:
    arn = balancer(elb, network, "whole", Subnets=network.subnets[:2])
    assert ":loadbalancer/net/whole/" in arn
    elb.set_subnets(LoadBalancerArn=arn, Subnets=network.subnets)

    described = [{"Name": "description", "Values": [f"ELB {arn.partition('loadbalancer/')[2]}"]}]
    found = ec2.describe_network_interfaces(Filters=described)["NetworkInterfaces"]
    assert {each["SubnetId"] for each in found} == set(network.subnets)
    assert {each["InterfaceType"] for each in found} == {"network_load_balancer"}
    assert {group["GroupId"] for each in found for group in each["Groups"]} == {network.group}
    assert refused(ec2.delete_security_group, GroupId=network.group) == "DependencyViolation"
    assert refused(ec2.delete_subnet, SubnetId=network.subnets[0]) == "DependencyViolation"

    elb.delete_load_balancer(LoadBalancerArn=arn)
    assert ec2.describe_network_interfaces(Filters=described)["NetworkInterfaces"] == []


def test_a_protected_balancer_stays(elb: Any, network: Network) -> None:
    arn = balancer(elb, network, "kept")
    for value in ("true", "false"):
        attribute = {"Key": "deletion_protection.enabled", "Value": value}
        elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=[attribute])
        if value == "true":
            assert refused(elb.delete_load_balancer, LoadBalancerArn=arn) == "OperationNotPermitted"
    elb.delete_load_balancer(LoadBalancerArn=arn)
    assert refused(elb.describe_load_balancers, LoadBalancerArns=[arn]) == "LoadBalancerNotFound"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Subnets": []}, "ValidationError"),
        ({"Name": "x" * 33}, "ValidationError"),
        ({"Name": "internal-x"}, "ValidationError"),
        ({"Name": "x-"}, "ValidationError"),
        ({"Subnets": ["subnet-12345678"]}, "SubnetNotFound"),
        ({"SecurityGroups": ["sg-12345678"]}, "InvalidSecurityGroup"),
    ],
)
def test_a_balancer_that_cannot_be_is_refused(elb: Any, network: Network, changes: dict[str, Any], code: str) -> None:
    assert refused(balancer, elb, network, "refused", **changes) == code


def test_facing_the_internet_needs_a_gateway_to_it(elb: Any, ec2: Any) -> None:
    closed = make_network(ec2, "10.9")
    assert refused(balancer, elb, closed, "facing") == "InvalidSubnet"
    arn = balancer(elb, closed, "inside", Scheme="internal")
    again = ec2.create_subnet(VpcId=closed.vpc, CidrBlock="10.9.9.0/24", AvailabilityZone="us-east-1a")["Subnet"]
    two = [closed.subnets[0], again["SubnetId"]]
    assert refused(elb.set_subnets, LoadBalancerArn=arn, Subnets=two) == "InvalidConfigurationRequest"
    assert refused(balancer, elb, closed, "inside", Scheme="internal") == "DuplicateLoadBalancerName"


def test_security_groups_are_for_the_beginning(elb: Any, network: Network) -> None:
    bare, dressed = balancer(elb, network, "bare", SecurityGroups=[]), balancer(elb, network, "dressed")
    with pytest.raises(ClientError, match="created without any security groups"):
        elb.set_security_groups(LoadBalancerArn=bare, SecurityGroups=[network.group])
    code = refused(elb.set_security_groups, LoadBalancerArn=dressed, SecurityGroups=[])
    assert code == "InvalidConfigurationRequest"
    for arn in (bare, dressed):
        elb.delete_load_balancer(LoadBalancerArn=arn)


def test_a_target_group_serves_one_balancer_and_goes_after_its_listener(elb: Any, network: Network) -> None:
    one, other = balancer(elb, network, "one"), balancer(elb, network, "other")
    group = targets(elb, network, "served")
    made = listener(elb, one, group)

    def served_by() -> list[str]:
        return elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["LoadBalancerArns"]

    listener(elb, one, group, 444)
    assert served_by() == [one]
    assert refused(listener, elb, one, group) == "DuplicateListener"
    assert refused(elb.modify_listener, ListenerArn=made, Port=444) == "DuplicateListener"
    assert refused(listener, elb, other, group) == "TargetGroupAssociationLimit"
    assert refused(elb.delete_target_group, TargetGroupArn=group) == "ResourceInUse"

    elb.delete_load_balancer(LoadBalancerArn=one)
    assert served_by() == []
    elb.delete_target_group(TargetGroupArn=group)
    elb.delete_load_balancer(LoadBalancerArn=other)


def test_a_tcp_listener_forwards_to_no_http_targets(elb: Any, network: Network) -> None:
    arn = balancer(elb, network, "plain")
    web, plain = targets(elb, network, "web", Protocol="HTTP"), targets(elb, network, "plain")
    assert refused(listener, elb, arn, web) == "IncompatibleProtocols"
    made = listener(elb, arn, plain)
    action = {"Type": "forward", "TargetGroupArn": web}
    assert refused(elb.modify_listener, ListenerArn=made, DefaultActions=[action]) == "IncompatibleProtocols"
    elb.delete_load_balancer(LoadBalancerArn=arn)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"HealthCheckIntervalSeconds": 301}, "ValidationError"),
        ({"HealthCheckTimeoutSeconds": 121}, "ValidationError"),
        ({"HealthyThresholdCount": 11}, "ValidationError"),
        ({"UnhealthyThresholdCount": 11}, "ValidationError"),
        ({"HealthCheckIntervalSeconds": 10, "HealthCheckTimeoutSeconds": 20}, "ValidationError"),
        ({"HealthCheckProtocol": "UDP"}, "InvalidConfigurationRequest"),
    ],
)
def test_health_checks_keep_to_their_limits(elb: Any, network: Network, changes: dict[str, Any], code: str) -> None:
    assert refused(targets, elb, network, "sick", **changes) == code
    group = targets(elb, network, "healthy")
    assert refused(elb.modify_target_group, TargetGroupArn=group, **changes) == code
    elb.delete_target_group(TargetGroupArn=group)


def test_a_target_group_starts_with_what_network_balancers_default_to(elb: Any, network: Network) -> None:
    group = targets(elb, network, "fresh")
    told = elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
    assert {"Key": "preserve_client_ip.enabled", "Value": "true"} in told
    (about,) = elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"]
    assert (about["HealthCheckProtocol"], about["HealthCheckIntervalSeconds"]) == ("TCP", 30)
    elb.delete_target_group(TargetGroupArn=group)
