"""NAT gateways, their addresses and flow logs under the real engine: made, changed, failed, gone without a trace."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from provider_stage import REGION, Sandbox, Stack

from envs.sandbox.provider.aws import Aws, Clients
from envs.sandbox.provider.errors import NotReadyError, ProviderError
from envs.sandbox.provider.registry import TYPES

pytestmark = pytest.mark.xdist_group("provider-engine")


@pytest.fixture
def stack(sandbox: Sandbox, tmp_path: Path) -> Stack:
    """A new stack of the engine, for the programs of `provider_networks`."""
    made = Stack(sandbox, tmp_path)
    main = tmp_path / "__main__.py"
    main.write_text(main.read_text().replace("provider_programs", "provider_networks"))
    return made


def test_a_way_out_is_made_moved_and_taken_down(sandbox: Sandbox, stack: Stack) -> None:
    ec2 = sandbox.client("ec2")
    stack.up("private")
    stack.unchanged("private")
    one = stack.resources()
    assert one["nat-0"]["outputs"]["publicIp"].count(".") == 3
    assert one["trial-dev"]["outputs"]["public_ip"] == one["nat-0"]["outputs"]["publicIp"]

    stack.up("private", zones=2, days=2)
    stack.unchanged("private", zones=2, days=2)
    two = stack.ids()
    assert two["private"] == one["private"]["id"], "the route was changed in place"
    routes = ec2.describe_route_tables(RouteTableIds=[_of(stack, "routeTable", "private")])["RouteTables"][0][
        "Routes"
    ]
    assert _of(stack, "natGateway", "nat-1") in {route.get("NatGatewayId") for route in routes}
    (gateway,) = ec2.describe_nat_gateways(NatGatewayIds=[_of(stack, "natGateway", "nat-0")])["NatGateways"]
    assert gateway["Tags"] == [{"Key": "Days", "Value": "2"}]

    # After a refresh the state knows of the associations, and the addresses still go after their gateways.
    stack.refresh()
    stack.unchanged("private", zones=2, days=2)
    stack.destroy()
    assert ec2.describe_addresses()["Addresses"] == []


def test_the_platforms_network_is_made_and_its_ways_out_multiplied(sandbox: Sandbox, stack: Stack) -> None:
    ec2 = sandbox.client("ec2")
    stack.up("platform", nat="one")
    stack.unchanged("platform", nat="one")
    (log,) = ec2.describe_flow_logs(Filters=[{"Name": "resource-id", "Values": [_of(stack, "vpc", "network-vpc")]}])[
        "FlowLogs"
    ]
    assert (log["DeliverLogsStatus"], log["TrafficType"]) == ("SUCCESS", "ALL")
    first = _of(stack, "natGateway", f"network-nat-{REGION}a")

    stack.up("platform", nat="per_zone")
    stack.still()
    assert _of(stack, "natGateway", f"network-nat-{REGION}a") == first
    for zone in "abc":
        table = _of(stack, "routeTable", f"network-private-{REGION}{zone}")
        (routes,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
        through = _of(stack, "natGateway", f"network-nat-{REGION}{zone}")
        assert through in {route.get("NatGatewayId") for route in routes["Routes"]}
    stack.destroy()


def test_a_gateway_without_an_internet_gateway_is_told_remembered_and_taken_down(stack: Stack) -> None:
    told = stack.fails("up", "private", attached=False)
    assert "failed: Gateway.NotAttached: Network vpc-" in told
    assert "has no Internet gateway attached" in told
    assert _of(stack, "natGateway", "nat-0").startswith("nat-")
    stack.destroy()


def test_traffic_is_logged_by_a_role_that_may(sandbox: Sandbox, stack: Stack) -> None:
    stack.up("watched")
    stack.unchanged("watched")
    first = _of(stack, "flowLog", "flows")
    stack.up("watched", days=2)
    assert _of(stack, "flowLog", "flows") == first, "tags are changed in place"
    (told,) = sandbox.client("ec2").describe_flow_logs(FlowLogIds=[first])["FlowLogs"]
    assert (told["Tags"], told["DeliverLogsStatus"]) == ([{"Key": "Days", "Value": "2"}], "SUCCESS")
    stack.up("watched", traffic="REJECT", days=2)
    assert _of(stack, "flowLog", "flows") != first
    stack.destroy()
    assert sandbox.client("ec2").describe_flow_logs()["FlowLogs"] == []


def test_a_role_that_may_not_write_or_cannot_be_taken_is_told(stack: Stack) -> None:
    assert "its logs cannot be delivered: Access error" in stack.fails("up", "watched", action="logs:GetLogEvents")
    stack.destroy()
    told = stack.fails("up", "watched", service="ec2.amazonaws.com")
    assert "InvalidParameter: Unable to assume given IAM role" in told
    stack.destroy()


def _of(stack: Stack, kind: str, name: str) -> str:
    """The id of a resource by its type too: an address and its gateway have the same name."""
    found = json.loads(stack.state())["checkpoint"]["latest"]["resources"]
    return next(each["id"] for each in found if f"/{kind}:" in each["type"] and each["urn"].endswith(f"::{name}"))


# Waits ----------------------------------------------------------------------------------------------------------


class _Stubbed(Clients):
    """EC2 whose answers are said beforehand; requests and answers are checked against AWS's own model."""

    def __init__(self, ec2: Stubber) -> None:
        super().__init__(REGION)
        self._clients = {"ec2": ec2.client}


@pytest.fixture
def ec2() -> Stubber:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    stubber = Stubber(boto3.client("ec2", region_name=REGION, endpoint_url="http://127.0.0.1:9", **keys))  # type: ignore[call-overload]
    stubber.activate()
    return stubber


def _aws(ec2: Stubber) -> Aws:
    return Aws("123456789012", REGION, {}, _Stubbed(ec2))


_WANTED = {"subnetId": "subnet-1", "allocationId": "eipalloc-1", "connectivityType": "public"}
_ASKED = {"SubnetId": "subnet-1", "AllocationId": "eipalloc-1", "ConnectivityType": "public"}


def _told(state: str, **more: Any) -> dict[str, Any]:
    used = {"AllocationId": "eipalloc-1", "AssociationId": "eipassoc-1", "PublicIp": "1.2.3.4", "IsPrimary": True}
    gateway = {"NatGatewayId": "nat-1", "State": state, "SubnetId": "subnet-1", "ConnectivityType": "public"}
    return {"NatGateways": [{**gateway, "NatGatewayAddresses": [used], **more}]}


def test_a_gateway_is_awaited_until_it_is_available(ec2: Stubber) -> None:
    ec2.add_response("create_nat_gateway", {"NatGateway": _told("pending")["NatGateways"][0]}, _ASKED)
    for state in ("pending", "pending", "available", "available"):
        ec2.add_response("describe_nat_gateways", _told(state), {"NatGatewayIds": ["nat-1"]})
    identifier, state = TYPES["aws:ec2/natGateway:NatGateway"].create_it(_aws(ec2), _WANTED)
    ec2.assert_no_pending_responses()
    assert (identifier, state["publicIp"], state["associationId"]) == ("nat-1", "1.2.3.4", "eipassoc-1")
    assert state["allocationId"] == "eipalloc-1"


def test_a_gateway_that_fails_says_why_at_once(ec2: Stubber) -> None:
    why = {"FailureCode": "Resource.AlreadyAssociated", "FailureMessage": "Elastic IP address eipalloc-1 is already"}
    ec2.add_response("create_nat_gateway", {"NatGateway": _told("pending")["NatGateways"][0]})
    for _ in range(2):
        ec2.add_response("describe_nat_gateways", _told("failed", **why))
    with pytest.raises(NotReadyError, match=r"failed: Resource\.AlreadyAssociated: Elastic IP") as trouble:
        TYPES["aws:ec2/natGateway:NatGateway"].create_it(_aws(ec2), _WANTED)
    assert trouble.value.identifier == "nat-1"


def test_a_gateway_is_awaited_until_it_is_deleted(ec2: Stubber) -> None:
    ec2.add_response("delete_nat_gateway", {"NatGatewayId": "nat-1"}, {"NatGatewayId": "nat-1"})
    for state in ("deleting", "deleting", "deleted", "deleted"):
        ec2.add_response("describe_nat_gateways", _told(state))
    TYPES["aws:ec2/natGateway:NatGateway"].delete_it(_aws(ec2), "nat-1", _WANTED)
    ec2.assert_no_pending_responses()


def test_an_address_leaves_its_user_before_it_is_released(ec2: Stubber) -> None:
    ec2.add_response("disassociate_address", {}, {"AssociationId": "eipassoc-1"})
    ec2.add_response("release_address", {}, {"AllocationId": "eipalloc-1"})
    ec2.add_client_error("describe_addresses", "InvalidAllocationID.NotFound")
    TYPES["aws:ec2/eip:Eip"].delete_it(_aws(ec2), "eipalloc-1", {"associationId": "eipassoc-1"})
    ec2.assert_no_pending_responses()


def test_an_address_moves_from_one_user_to_another(ec2: Stubber) -> None:
    told = {"AllocationId": "eipalloc-1", "PublicIp": "1.2.3.4", "Domain": "vpc", "AssociationId": "eipassoc-2"}
    moved = {**told, "NetworkInterfaceId": "eni-2", "PrivateIpAddress": "10.0.0.4"}
    ec2.add_response("disassociate_address", {}, {"AssociationId": "eipassoc-1"})
    new = {"AllocationId": "eipalloc-1", "NetworkInterfaceId": "eni-2"}
    ec2.add_response("associate_address", {"AssociationId": "eipassoc-2"}, new)
    ec2.add_response("describe_addresses", {"Addresses": [moved]})
    state = {"networkInterface": "eni-1", "associationId": "eipassoc-1"}
    changed = TYPES["aws:ec2/eip:Eip"].update_it(_aws(ec2), "eipalloc-1", state, {"networkInterface": "eni-2"})
    assert changed["associationId"] == "eipassoc-2"
    assert changed["privateDns"] == "ip-10-0-0-4.eu-central-1.compute.internal"
    assert changed["publicDns"] == "ec2-1-2-3-4.eu-central-1.compute.amazonaws.com"


@pytest.mark.parametrize("subjects", [{}, {"vpcId": "vpc-1", "subnetId": "subnet-1"}])
def test_a_flow_log_watches_exactly_one_thing(ec2: Stubber, subjects: dict[str, str]) -> None:
    with pytest.raises(ProviderError, match="exactly one thing: set one of vpcId, subnetId, eniId"):
        TYPES["aws:ec2/flowLog:FlowLog"].create_it(_aws(ec2), subjects)
