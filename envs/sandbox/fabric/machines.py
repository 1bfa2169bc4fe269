"""All Windows machines of a sandbox: instances of the emulated EC2 that run, each played by a thread of its own."""

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import boto3

from envs.sandbox.aws.sts_client import service_session
from envs.sandbox.fabric.desk import Desk
from envs.sandbox.fabric.errors import MachineError
from envs.sandbox.fabric.machine import Instance, Machine
from envs.sandbox.fabric.world import World

log = logging.getLogger("fabric")

_SERVICE: Final = "ec2.amazonaws.com"
_GRACE_S: Final = 5.0


class Machines:
    """Follows what EC2 says of the cluster's instances: only those tagged with a cluster and a role are played."""

    def __init__(self, world: World, session: boto3.Session, desk: Desk) -> None:
        self._world = world
        self._desk = desk
        self._ec2: Any = session.client("ec2")
        self._iam: Any = session.client("iam")
        self._on: dict[str, Machine] = {}

    def look(self) -> bool:
        """One look and what follows from it. Returns whether something has changed."""
        running = {found["InstanceId"]: found for found in self._instances()}
        for gone in self._on.keys() - running.keys():
            log.info("%s is switched off", gone)
            self._on.pop(gone).switch_off()
        begun = sorted(running.keys() - self._on.keys())
        for new in begun:
            log.info("%s is switched on", new)
            self._on[new] = self._machine(running[new])
            self._on[new].switch_on()
        self._remember_snapshots()
        return bool(begun)

    def takes_part(self, instance_id: str) -> bool:
        """Whether the node on an instance is one that answers for the cluster."""
        machine = self._on.get(instance_id)
        if machine is None:
            return False
        address = machine.instance.address
        with self._world.cluster.lock:
            return any(node.up for node in self._world.cluster.nodes() if node.address == address)

    def certificate(self) -> bytes:
        """The certificate (PFX) that the nodes have; empty while none has any."""
        with self._world.cluster.lock:
            found = [self._world.installations.get(each) for each in sorted(self._on)]
        return next((each.certificate for each in found if each is not None and each.certificate), b"")

    def close(self) -> None:
        """Ends the playing; the machines themselves go on, as instances."""
        for machine in self._on.values():
            machine.leave()
        for machine in self._on.values():
            machine.join(_GRACE_S)

    def _instances(self) -> Iterator[dict[str, Any]]:
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[
                {"Name": "instance-state-name", "Values": ["running"]},
                {"Name": "tag-key", "Values": ["cluster"]},
                {"Name": "tag:role", "Values": ["seed", "worker"]},
            ]
        )
        for page in pages:
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]

    def _machine(self, found: dict[str, Any]) -> Machine:
        identifier = found["InstanceId"]
        told = self._ec2.describe_instance_attribute(InstanceId=identifier, Attribute="userData")
        instance = Instance(
            id=identifier,
            address=found["PrivateIpAddress"],
            zone=found["Placement"]["AvailabilityZone"],
            role=self._role(found),
            user_data=told.get("UserData", {}).get("Value", ""),
        )
        session = cache(lambda: service_session(instance.role, _SERVICE, instance.id))
        return Machine(instance, self._world, self._desk, session, self._neighbour)

    def _role(self, found: dict[str, Any]) -> str:
        profile = found.get("IamInstanceProfile", {}).get("Arn", "")
        if not profile:
            return ""
        name = profile.rpartition("/")[2]
        roles = self._iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
        return roles[0]["Arn"] if roles else ""

    def _neighbour(self, address: str) -> Machine:
        for machine in list(self._on.values()):
            if machine.instance.address == address:
                return machine
        raise MachineError(f"{address} does not answer")

    def _remember_snapshots(self) -> None:
        """A snapshot holds what its volume held when it was taken, whatever becomes of the volume."""
        taken = self._ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        with self._world.cluster.lock:
            for snapshot in taken:
                root = self._world.roots.get(snapshot.get("VolumeId", ""))
                self._world.snapshots.setdefault(snapshot["SnapshotId"], root)
