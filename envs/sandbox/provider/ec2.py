"""Networks: VPC, subnet, internet gateway."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, Busy, Resource, Tagging, When
from envs.sandbox.provider.schema import boolean, text
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map


def specifications(kind: str, args: Args) -> dict[str, Any]:
    """The tags of a new EC2 resource, as its Create call takes them."""
    tags = args.get("tagsAll")
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tag_list(tags)}]} if tags else {}


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("ec2").create_tags(Resources=[identifier], Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("ec2").delete_tags(Resources=[identifier], Tags=[{"Key": key} for key in keys])


TAGGING: Final = Tagging(_add_tags, _remove_tags)


# VPC ------------------------------------------------------------------------------------------------------------

_VPC_SOURCE: Final = "internal/service/ec2/vpc_.go"
_VPC: Final = {
    "cidrBlock": text(computed=True),
    "enableDnsHostnames": boolean(computed=True),
    "enableDnsSupport": boolean(default=True),
    "enableNetworkAddressUsageMetrics": boolean(computed=True),
    "instanceTenancy": text(default="default"),
}
_NEW_VPC: Final = {"enableDnsSupport": True, "enableDnsHostnames": False, "enableNetworkAddressUsageMetrics": False}
"""The attributes that are set by calls of their own, as they are in a new VPC."""


def _create_vpc(aws: Aws, args: Args) -> str:
    wanted = request(_VPC, args, ("cidrBlock", "instanceTenancy"))
    return aws.client("ec2").create_vpc(**wanted, **specifications("vpc", args))["Vpc"]["VpcId"]


def _finish_vpc(aws: Aws, identifier: str, args: Args) -> None:
    _set_vpc_attributes(aws, identifier, {name for name, new in _NEW_VPC.items() if args.get(name, new) != new}, args)


def _set_vpc_attributes(aws: Aws, identifier: str, names: set[str], args: Args) -> None:
    for name in sorted(names):
        attribute = {name[0].upper() + name[1:]: {"Value": bool(args.get(name))}}
        aws.client("ec2").modify_vpc_attribute(VpcId=identifier, **attribute)


def _vpc_attribute(ec2: Any, identifier: str, name: str) -> bool:
    return ec2.describe_vpc_attribute(VpcId=identifier, Attribute=name)[name[0].upper() + name[1:]]["Value"]


def _read_vpc(aws: Aws, identifier: str, _: Args) -> Args | None:
    ec2 = aws.client("ec2")
    found = find(lambda: ec2.describe_vpcs(VpcIds=[identifier])["Vpcs"], "InvalidVpcID.NotFound")
    if not found:
        return None
    of_vpc = {"Name": "vpc-id", "Values": [identifier]}
    tables = ec2.describe_route_tables(Filters=[of_vpc, {"Name": "association.main", "Values": ["true"]}])
    lists = ec2.describe_network_acls(Filters=[of_vpc, {"Name": "default", "Values": ["true"]}])
    groups = ec2.describe_security_groups(Filters=[of_vpc, {"Name": "group-name", "Values": ["default"]}])
    main_table = next((table["RouteTableId"] for table in tables["RouteTables"]), None)
    return {
        **answer(_VPC, found[0], ("cidrBlock", "instanceTenancy")),
        **{name: _vpc_attribute(ec2, identifier, name) for name in _NEW_VPC},
        "arn": aws.arn("ec2", f"vpc/{identifier}"),
        "defaultNetworkAclId": next((entry["NetworkAclId"] for entry in lists["NetworkAcls"]), None),
        "defaultRouteTableId": main_table,
        "defaultSecurityGroupId": next((group["GroupId"] for group in groups["SecurityGroups"]), None),
        "dhcpOptionsId": found[0].get("DhcpOptionsId"),
        "ipv6AssociationId": "",
        "mainRouteTableId": main_table,
        "ownerId": found[0].get("OwnerId", aws.account),
        "tagsAll": tag_map(found[0].get("Tags")),
    }


def _update_vpc(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    _set_vpc_attributes(aws, identifier, changed & _NEW_VPC.keys(), new)
    if "instanceTenancy" in changed:
        aws.client("ec2").modify_vpc_tenancy(VpcId=identifier, InstanceTenancy=new["instanceTenancy"])


def _delete_vpc(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("InvalidVpcID.NotFound"):
        aws.client("ec2").delete_vpc(VpcId=identifier)


VPC: Final = Resource(
    type_name="aws:ec2/vpc:Vpc",
    inputs=_VPC,
    outputs=(
        "arn",
        "defaultNetworkAclId",
        "defaultRouteTableId",
        "defaultSecurityGroupId",
        "dhcpOptionsId",
        "ipv6AssociationId",
        "mainRouteTableId",
        "ownerId",
    ),
    replaces={
        "cidrBlock": _VPC_SOURCE,
        "instanceTenancy": When(_VPC_SOURCE, lambda _, new: new != "default", ("default", "dedicated")),
    },
    create=_create_vpc,
    finish=_finish_vpc,
    read=_read_vpc,
    update=_update_vpc,
    delete=_delete_vpc,
    busy=Busy("internal/service/ec2/vpc_.go", minutes=5),
    tagging=TAGGING,
)


# Subnet ---------------------------------------------------------------------------------------------------------

_SUBNET: Final = {
    "vpcId": text(required=True),
    "assignIpv6AddressOnCreation": boolean(default=False),
    "availabilityZone": text(computed=True),
    "availabilityZoneId": text(computed=True),
    "cidrBlock": text(computed=True),
    "mapPublicIpOnLaunch": boolean(default=False),
}
_SUBNET_FIXED: Final = ("vpcId", "availabilityZone", "availabilityZoneId", "cidrBlock")


def _create_subnet(aws: Aws, args: Args) -> str:
    wanted = request(_SUBNET, args, _SUBNET_FIXED)
    return aws.client("ec2").create_subnet(**wanted, **specifications("subnet", args))["Subnet"]["SubnetId"]


def _finish_subnet(aws: Aws, identifier: str, args: Args) -> None:
    ec2 = aws.client("ec2")
    aws.wait(
        f"subnet {identifier} becomes available",
        lambda: ec2.describe_subnets(SubnetIds=[identifier])["Subnets"][0]["State"] == "available",
        minutes=10,
    )
    has = _read_subnet(aws, identifier, args) or {}
    apart = {name for name in _SUBNET if name not in _SUBNET_FIXED and bool(has.get(name)) != bool(args.get(name))}
    _set_subnet_attributes(aws, identifier, apart, args)


def _set_subnet_attributes(aws: Aws, identifier: str, names: set[str], args: Args) -> None:
    # ModifySubnetAttribute takes one attribute a call.
    for name in sorted(names):
        attribute = {name[0].upper() + name[1:]: {"Value": bool(args.get(name))}}
        aws.client("ec2").modify_subnet_attribute(SubnetId=identifier, **attribute)


def _read_subnet(aws: Aws, identifier: str, _: Args) -> Args | None:
    ec2 = aws.client("ec2")
    found = find(lambda: ec2.describe_subnets(SubnetIds=[identifier])["Subnets"], "InvalidSubnetID.NotFound")
    return found and {
        **answer(_SUBNET, found[0]),
        "arn": found[0].get("SubnetArn"),
        "ipv6CidrBlockAssociationId": "",
        "ownerId": found[0].get("OwnerId"),
        "tagsAll": tag_map(found[0].get("Tags")),
    }


def _update_subnet(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    _set_subnet_attributes(aws, identifier, changed, new)


def _delete_subnet(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("InvalidSubnetID.NotFound"):
        aws.client("ec2").delete_subnet(SubnetId=identifier)


SUBNET: Final = Resource(
    type_name="aws:ec2/subnet:Subnet",
    inputs=_SUBNET,
    outputs=("arn", "ipv6CidrBlockAssociationId", "ownerId"),
    replaces=dict.fromkeys(_SUBNET_FIXED, "internal/service/ec2/vpc_subnet.go"),
    create=_create_subnet,
    finish=_finish_subnet,
    read=_read_subnet,
    update=_update_subnet,
    delete=_delete_subnet,
    busy=Busy("internal/service/ec2/vpc_subnet.go", minutes=20),
    tagging=TAGGING,
)


# Internet gateway -----------------------------------------------------------------------------------------------


def _create_gateway(aws: Aws, args: Args) -> str:
    made = aws.client("ec2").create_internet_gateway(**specifications("internet-gateway", args))
    return made["InternetGateway"]["InternetGatewayId"]


def _attach_gateway(aws: Aws, identifier: str, args: Args) -> None:
    if args.get("vpcId"):
        with ignoring("Resource.AlreadyAssociated"):
            aws.client("ec2").attach_internet_gateway(InternetGatewayId=identifier, VpcId=args["vpcId"])


def _detach_gateway(aws: Aws, identifier: str, args: Args) -> None:
    if args.get("vpcId"):
        with ignoring("Gateway.NotAttached", "InvalidInternetGatewayID.NotFound"):
            aws.client("ec2").detach_internet_gateway(InternetGatewayId=identifier, VpcId=args["vpcId"])


def _read_gateway(aws: Aws, identifier: str, _: Args) -> Args | None:
    describe = aws.client("ec2").describe_internet_gateways
    found = find(
        lambda: describe(InternetGatewayIds=[identifier])["InternetGateways"], "InvalidInternetGatewayID.NotFound"
    )
    return found and {
        "vpcId": next((attachment["VpcId"] for attachment in found[0].get("Attachments", [])), None),
        "arn": aws.arn("ec2", f"internet-gateway/{identifier}"),
        "ownerId": found[0].get("OwnerId", aws.account),
        "tagsAll": tag_map(found[0].get("Tags")),
    }


def _update_gateway(aws: Aws, identifier: str, old: Args, new: Args, _: set[str]) -> None:
    _detach_gateway(aws, identifier, old)
    _attach_gateway(aws, identifier, new)


def _delete_gateway(aws: Aws, identifier: str, state: Args) -> None:
    _detach_gateway(aws, identifier, state)
    with ignoring("InvalidInternetGatewayID.NotFound"):
        aws.client("ec2").delete_internet_gateway(InternetGatewayId=identifier)


INTERNET_GATEWAY: Final = Resource(
    type_name="aws:ec2/internetGateway:InternetGateway",
    inputs={"vpcId": text(computed=True)},
    outputs=("arn", "ownerId"),
    replaces={},
    create=_create_gateway,
    finish=_attach_gateway,
    read=_read_gateway,
    update=_update_gateway,
    delete=_delete_gateway,
    busy=Busy("internal/service/ec2/vpc_internet_gateway.go", minutes=20),
    tagging=TAGGING,
)

RESOURCES: Final = (VPC, SUBNET, INTERNET_GATEWAY)
