"""The way out for private subnets: elastic IP addresses and NAT gateways. Gateways are of one zone, not regional."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, Resource
from envs.sandbox.provider.schema import text
from envs.sandbox.provider.translate import answer, request, tag_map

# Elastic IP address ---------------------------------------------------------------------------------------------

_ADDRESS_USERS: Final = {
    "instance": text(computed=True, api="InstanceId"),
    "networkInterface": text(computed=True, api="NetworkInterfaceId"),
}
_ADDRESS: Final = {**_ADDRESS_USERS, "domain": text(computed=True)}
_FIRST_REGION: Final = "us-east-1"
"""The region whose host names are older than the scheme (EC2 User Guide, "EC2 instance hostnames and domains")."""


def _create_address(aws: Aws, args: Args) -> str:
    wanted = request(_ADDRESS, args, ("domain",))
    return aws.client("ec2").allocate_address(**wanted, **specifications("elastic-ip", args))["AllocationId"]


def _associate_address(aws: Aws, identifier: str, args: Args) -> None:
    if user := request(_ADDRESS_USERS, args):
        aws.client("ec2").associate_address(AllocationId=identifier, **user)


def _disassociate_address(aws: Aws, state: Args) -> None:
    if association := state.get("associationId"):
        with ignoring("InvalidAssociationID.NotFound"):
            aws.client("ec2").disassociate_address(AssociationId=association)


def _read_address(aws: Aws, identifier: str, _: Args) -> Args | None:
    describe = aws.client("ec2").describe_addresses
    found = find(lambda: describe(AllocationIds=[identifier])["Addresses"], "InvalidAllocationID.NotFound")
    if not found:
        return None
    public, private = found[0].get("PublicIp"), found[0].get("PrivateIpAddress")
    return {
        **answer(_ADDRESS, found[0]),
        "allocationId": identifier,
        "arn": aws.arn("ec2", f"elastic-ip/{identifier}"),
        "associationId": found[0].get("AssociationId", ""),
        "carrierIp": "",
        "customerOwnedIp": "",
        "privateDns": _private_name(aws.region, private),
        "privateIp": private,
        "ptrRecord": "",
        "publicDns": _public_name(aws.region, public),
        "publicIp": public,
        "tagsAll": tag_map(found[0].get("Tags")),
    }


def _private_name(region: str, address: str | None) -> str | None:
    domain = "ec2.internal" if region == _FIRST_REGION else f"{region}.compute.internal"
    return address and f"ip-{address.replace('.', '-')}.{domain}"


def _public_name(region: str, address: str | None) -> str | None:
    domain = "compute-1" if region == _FIRST_REGION else f"{region}.compute"
    return address and f"ec2-{address.replace('.', '-')}.{domain}.amazonaws.com"


def _update_address(aws: Aws, identifier: str, old: Args, new: Args, _: set[str]) -> None:
    _disassociate_address(aws, old)
    _associate_address(aws, identifier, new)


def _delete_address(aws: Aws, identifier: str, state: Args) -> None:
    _disassociate_address(aws, state)
    with ignoring("InvalidAllocationID.NotFound"):
        aws.client("ec2").release_address(AllocationId=identifier)


_USERS: Final = tuple(_ADDRESS_USERS)
ADDRESS: Final = Resource(
    type_name="aws:ec2/eip:Eip",
    inputs=_ADDRESS,
    outputs=(
        "allocationId",
        "arn",
        "associationId",
        "carrierIp",
        "customerOwnedIp",
        "privateDns",
        "privateIp",
        "ptrRecord",
        "publicDns",
        "publicIp",
    ),
    replaces={"domain": "internal/service/ec2/ec2_eip.go"},
    create=_create_address,
    finish=_associate_address,
    read=_read_address,
    update=_update_address,
    delete=_delete_address,
    tagging=TAGGING,
    recomputed_by=dict.fromkeys(("associationId", "privateDns", "privateIp"), _USERS),
)


# NAT gateway ----------------------------------------------------------------------------------------------------

_GATEWAY_SOURCE: Final = "internal/service/ec2/vpc_nat_gateway.go"
_GATEWAY: Final = {
    "subnetId": text(required=True),
    "allocationId": text(),
    "connectivityType": text(default="public"),
}
_OF_REGIONAL_ONES: Final = {
    "autoProvisionZones": "",
    "autoScalingIps": "",
    "regionalNatGatewayAddresses": [],
    "regionalNatGatewayAutoMode": "",
    "routeTableId": "",
}
"""What the official provider tells of regional gateways alone."""


def _create_gateway(aws: Aws, args: Args) -> str:
    made = aws.client("ec2").create_nat_gateway(**request(_GATEWAY, args), **specifications("natgateway", args))
    return made["NatGateway"]["NatGatewayId"]


def _finish_gateway(aws: Aws, identifier: str, _: Args) -> None:
    def is_available() -> bool:
        found = _gateway(aws, identifier) or {}
        if found.get("State") == "failed":
            raise ProviderError(
                f"NAT gateway {identifier} failed: {found.get('FailureCode')}: {found.get('FailureMessage')}. It "
                "stays failed: correct the cause, then replace it (pulumi up --replace)"
            )
        return found.get("State") == "available"

    aws.wait(f"NAT gateway {identifier} becomes available", is_available, minutes=10)


def _gateway(aws: Aws, identifier: str) -> dict[str, Any] | None:
    """A gateway that AWS still shows as deleted is gone (`findNATGatewayByID` in the official provider)."""
    describe = aws.client("ec2").describe_nat_gateways
    found = find(lambda: describe(NatGatewayIds=[identifier])["NatGateways"], "NatGatewayNotFound")
    return found[0] if found and found[0]["State"] != "deleted" else None


def _read_gateway(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _gateway(aws, identifier)
    if found is None:
        return None
    addresses = found.get("NatGatewayAddresses", [])
    main = next((each for each in addresses if each.get("IsPrimary") or len(addresses) == 1), {})
    return {
        **answer(_GATEWAY, found, ("subnetId", "connectivityType")),
        "allocationId": main.get("AllocationId"),
        "associationId": main.get("AssociationId"),
        "networkInterfaceId": main.get("NetworkInterfaceId"),
        "publicIp": main.get("PublicIp"),
        **_OF_REGIONAL_ONES,
        "tagsAll": tag_map(found.get("Tags")),
    }


def _delete_gateway(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("NatGatewayNotFound"):
        aws.client("ec2").delete_nat_gateway(NatGatewayId=identifier)
        aws.wait(f"NAT gateway {identifier} is deleted", lambda: _gateway(aws, identifier) is None, minutes=30)


NAT_GATEWAY: Final = Resource(
    type_name="aws:ec2/natGateway:NatGateway",
    inputs=_GATEWAY,
    outputs=("associationId", "networkInterfaceId", "publicIp", *_OF_REGIONAL_ONES),
    replaces=dict.fromkeys(_GATEWAY, _GATEWAY_SOURCE),
    create=_create_gateway,
    finish=_finish_gateway,
    read=_read_gateway,
    delete=_delete_gateway,
    tagging=TAGGING,
)

RESOURCES: Final = (ADDRESS, NAT_GATEWAY)
