"""EC2: NAT gateways that come, fail and go in the background, and public addresses that are held while they are used.

Amazon EC2 API Reference, NatGateway (failureCode, failureMessage) and its error codes; VPC User Guide, "Troubleshoot
NAT gateways". That an address which a NAT gateway holds is refused with AuthFailure, and what the detachment of an
internet gateway says: hashicorp/terraform-provider-aws issue 3572 and hashicorp/terraform issue 497.
"""

import threading
from typing import Any, Final

from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.nat_gateways import NatGateway
from moto.ec2.models.route_tables import Route
from moto.ec2.models.subnets import Subnet

_ON_THE_WAY_S: Final = 0.5
"""From pending to available or failed, and from deleting to deleted; a minute or two on AWS."""
_INTERFACE_TYPE: Final = "nat_gateway"


class NatGateways(EC2Backend):
    """moto's NAT gateways and addresses, with what AWS refuses of them."""

    # NAT gateways

    def create_nat_gateway(
        self,
        subnet_id: str,
        allocation_id: str,
        tags: dict[str, str] | None = None,
        connectivity_type: str | None = "public",
    ) -> NatGateway:
        connectivity_type = connectivity_type or "public"
        if connectivity_type == "public" and not allocation_id:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter AllocationId")
        if connectivity_type == "private" and allocation_id:
            raise EC2ClientError("InvalidParameter", "AllocationId cannot be given to a private NAT gateway")
        failure = self._failure(subnet_id, allocation_id)
        made = super().create_nat_gateway(subnet_id, "" if failure else allocation_id, tags, connectivity_type)
        self._dress(made)
        made.state = "pending"
        _later(self._arrive, made, failure)
        return made

    def delete_nat_gateway(self, nat_gateway_id: str) -> NatGateway:
        found = self.nat_gateways.get(nat_gateway_id)
        if found is None:
            raise EC2ClientError("NatGatewayNotFound", f"The Nat Gateway {nat_gateway_id} was not found")
        if found.state != "deleted":
            found.state = "deleting"
            _later(self._vanish, found)
        return found

    def describe_nat_gateways(self, filters: Any, nat_gateway_ids: list[str] | None) -> list[NatGateway]:
        for each in nat_gateway_ids or ():
            if each not in self.nat_gateways:
                raise EC2ClientError("NatGatewayNotFound", f"The Nat Gateway {each} was not found")
        return super().describe_nat_gateways(filters, nat_gateway_ids)

    def _failure(self, subnet_id: str, allocation_id: str) -> tuple[str, str] | None:
        """Why a gateway cannot become available: AWS takes the request, and tells this afterwards."""
        subnet = self.get_subnet(subnet_id)
        if subnet.available_ip_address_count < 1:
            return (
                "InsufficientFreeAddressesInSubnet",
                "Subnet has insufficient free addresses to create this NAT gateway",
            )
        if not allocation_id:
            return None
        if not self.describe_internet_gateways(filters={"attachment.vpc-id": [subnet.vpc_id]}):
            return "Gateway.NotAttached", f"Network {subnet.vpc_id} has no Internet gateway attached"
        address = next((each for each in self.addresses if each.allocation_id == allocation_id), None)
        if address is None:
            return (
                "InvalidAllocationID.NotFound",
                f"Elastic IP address {allocation_id} could not be associated with this NAT gateway",
            )
        if address.association_id:
            return "Resource.AlreadyAssociated", f"Elastic IP address {allocation_id} is already associated"
        return None

    def _dress(self, gateway: NatGateway) -> None:
        """The interface of a gateway has an address of its subnet and no security groups, and says whose it is."""
        interface = gateway._eni
        private = self._free_address(interface.subnet)
        interface.private_ip_address = private
        interface.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": private}]
        interface.description = f"Interface for NAT Gateway {gateway.id}"
        interface.interface_type = _INTERFACE_TYPE
        interface._group_set = []
        gateway.private_ip = private
        gateway.address_set[0] |= {"privateIp": private, "isPrimary": True}

    def _free_address(self, subnet: Subnet) -> str:
        taken = {
            used["PrivateIpAddress"]
            for each in self.enis.values()
            if each.subnet.id == subnet.id
            for used in each.private_ip_addresses
        }
        # From the upper end: moto hands out addresses from the lower one.
        upper = (str(subnet.cidr[-at]) for at in range(2, subnet.cidr.num_addresses))
        return next(address for address in upper if address not in taken)

    def _arrive(self, gateway: NatGateway, failure: tuple[str, str] | None) -> None:
        if gateway.state != "pending":
            return
        if failure:
            gateway.failure_code, gateway.failure_message = failure  # type: ignore[attr-defined]
            self.enis.pop(gateway._eni.id, None)
        gateway.state = "failed" if failure else "available"

    def _vanish(self, gateway: NatGateway) -> None:
        for address in self.addresses:
            if address.eni is gateway._eni:
                super().disassociate_address(association_id=address.association_id)
        self.enis.pop(gateway._eni.id, None)
        gateway.state = "deleted"

    # Addresses

    def associate_address(
        self,
        instance: Any = None,
        eni: Any = None,
        address: str | None = None,
        allocation_id: str | None = None,
        reassociate: bool = False,
    ) -> ElasticAddress:
        _check_held(self._address(address, allocation_id))
        return super().associate_address(instance, eni, address, allocation_id, reassociate)

    def disassociate_address(self, address: str | None = None, association_id: str | None = None) -> None:
        found = self.address_by_ip([address]) if address else self.address_by_association([association_id or ""])
        _check_held(found[0])
        super().disassociate_address(address, association_id)

    def release_address(self, address: str | None = None, allocation_id: str | None = None) -> None:
        found = self._address(address, allocation_id)
        _check_held(found)
        if found.association_id:
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {found.public_ip} is in use.")
        super().release_address(address, allocation_id)

    def _address(self, ip: str | None, allocation_id: str | None) -> ElasticAddress:
        return (self.address_by_ip([ip]) if ip else self.address_by_allocation([allocation_id or ""]))[0]

    # What leads to and away from them

    def create_route(self, route_table_id: str, *arguments: Any, **options: Any) -> Route:
        self._check_target(route_table_id, options.get("nat_gateway_id"))
        return super().create_route(route_table_id, *arguments, **options)

    def replace_route(
        self,
        route_table_id: str,
        destination_cidr_block: str,
        destination_ipv6_cidr_block: str | None = None,
        destination_prefix_list_id: str | None = None,
        nat_gateway_id: str | None = None,
        *arguments: Any,
        **options: Any,
    ) -> Route:
        self._check_target(route_table_id, nat_gateway_id)
        return super().replace_route(
            route_table_id,
            destination_cidr_block,
            destination_ipv6_cidr_block,
            destination_prefix_list_id,
            nat_gateway_id,
            *arguments,
            **options,
        )

    def _check_target(self, route_table_id: str, nat_gateway_id: str | None) -> None:
        """moto makes a route that leads nowhere when the gateway does not exist."""
        if nat_gateway_id is None:
            return
        found = self.nat_gateways.get(nat_gateway_id)
        if found is None or found.state not in ("pending", "available"):
            raise EC2ClientError(
                "InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat_gateway_id}' does not exist"
            )
        if found.vpc_id != self.get_route_table(route_table_id).vpc_id:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"route table {route_table_id} and network gateway {nat_gateway_id} belong to different networks",
            )

    def detach_internet_gateway(self, internet_gateway_id: str, vpc_id: str) -> None:
        attached = self.get_internet_gateway(internet_gateway_id).vpc
        if attached is not None and attached.id == vpc_id and self._maps_public_addresses(vpc_id):
            raise DependencyViolationError(
                f"Network {vpc_id} has some mapped public address(es). "
                "Please unmap those public address(es) before detaching the gateway."
            )
        super().detach_internet_gateway(internet_gateway_id, vpc_id)

    def _maps_public_addresses(self, vpc_id: str) -> bool:
        elastic = {address.eni.id for address in self.addresses if address.eni is not None}
        return any(
            interface.vpc_id == vpc_id and (interface.id in elastic or _has_launch_address(interface))
            for interface in list(self.enis.values())
        )


def _has_launch_address(interface: NetworkInterface) -> bool:
    """An address that an instance got at its launch is gone as soon as it does not run."""
    instance: Any = interface.instance
    return bool(interface.public_ip) and instance is not None and instance._state.name == "running"


def _check_held(address: ElasticAddress) -> None:
    if address.eni is not None and address.eni.interface_type == _INTERFACE_TYPE:
        raise EC2ClientError("AuthFailure", "You do not have permission to access the specified resource.")


def _later(act: Any, *arguments: Any) -> None:
    timer = threading.Timer(_ON_THE_WAY_S, act, arguments)
    timer.daemon = True
    timer.start()
