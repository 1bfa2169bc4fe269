"""The life of EC2 instances, and of what comes and goes with them.

Sources: EC2 User Guide ("Amazon EC2 instance state changes", "Delete a network interface", "Preserve data when an
instance is terminated", "Elastic network interfaces"), EC2 API Reference ("Error codes"). moto's instances run, stop
and end at once; here each state lasts a moment, so that who does not wait for the next one is found out.
"""

import copy
import threading
from functools import partial
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, OperationDisableApiStopNotPermitted, OperationNotPermitted4
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.responses import EC2Response

from envs.sandbox.aws import ec2_launch
from envs.sandbox.aws.clock import CLOCK

_MOMENT_S: Final = 0.5
_CODES: Final = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

Changes = list[tuple[Instance, InstanceState]]
"""Instances, and the state that each was in."""


class Machines(EC2Backend):
    """moto's backend with instances that take their time."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._life = threading.RLock()
        super().__init__(region_name, account_id)

    def run_instances(self, image_id: str, count: int, *arguments: Any, **options: Any) -> Any:
        """As moto's; what is made at launch goes with its instance unless the launch says otherwise.

        moto keeps it for ever, and with an interface its subnet and groups.
        """
        existing = set(self.enis)
        template = ec2_launch.template_data(self, options)
        image_id, options = ec2_launch.complete(self, image_id, count, options)
        volumes = options.get("block_device_mappings") or []
        kept = {each["DeviceName"] for each in volumes if _is_false(each.get("Ebs", {}).get("DeleteOnTermination"))}
        interfaces = options["nics"]
        kept |= {int(each.get("DeviceIndex", 0)) for each in interfaces if _is_false(each.get("DeleteOnTermination"))}
        named = options.get("iam_instance_profile_name") or options.get("iam_instance_profile_arn")
        reservation = super().run_instances(image_id, count, *arguments, **options)
        for instance in reservation.instances:
            if not named and (profile := ec2_launch.profile(self, template)):
                self.associate_iam_instance_profile(instance.id, **profile)
            for index, interface in instance.nics.items():
                interface.delete_on_termination = interface.id not in existing and index not in kept
            for device, volume in instance.block_device_mapping.items():
                volume.delete_on_termination = device not in kept
            _enter(instance, "pending")
            CLOCK.after(_MOMENT_S, partial(self._pass_on, instance, "pending", "running"))
        return reservation

    def start_instances(self, instance_ids: list[str]) -> Changes:
        with self._life:
            instances = self._in_states(instance_ids, "started", "stopped", "running", "pending")
            changes = [(instance, copy.copy(instance.instance_state)) for instance in instances]
            for instance in instances:
                if instance.state == "stopped":
                    instance.start()
                    _enter(instance, "pending")
                    CLOCK.after(_MOMENT_S, partial(self._pass_on, instance, "pending", "running"))
        return changes

    def stop_instances(self, instance_ids: list[str]) -> Changes:
        with self._life:
            instances = self._in_states(instance_ids, "stopped", "running", "stopping", "stopped")
            changes = [(instance, copy.copy(instance.instance_state)) for instance in instances]
            for instance in instances:
                if instance.disable_api_stop is True:
                    raise OperationDisableApiStopNotPermitted(instance.id)
                if instance.state == "running":
                    instance.stop()
                    _enter(instance, "stopping")
                    CLOCK.after(_MOMENT_S, partial(self._pass_on, instance, "stopping", "stopped"))
        return changes

    def reboot_instances(self, instance_ids: list[str]) -> list[Instance]:
        with self._life:
            self._in_states(instance_ids, "rebooted", "running")
            return super().reboot_instances(instance_ids)

    def terminate_instances(self, instance_ids: list[str]) -> Changes:
        with self._life:
            instances = self.get_multi_instances_by_id(instance_ids)
            changes = [(instance, copy.copy(instance.instance_state)) for instance in instances]
            for instance in instances:
                if instance.disable_api_termination is True:
                    raise OperationNotPermitted4(instance.id)
            for instance in instances:
                # Ending an ended instance is no error.
                if instance.state not in ("shutting-down", "terminated"):
                    _enter(instance, "shutting-down")
                    CLOCK.after(_MOMENT_S, partial(self._end, instance))
        return changes

    def _in_states(self, instance_ids: list[str], done: str, *states: str) -> list[Instance]:
        instances = self.get_multi_instances_by_id(instance_ids)
        for instance in instances:
            if instance.state not in states:
                raise EC2ClientError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be {done}.",
                )
        return instances

    def _pass_on(self, instance: Instance, before: str, after: str) -> None:
        with self._life:
            if instance.state == before:
                _enter(instance, after)

    def _end(self, instance: Instance) -> None:
        with self._life:
            instance.terminate()
            for index, interface in list(instance.nics.items()):
                if self.enis.get(interface.id) is interface:
                    # What outlives the instance is free for the next one; the ended one keeps a picture of it.
                    instance.nics[index] = copy.copy(interface)
                    _free(interface)

    # Interfaces

    def create_network_interface(self, subnet: Any, private_ip_address: Any, *rest: Any, **options: Any) -> Any:
        """As moto's, with an address that nothing else in the subnet has; moto takes one at random."""
        if not private_ip_address and not options.get("private_ip_addresses") and not (rest and rest[0]):
            place = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
            private_ip_address = place.get_available_subnet_ip(instance=None)  # type: ignore[arg-type] (told to nobody)
        return super().create_network_interface(subnet, private_ip_address, *rest, **options)

    def attach_network_interface(self, eni_id: str, instance_id: str, device_index: int) -> Any:
        with self._life:
            interface, instance = self.get_network_interface(eni_id), self.get_instance(instance_id)
            _check_free(interface, "InvalidNetworkInterface.InUse")
            check_attachable(instance)
            if interface.availability_zone != instance.availability_zone:
                raise EC2ClientError(
                    "InvalidParameterCombination",
                    "You may not attach a network interface to an instance if they are not in the same availability "
                    "zone",
                )
            if int(device_index) in instance.nics:
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"Instance '{instance_id}' already has an interface attached at device index '{device_index}'.",
                )
            return super().attach_network_interface(eni_id, instance_id, device_index)

    def detach_network_interface(self, attachment_id: str) -> None:
        with self._life:
            meant = [each for each in self.enis.values() if each.attachment_id == attachment_id]
            if any(interface.device_index == 0 for interface in meant):
                raise EC2ClientError(
                    "OperationNotPermitted", "The network interface at device index 0 cannot be detached."
                )
            super().detach_network_interface(attachment_id)


def check_attachable(instance: Instance) -> None:
    """Refuses to attach something to an instance that comes or goes."""
    if instance.state not in ("running", "stopped"):
        raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")


class MachineResponses(EC2Response):
    """moto's responses to what concerns instances and their interfaces."""

    def delete_network_interface(self) -> ActionResult:
        interface = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
        _check_free(interface, "InvalidParameterValue")
        result = super().delete_network_interface()
        interface.subnet.del_subnet_ip(interface.private_ip_address)
        return result


def _enter(instance: Instance, state: str) -> None:
    instance._state = InstanceState(state, _CODES[state])


def _is_false(flag: Any) -> bool:
    return str(flag).lower() == "false"


def _check_free(interface: NetworkInterface, code: str) -> None:
    if interface.status == "in-use":
        raise EC2ClientError(code, f"Network interface '{interface.id}' is currently in use.")


def _free(interface: NetworkInterface) -> None:
    interface.instance = interface.attachment_id = interface.attach_time = interface.device_index = None
    interface.status = "available"
