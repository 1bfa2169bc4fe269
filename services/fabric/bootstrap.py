"""Forms the cluster: from machines that stand apart to a healthy cluster with workers.

Every step looks first at what is there: run again after whatever interrupted it, the work goes on where it was; run
again after the end, it changes nothing. The installation itself is remote work of one seed on all others, as a local
administrator that they share, whose password is another one afterwards ("Create a standalone cluster running on
Windows Server").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.fabric import configuration as cluster_configuration
from services.fabric import fleet as machinery
from services.fabric import remote, rules
from services.fabric.client import UP, Gateway, Node, Patience
from services.fabric.configuration import SEED, WORKER, Certificates, Seat
from services.fabric.errors import FabricServiceError, GatewayRefusedError, GatewayUnreachableError
from services.fabric.fleet import Fleet, Machine
from services.fabric.identity import Identity, Secrets
from services.fabric.packages import Packages
from services.fabric.remote import Remote
from services.fabric.store import Store
from services.fabric.waiting import Limits, NotYet, Steps, until

_ONE_LOOK: Final = Patience(attempts=1)


@dataclass(frozen=True)
class Clients:
    """The AWS clients that forming and repairing a cluster takes."""

    ec2: Any
    s3: Any
    ssm: Any
    secretsmanager: Any
    autoscaling: Any


@dataclass
class Outcome:
    """What was done; nothing: everything was as it should be."""

    changes: list[str] = field(default_factory=list)
    seeds: int = 0
    workers: int = 0


class Bootstrap:
    """Forms one fleet's cluster. Raises `FabricServiceError` with what is in the way."""

    def __init__(self, fleet: Fleet, clients: Clients, steps: Steps, limits: Limits | None = None) -> None:
        self._fleet = fleet
        self._clients = clients
        self._step = steps
        self._limits = limits or Limits()
        self._secrets = Secrets(clients.secretsmanager, fleet)
        self._store = Store(clients.s3, fleet.bucket)
        self._remote = Remote(clients.ssm, fleet.cluster, self._limits.pause_s)
        self._outcome = Outcome()

    def run(self, workers: int | None = None, packages: Path | None = None) -> Outcome:
        """Forms the cluster and raises the workers to a number, by default the environment's; never lowers them.

        `packages` is the folder with Microsoft's files, for a bucket that has not got them yet.
        """
        formed = self._store.formed() is not None
        self._check_capacity(workers)
        seeds = self._find_seeds()
        self._tag(seeds)
        identity = self._ensure_secrets(formed)
        gateway = Gateway(self._fleet.gateway, identity.client, _ONE_LOOK)
        nodes = self._look(gateway)
        if not formed:
            self._ensure_packages(packages)
            self._create(seeds, identity, exists=nodes is not None)
        self._wait_healthy(gateway)
        if not formed:
            self._rotate(seeds)
            self._store.note_formed(self._fleet.cluster, self._addresses())
            self._changed("the cluster is formed")
        self._raise_workers(gateway, workers)
        return self._outcome

    # What is there

    def _find_seeds(self) -> dict[str, Machine]:
        """The machine of each seed, once all of them run."""
        with self._step("seed instances") as progress:
            found = until(self._seeds, "seed instances", self._limits.seeds_s, self._limits.pause_s, progress)
            progress.update(", ".join(f"{node} {machine.address}" for node, machine in found.items()))
        self._outcome.seeds = len(found)
        return found

    def _seeds(self) -> dict[str, Machine]:
        ec2, fleet = self._clients.ec2, self._fleet
        interfaces = machinery.seed_interfaces(ec2, fleet.cluster)
        found: dict[str, Machine] = {}
        for machine in machinery.machines(ec2, fleet.cluster, ["running"], machinery.SEED_ROLE):
            interface = interfaces.get(machine.interface)
            if interface is None or interface.node not in fleet.seeds:
                raise FabricServiceError(
                    f"instance {machine.id} is tagged as a seed of {fleet.cluster}, but its primary interface "
                    f"{machine.interface} is that of no seed: terminate it, its group starts it right"
                )
            expected = fleet.seeds[interface.node].address
            if not interface.address == machine.address == expected:
                raise FabricServiceError(
                    f"the address of {interface.node} changed: the stack knows {expected}, instance {machine.id} has "
                    f"{machine.address}. Service Fabric forbids that: `fleetstream refresh` tells whether the "
                    "interface is another one; the seed needs its old address back"
                )
            found[interface.node] = machine
        if missing := [node for node in fleet.seeds if node not in found]:
            raise NotYet(f"{len(found)} of {len(fleet.seeds)} run, missing: {', '.join(missing)}")
        return {node: found[node] for node in fleet.seeds}

    def _look(self, gateway: Gateway) -> list[Node] | None:
        """The cluster's nodes, none while it cannot tell them; None when nothing answers: there is no cluster.

        Refuses a cluster that was formed with other seeds.
        """
        try:
            nodes = gateway.nodes()
        except GatewayUnreachableError as error:
            return [] if error.answered else None
        except GatewayRefusedError as error:
            raise FabricServiceError(f"{error}: what answers there is no cluster of these certificates") from error
        wanted = self._addresses()
        odd = [
            f"{node.name} ({node.address})"
            for node in sorted(nodes, key=lambda node: node.name)
            if (node.is_seed or node.type == SEED) and wanted.get(node.name) != node.address
        ]
        if odd:
            raise FabricServiceError(
                f"a cluster was formed with other seeds: {', '.join(odd)} instead of "
                f"{', '.join(f'{name} ({address})' for name, address in wanted.items())}. A cluster's seeds are not "
                "exchanged by forming it again"
            )
        return nodes

    def _addresses(self) -> dict[str, str]:
        return {node: place.address for node, place in self._fleet.seeds.items()}

    # What is done

    def _tag(self, seeds: Mapping[str, Machine]) -> None:
        for node, machine in seeds.items():
            if machine.node != node:
                machinery.tag_node(self._clients.ec2, machine.id, node)
                self._changed(f"{machine.id} is tagged {node}")

    def _ensure_secrets(self, formed: bool) -> Identity:
        identity = self._secrets.ensure(formed)
        for made in identity.made:
            self._changed(f"made: {made}")
        return identity

    def _ensure_packages(self, folder: Path | None) -> None:
        with self._step("Service Fabric's packages") as progress:
            found = Packages(self._clients.s3, self._fleet.bucket, self._fleet.version)
            for name in found.ensure(folder, progress.update):
                self._changed(f"put into the bucket: {name}")

    def _create(self, seeds: Mapping[str, Machine], identity: Identity, exists: bool) -> None:
        """Creates the cluster where that has not begun, and sees a creation that was begun to its end."""
        names = {machine.id: node for node, machine in seeds.items()}
        begun = self._remote.last(remote.CREATE, list(names))
        if begun is not None and begun.going:
            with self._step("create the cluster, begun before") as progress:
                chosen = {instance: names[instance] for instance in begun.instances if instance in names}
                self._remote.follow(begun.id, remote.CREATE, chosen, self._limits.create_s, progress)
        elif not exists and (begun is None or not begun.succeeded):
            self._install(names, identity)

    def _install(self, names: Mapping[str, str], identity: Identity) -> None:
        """Prepares all seeds, tests the configuration on one, and creates the cluster from there."""
        limits, stored = self._limits, self._store.put_configuration(self._compile(identity))
        if stored.written:
            self._changed(f"the configuration is stored: s3://{self._fleet.bucket}/{stored.key}")
        with self._step("machines that take commands") as progress:
            self._remote.wait_ready(names, limits.agents_s, progress)
        with self._step("prepare all seeds") as progress:
            self._remote.run(remote.PREPARE, names, limits.prepare_s, progress)
        instance, node = next(iter(names.items()))
        first, where = {instance: node}, (stored.key, stored.version)
        with self._step(f"test the configuration on {node}") as progress:
            self._remote.run(remote.TEST, first, limits.test_s, progress, *where)
        with self._step(f"create the cluster from {node}") as progress:
            self._remote.run(remote.CREATE, first, limits.create_s, progress, *where)
        self._changed("Service Fabric is installed on all seeds")

    def _compile(self, identity: Identity) -> dict[str, Any]:
        configuration = compiled(self._fleet, identity.certificates)
        if broken := rules.check(configuration):
            told = "\n".join(f"  {one.rule}: {one.path}: {one.message}" for one in broken)
            raise FabricServiceError(f"the configuration breaks Service Fabric's rules:\n{told}")
        return configuration

    def _wait_healthy(self, gateway: Gateway) -> None:
        """Waits until every seed is Up and nothing is wrong."""

        def look() -> None:
            nodes = self._look(gateway)
            if nodes is None:
                raise NotYet(f"{self._fleet.gateway} does not answer yet")
            found = {node.name: node.status for node in nodes}
            if missing := [
                f"{name} {found.get(name, 'missing')}" for name in self._fleet.seeds if found.get(name) != UP
            ]:
                raise NotYet(f"{len(self._fleet.seeds) - len(missing)} seeds Up; {', '.join(missing)}")
            try:
                health = gateway.health()
            except GatewayUnreachableError as error:
                raise NotYet(str(error)) from None
            if not health.ok:
                raise NotYet(f"all seeds Up; health {health.state}: {'; '.join(health.reasons) or 'no reason told'}")

        with self._step("the cluster's health") as progress:
            until(look, "a healthy cluster", self._limits.health_s, self._limits.pause_s, progress)
            progress.update("Ok")

    def _rotate(self, seeds: Mapping[str, Machine]) -> None:
        """What the installation's password opened, it opens no more."""
        names = {machine.id: node for node, machine in seeds.items()}
        with self._step("another administrator's password") as progress:
            old = self._secrets.change_password()
            self._remote.run(remote.PREPARE, names, self._limits.prepare_s, progress)
            self._secrets.forget(old)
        self._changed("the administrator's password is another one")

    def _check_capacity(self, workers: int | None) -> None:
        """A number that the group cannot reach is refused before anything is done."""
        most = machinery.group(self._clients.autoscaling, self._fleet.worker_group)["MaxSize"]
        if workers is not None and not 0 <= workers <= most:
            raise FabricServiceError(f"{workers} workers: the group takes 0 to {most}; raise fleet.workers_max first")

    def _raise_workers(self, gateway: Gateway, workers: int | None) -> None:
        name = self._fleet.worker_group
        group = machinery.group(self._clients.autoscaling, name)
        wanted = min(self._fleet.workers, group["MaxSize"]) if workers is None else workers
        if group["DesiredCapacity"] < wanted:
            self._clients.autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=wanted)
            self._changed(f"the workers' group is raised from {group['DesiredCapacity']} to {wanted}")

        def look() -> int:
            up = _workers_up(gateway)
            if up < wanted:
                raise NotYet(f"{up} of {wanted} workers Up")
            return up

        with self._step("workers") as progress:
            up = until(look, f"{wanted} workers", self._limits.workers_s, self._limits.pause_s, progress)
            progress.update(f"{up} Up")
        self._outcome.workers = up

    def _changed(self, what: str) -> None:
        self._outcome.changes.append(what)


def compiled(fleet: Fleet, certificates: Certificates) -> dict[str, Any]:
    """The configuration that this fleet's cluster is formed with."""
    seats = [Seat(node, place.address, place.zone) for node, place in fleet.seeds.items()]
    more = {} if fleet.diagnostics is None else {"diagnostics": fleet.diagnostics}
    return cluster_configuration.compiled(fleet.cluster, seats, certificates, **more)


def _workers_up(gateway: Gateway) -> int:
    try:
        return sum(node.type == WORKER and node.status == UP for node in gateway.nodes())
    except GatewayUnreachableError as error:
        raise NotYet(str(error)) from None
