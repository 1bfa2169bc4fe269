"""Attaches the network interface whose description stands in a machine's `Eth1` tag, as its second one. Pure.

A seed's address is no case of this: it is the primary interface's, which the launch template names.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from services.fabric.errors import FabricServiceError
from services.fabric.launch import State, Verdict
from services.fabric.lifecycle import Instance

TAG: Final = "Eth1"
DEVICE_INDEX: Final = 1


class InterfaceBusyError(FabricServiceError):
    """EC2 does not attach the interface in the state that it or the machine is in: a little later it may."""


class InterfaceRefusedError(FabricServiceError):
    """EC2 does not attach the interface to this machine, now or later."""


@dataclass(frozen=True)
class Interface:
    """A network interface."""

    id: str
    status: str
    zone: str
    holder: str = ""
    """The instance it is attached to, or being attached or detached."""
    attachment: str = ""
    device_index: int | None = None


class Interfaces(Protocol):
    """EC2's network interfaces, as far as this function speaks to them."""

    def described(self, description: str, vpc: str) -> list[Interface]:
        """The interfaces of a VPC with that description."""
        ...

    def holder(self, instance_id: str) -> Instance | None:
        """The machine that an interface is attached to; None when it is gone."""
        ...

    def attach(self, interface: str, instance: str, device_index: int, /) -> None:
        """Begins to attach an interface. Raises `InterfaceBusyError` and `InterfaceRefusedError`."""
        ...


def look(interfaces: Interfaces, instance: Instance) -> Verdict:
    """One look at a machine, and one step towards its second interface."""
    description = instance.tags.get(TAG, "")
    if not description:
        return Verdict(State.READY, f"it has no tag `{TAG}`: one address is enough")
    found = interfaces.described(description, instance.vpc)
    if len(found) != 1:
        many = f"{len(found)} interfaces" if found else "no interface"
        return Verdict(
            State.HOPELESS, f"tag `{TAG}` wants {description!r}, and {many} of {instance.vpc} are described so"
        )
    try:
        return _attached(interfaces, found[0], instance)
    except InterfaceBusyError as error:
        return Verdict(State.NOT_YET, str(error))
    except InterfaceRefusedError as error:
        return Verdict(State.HOPELESS, str(error))


def _attached(interfaces: Interfaces, interface: Interface, instance: Instance) -> Verdict:
    if interface.zone != instance.zone:
        return Verdict(
            State.HOPELESS,
            f"interface {interface.id} is in {interface.zone}, and the instance in {instance.zone}: an interface "
            "stays in its zone",
        )
    if interface.status == "available":
        interfaces.attach(interface.id, instance.id, DEVICE_INDEX)
        return Verdict(State.NOT_YET, f"interface {interface.id} is being attached")
    if interface.holder == instance.id:
        if interface.attachment == "attached":
            return Verdict(State.READY, f"interface {interface.id} is attached at {interface.device_index}")
        return Verdict(State.NOT_YET, f"interface {interface.id} is {interface.attachment}")
    holder = interfaces.holder(interface.holder) if interface.holder else None
    if interface.attachment == "attached" and holder and holder.state in ("pending", "running"):
        return Verdict(State.HOPELESS, f"interface {interface.id} is in use by instance {holder.id}")
    return Verdict(
        State.NOT_YET, f"interface {interface.id} is {interface.status}: instance {interface.holder} lets go of it"
    )
