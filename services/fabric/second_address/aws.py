"""Network interfaces, through boto3."""

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from services.fabric.account import Ec2, code, filters
from services.fabric.lifecycle import Instance
from services.fabric.second_address.core import Interface, InterfaceBusyError, InterfaceRefusedError

_BUSY: Final = ("InvalidNetworkInterface.InUse", "IncorrectInstanceState", "IncorrectState")
_REFUSED: Final = ("AttachmentLimitExceeded", "InvalidParameterValue", "InvalidParameterCombination")
"""EC2 API Reference, "Error codes": too many interfaces for the type, or another one in that place."""


class Ec2Interfaces:
    """The network interfaces; `client` is boto3's of EC2."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._machines = Ec2(client)

    def described(self, description: str, vpc: str) -> list[Interface]:
        """The interfaces of a VPC with that description."""
        pages = self._client.get_paginator("describe_network_interfaces").paginate(Filters=filters({"vpc-id": vpc}))
        # Compared here: a filter would take `*` and `?` of a description for wildcards (EC2 User Guide, "Filtering").
        return [
            _interface(item)
            for page in pages
            for item in page["NetworkInterfaces"]
            if item.get("Description") == description
        ]

    def holder(self, instance_id: str) -> Instance | None:
        """The machine that an interface is attached to; None when it is gone."""
        return self._machines.instance(instance_id)

    def attach(self, interface: str, instance: str, device_index: int) -> None:
        """Begins to attach an interface. Raises `InterfaceBusyError` and `InterfaceRefusedError`."""
        try:
            self._client.attach_network_interface(
                NetworkInterfaceId=interface, InstanceId=instance, DeviceIndex=device_index
            )
        except ClientError as error:
            if code(error) in _BUSY:
                raise InterfaceBusyError(f"interface {interface} is not attached: {error}") from error
            if code(error) in _REFUSED:
                raise InterfaceRefusedError(f"interface {interface} cannot be attached: {error}") from error
            raise


def _interface(item: Mapping[str, Any]) -> Interface:
    attachment = item.get("Attachment") or {}
    return Interface(
        id=item["NetworkInterfaceId"],
        status=item["Status"],
        zone=item["AvailabilityZone"],
        holder=attachment.get("InstanceId") or "",
        attachment=attachment.get("Status") or "",
        device_index=attachment.get("DeviceIndex"),
    )
