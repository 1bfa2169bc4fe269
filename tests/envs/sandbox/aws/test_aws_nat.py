"""NAT gateways come and go in the background, fail as on AWS, and hold the addresses that they use."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws.inventory import inventory
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-nat")  # one AWS process for all of them


@pytest.fixture(scope="module")
def ec2(aws: Aws) -> Any:
    return aws.client("ec2")


@pytest.fixture(scope="module")
def network(ec2: Any) -> Network:
    """A network with an internet gateway."""
    made = make_network(ec2)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=made.vpc)
    return made


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


def create(ec2: Any, subnet: str, allocation: str) -> dict[str, Any]:
    return ec2.create_nat_gateway(SubnetId=subnet, AllocationId=allocation)["NatGateway"]


def settled(ec2: Any, gateway: str) -> dict[str, Any]:
    """The gateway as soon as it is no longer on its way."""
    deadline = time.monotonic() + 20
    while True:
        (told,) = ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"]
        if told["State"] not in ("pending", "deleting"):
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def address(ec2: Any) -> str:
    return ec2.allocate_address(Domain="vpc")["AllocationId"]


def delete(ec2: Any, gateway: str) -> None:
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    assert settled(ec2, gateway)["State"] == "deleted"


def test_a_gateway_lives_and_holds_what_it_uses(aws: Aws, ec2: Any, network: Network) -> None:
    allocation = address(ec2)
    made = create(ec2, network.subnets[0], allocation)
    assert made["State"] == "pending"
    told = settled(ec2, made["NatGatewayId"])
    (used,) = told["NatGatewayAddresses"]
    assert (told["State"], told["ConnectivityType"], told["VpcId"]) == ("available", "public", network.vpc)
    assert (used["AllocationId"], used["IsPrimary"]) == (allocation, True)
    assert used["PrivateIp"].startswith("10.0.0.")
    assert f"ec2 nat-gateway {made['NatGatewayId']}" in inventory(aws.session)
    (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[used["NetworkInterfaceId"]])[
        "NetworkInterfaces"
    ]
    assert (interface["InterfaceType"], interface["Groups"]) == ("nat_gateway", [])
    (held,) = ec2.describe_addresses(AllocationIds=[allocation])["Addresses"]
    assert (held["AssociationId"], held["PublicIp"]) == (used["AssociationId"], used["PublicIp"])

    assert refusal(ec2.release_address, AllocationId=allocation) == "AuthFailure"
    assert refusal(ec2.disassociate_address, AssociationId=held["AssociationId"]) == "AuthFailure"
    assert refusal(ec2.delete_subnet, SubnetId=network.subnets[0]) == "DependencyViolation"
    (gateway,) = ec2.describe_internet_gateways()["InternetGateways"]
    where = {"InternetGatewayId": gateway["InternetGatewayId"], "VpcId": network.vpc}
    with pytest.raises(ClientError, match=r"DependencyViolation.*some mapped public address"):
        ec2.detach_internet_gateway(**where)

    ec2.delete_nat_gateway(NatGatewayId=made["NatGatewayId"])
    assert refusal(ec2.release_address, AllocationId=allocation) == "AuthFailure", "it is not gone yet"
    assert settled(ec2, made["NatGatewayId"])["State"] == "deleted"
    ec2.release_address(AllocationId=allocation)
    # AWS tells of a deleted gateway for an hour; it is no longer there.
    assert not [entry for entry in inventory(aws.session) if "nat-gateway" in entry or "elastic-ip" in entry]
    ec2.detach_internet_gateway(**where)
    ec2.attach_internet_gateway(**where)


def test_a_gateway_fails_afterwards_when_its_address_is_taken_or_unknown(ec2: Any, network: Network) -> None:
    allocation = address(ec2)
    first = create(ec2, network.subnets[0], allocation)["NatGatewayId"]
    for wanted, code in (
        (allocation, "Resource.AlreadyAssociated"),
        ("eipalloc-none", "InvalidAllocationID.NotFound"),
    ):
        second = create(ec2, network.subnets[1], wanted)
        assert second["State"] == "pending"
        told = settled(ec2, second["NatGatewayId"])
        assert (told["State"], told["FailureCode"]) == ("failed", code)
        assert wanted in told["FailureMessage"]
        delete(ec2, second["NatGatewayId"])
    assert settled(ec2, first)["State"] == "available"
    delete(ec2, first)
    ec2.release_address(AllocationId=allocation)


def test_a_gateway_fails_afterwards_without_an_internet_gateway(ec2: Any) -> None:
    apart = make_network(ec2, "10.6")
    allocation = address(ec2)
    told = settled(ec2, create(ec2, apart.subnets[0], allocation)["NatGatewayId"])
    assert (told["State"], told["FailureCode"]) == ("failed", "Gateway.NotAttached")
    assert told["FailureMessage"] == f"Network {apart.vpc} has no Internet gateway attached"
    ec2.release_address(AllocationId=allocation)
    ec2.delete_subnet(SubnetId=apart.subnets[0])


def test_a_gateway_needs_a_free_address_in_its_subnet(ec2: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.0.0/28")["Subnet"]["SubnetId"]
    interfaces = [ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"] for _ in range(11)]
    made = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    assert settled(ec2, made)["FailureCode"] == "InsufficientFreeAddressesInSubnet"
    ec2.delete_network_interface(NetworkInterfaceId=interfaces[0]["NetworkInterfaceId"])
    made = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    assert settled(ec2, made)["State"] == "available"


def test_a_request_that_cannot_be_is_refused_at_once(ec2: Any, network: Network) -> None:
    assert refusal(ec2.create_nat_gateway, SubnetId="subnet-none", AllocationId="x") == "InvalidSubnetID.NotFound"
    assert refusal(ec2.create_nat_gateway, SubnetId=network.subnets[0]) == "MissingParameter"
    private = {"SubnetId": network.subnets[0], "ConnectivityType": "private", "AllocationId": "eipalloc-1"}
    assert refusal(ec2.create_nat_gateway, **private) == "InvalidParameter"
    assert refusal(ec2.describe_nat_gateways, NatGatewayIds=["nat-none"]) == "NatGatewayNotFound"
    assert refusal(ec2.delete_nat_gateway, NatGatewayId="nat-none") == "NatGatewayNotFound"


def test_a_route_leads_to_a_gateway_of_its_own_network_only(ec2: Any, network: Network) -> None:
    allocation = address(ec2)
    gateway = create(ec2, network.subnets[0], allocation)["NatGatewayId"]
    table = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    away = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    assert refusal(ec2.create_route, **away, NatGatewayId="nat-none") == "InvalidNatGatewayID.NotFound"
    ec2.create_route(**away, NatGatewayId=gateway)
    assert refusal(ec2.replace_route, **away, NatGatewayId="nat-none") == "InvalidNatGatewayID.NotFound"
    routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    assert gateway in {each.get("NatGatewayId") for each in routes}
    other = ec2.create_route_table(VpcId=ec2.create_vpc(CidrBlock="10.5.0.0/16")["Vpc"]["VpcId"])["RouteTable"]
    with pytest.raises(ClientError, match="belong to different networks"):
        ec2.create_route(**{**away, "RouteTableId": other["RouteTableId"]}, NatGatewayId=gateway)
    delete(ec2, gateway)
    ec2.release_address(AllocationId=allocation)


def test_an_address_of_an_instance_is_given_back_before_it_is_released(ec2: Any, network: Network) -> None:
    allocation = address(ec2)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=network.subnets[0])["Instances"][0]
    association = ec2.associate_address(AllocationId=allocation, InstanceId=instance["InstanceId"])["AssociationId"]
    assert refusal(ec2.release_address, AllocationId=allocation) == "InvalidIPAddress.InUse"
    (gateway,) = ec2.describe_internet_gateways()["InternetGateways"]
    where = {"InternetGatewayId": gateway["InternetGatewayId"], "VpcId": network.vpc}
    assert refusal(ec2.detach_internet_gateway, **where) == "DependencyViolation"
    ec2.disassociate_address(AssociationId=association)
    ec2.release_address(AllocationId=allocation)
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
