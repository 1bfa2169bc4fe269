"""Routing in a VPC: route tables, routes, associations."""

import zlib
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, Resource
from envs.sandbox.provider.schema import text
from envs.sandbox.provider.translate import answer, request, tag_map


def _create_table(aws: Aws, args: Args) -> str:
    made = aws.client("ec2").create_route_table(VpcId=args["vpcId"], **specifications("route-table", args))
    return made["RouteTable"]["RouteTableId"]


def _table(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("ec2").describe_route_tables
    found = find(lambda: describe(RouteTableIds=[identifier])["RouteTables"], "InvalidRouteTableID.NotFound")
    return found[0] if found else None


def _read_table(aws: Aws, identifier: str, _: Args) -> Args | None:
    table = _table(aws, identifier)
    return table and {
        "vpcId": table["VpcId"],
        "arn": aws.arn("ec2", f"route-table/{identifier}"),
        "ownerId": table.get("OwnerId", aws.account),
        "tagsAll": tag_map(table.get("Tags")),
    }


def _delete_table(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("InvalidRouteTableID.NotFound"):
        aws.client("ec2").delete_route_table(RouteTableId=identifier)


ROUTE_TABLE: Final = Resource(
    type_name="aws:ec2/routeTable:RouteTable",
    inputs={"vpcId": text(required=True)},
    outputs=("arn", "ownerId"),
    replaces={"vpcId": "internal/service/ec2/vpc_route_table.go"},
    create=_create_table,
    read=_read_table,
    delete=_delete_table,
    tagging=TAGGING,
)


# Route ----------------------------------------------------------------------------------------------------------

_DESTINATIONS: Final = {
    "destinationCidrBlock": text(),
    "destinationIpv6CidrBlock": text(),
    "destinationPrefixListId": text(),
}
_ROUTE: Final = {
    **_DESTINATIONS,
    "routeTableId": text(required=True),
    "egressOnlyGatewayId": text(api="EgressOnlyInternetGatewayId"),
    "gatewayId": text(),
    "natGatewayId": text(),
    "networkInterfaceId": text(computed=True),
    "transitGatewayId": text(),
    "vpcPeeringConnectionId": text(),
}


def _destination(args: Args) -> tuple[str, str]:
    return next(iter(request(_DESTINATIONS, args).items()))


def _route_id(args: Args) -> str:
    """The official provider's id: the table and a checksum of the destination (`RouteCreateID` in vpc_route.go)."""
    return f"r-{args['routeTableId']}{zlib.crc32(_destination(args)[1].encode())}"


def _create_route(aws: Aws, args: Args) -> str:
    aws.client("ec2").create_route(**request(_ROUTE, args))
    return _route_id(args)


def _read_route(aws: Aws, identifier: str, prior: Args) -> Args | None:
    where = prior if prior.get("routeTableId") else _imported_route(identifier)
    api, destination = _destination(where)
    table = _table(aws, where["routeTableId"])
    found = next((route for route in (table or {}).get("Routes", []) if route.get(api) == destination), None)
    return found and {
        **answer(_ROUTE, found),
        "id": _route_id(where),
        "routeTableId": where["routeTableId"],
        "instanceId": found.get("InstanceId", ""),
        "instanceOwnerId": found.get("InstanceOwnerId", ""),
        "origin": found.get("Origin"),
        "state": found.get("State"),
    }


def _imported_route(identifier: str) -> Args:
    table, _, destination = identifier.partition("_")
    if not destination:
        raise ProviderError(f"a route is imported as ROUTETABLEID_DESTINATION, not as {identifier!r}")
    kinds = (("destinationIpv6CidrBlock", ":"), ("destinationCidrBlock", "."), ("destinationPrefixListId", ""))
    return {"routeTableId": table, next(name for name, mark in kinds if mark in destination): destination}


def _update_route(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    aws.client("ec2").replace_route(**request(_ROUTE, new))


def _delete_route(aws: Aws, _: str, state: Args) -> None:
    api, destination = _destination(state)
    with ignoring("InvalidRoute.NotFound", "InvalidRouteTableID.NotFound"):
        aws.client("ec2").delete_route(RouteTableId=state["routeTableId"], **{api: destination})


ROUTE: Final = Resource(
    type_name="aws:ec2/route:Route",
    inputs=_ROUTE,
    outputs=("instanceId", "instanceOwnerId", "origin", "state"),
    replaces=dict.fromkeys(("routeTableId", *_DESTINATIONS), "internal/service/ec2/vpc_route.go"),
    create=_create_route,
    read=_read_route,
    update=_update_route,
    delete=_delete_route,
)


# Association ----------------------------------------------------------------------------------------------------

_ASSOCIATION: Final = {"routeTableId": text(required=True), "subnetId": text(), "gatewayId": text()}


def _create_association(aws: Aws, args: Args) -> str:
    return aws.client("ec2").associate_route_table(**request(_ASSOCIATION, args))["AssociationId"]


def _association(aws: Aws, identifier: str, prior: Args) -> dict[str, Any] | None:
    """By its id, or by its target: an import has another id (``target/table``), and another table gives a new one."""
    target, _, table = identifier.partition("/")
    ends = {target if table else None, prior.get("subnetId"), prior.get("gatewayId")} - {None}
    tables = aws.client("ec2").describe_route_tables()["RouteTables"]
    every = [association for each in tables for association in each.get("Associations", [])]
    by_id = [each for each in every if each["RouteTableAssociationId"] == identifier]
    by_end = [each for each in every if ends & {each.get("SubnetId"), each.get("GatewayId")}]
    return next(iter(by_id or by_end), None)


def _read_association(aws: Aws, identifier: str, prior: Args) -> Args | None:
    found = _association(aws, identifier, prior)
    return found and {**answer(_ASSOCIATION, found), "id": found["RouteTableAssociationId"]}


def _update_association(aws: Aws, identifier: str, old: Args, new: Args, _: set[str]) -> None:
    found = _association(aws, identifier, old)
    current = found["RouteTableAssociationId"] if found else identifier
    aws.client("ec2").replace_route_table_association(AssociationId=current, RouteTableId=new["routeTableId"])


def _delete_association(aws: Aws, identifier: str, state: Args) -> None:
    if found := _association(aws, identifier, state):
        with ignoring("InvalidAssociationID.NotFound"):
            aws.client("ec2").disassociate_route_table(AssociationId=found["RouteTableAssociationId"])


ROUTE_TABLE_ASSOCIATION: Final = Resource(
    type_name="aws:ec2/routeTableAssociation:RouteTableAssociation",
    inputs=_ASSOCIATION,
    outputs=(),
    replaces=dict.fromkeys(("subnetId", "gatewayId"), "internal/service/ec2/vpc_route_table_association.go"),
    create=_create_association,
    read=_read_association,
    update=_update_association,
    delete=_delete_association,
)

RESOURCES: Final = (ROUTE_TABLE, ROUTE, ROUTE_TABLE_ASSOCIATION)
