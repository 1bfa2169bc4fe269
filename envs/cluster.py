"""The verbs of the cluster: what they show, and where an environment's cluster is."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape
from rich.table import Table

from envs.environment import Environment
from envs.errors import FleetstreamError, UsageError
from envs.lifecycle import write_json
from envs.progress import console, step
from services.errors import ServiceError
from services.fabric import bootstrap as forming
from services.fabric import configuration as cluster_configuration
from services.fabric import credentials, rules
from services.fabric import dispose as disposing
from services.fabric import fleet as machinery
from services.fabric import reconcile as reconciling
from services.fabric import upgrade as upgrading
from services.fabric.authority import client_name, facts, node_name, read_pem
from services.fabric.bootstrap import Bootstrap, Clients
from services.fabric.client import Gateway, Node
from services.fabric.configuration import Certificates
from services.fabric.errors import FabricServiceError
from services.fabric.fleet import Fleet, Machine
from services.fabric.reconcile import Finding, Tools
from services.fabric.waiting import Limits

_ATTEMPTS = 8
"""How often AWS is asked before a call fails: a command goes on for half an hour, through throttling and hiccups."""
_COLORS = {"Up": "green", "Ok": "green", "Warning": "yellow", "Disabling": "yellow", "Disabled": "yellow"}


@dataclass(frozen=True)
class Place:
    """An environment's fleet, and AWS where it stands."""

    fleet: Fleet
    clients: Clients

    def gateway(self) -> Gateway:
        """The cluster's gateway, with the certificate from its secret."""
        found = credentials.fetch(self.clients.secretsmanager, self.fleet.client_secret)
        return Gateway(self.fleet.gateway, found)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turns what the services and AWS raise into what commands raise."""
    try:
        yield
    except ServiceError as error:
        raise FleetstreamError(str(error)) from error
    except (ClientError, BotoCoreError) as error:
        raise FleetstreamError(f"AWS: {error}") from error


def open_place(environment: Environment) -> Place:
    """Where an environment's cluster is, by its stack's outputs."""
    outputs = environment.engine().outputs()
    fleet = machinery.described(outputs)
    session, config = environment.session(), Config(retries={"mode": "standard", "total_max_attempts": _ATTEMPTS})
    made = {
        name: session.client(name, region_name=outputs.get("region"), config=config)  # type: ignore[call-overload]
        for name in ("ec2", "s3", "ssm", "secretsmanager", "autoscaling")
    }
    return Place(fleet, Clients(**made))


# config


def check(path: Path, json_path: Path | None) -> int:
    """Judges a file, tells every broken rule, and returns the exit code."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FleetstreamError(f"{path} cannot be read as text: {error}") from error
    with told():
        configuration = rules.parse(content, str(path))
    broken, open_places = rules.check(configuration), list(rules.placeholders(configuration))
    if broken:
        table = Table("rule", "where", "what is wrong", "microsoft/service-fabric", title="broken rules")
        for one in broken:
            table.add_row(one.rule, escape(one.path), escape(one.message), one.source.rpartition("/")[2])
        console.print(table)
    for place in open_places:
        console.print(f"still to be filled in: {place}", markup=False, soft_wrap=True)
    count = len(rules.RULES)
    console.print(
        f"{path}: {len(broken)} broken rules" if broken else f"{path}: keeps all {count} rules", markup=False
    )
    if json_path is not None:
        content_json = {"file": str(path), "broken": [asdict(one) for one in broken], "to_be_filled_in": open_places}
        write_json(json_path, content_json)
    return 1 if broken else 0


def show_configuration(environment: Environment, live: bool, json_path: Path | None) -> None:
    """Prints the configuration that an environment's cluster is formed with, or the one it has."""
    with told():
        place = open_place(environment)
        found = place.gateway().configuration() if live else compiled(place)
    typer.echo(cluster_configuration.rendered(found), nl=False)
    if json_path is not None:
        write_json(json_path, found)


def compiled(place: Place) -> dict[str, Any]:
    """What a fleet's cluster is formed with; places are left open while there are no certificates."""
    cluster = place.fleet.cluster
    try:
        found = credentials.fetch(place.clients.secretsmanager, place.fleet.client_secret)
    except FabricServiceError:
        certificates = Certificates(node_name(cluster), client_name(cluster), "[IssuerThumbprint]")
    else:
        issuer = facts(read_pem(found.authority, place.fleet.client_secret)).thumbprint
        certificates = Certificates(found.server_name, found.client_name, issuer)
    return forming.compiled(place.fleet, certificates)


# bootstrap


def bootstrap(environment: Environment, workers: int | None, packages: Path | None, json_path: Path | None) -> None:
    """Forms the cluster, and says what was done for that."""
    with told():
        place = open_place(environment)
        folder = packages or environment.packages(place.fleet.version)
        outcome = Bootstrap(place.fleet, place.clients, step, Limits()).run(workers, folder)
    for change in outcome.changes:
        console.print(f"  {change}", markup=False, soft_wrap=True)
    standing = f"{outcome.seeds} seeds and {outcome.workers} workers are Up"
    console.print(f"{standing}." if outcome.changes else f"nothing to do: {standing}")
    if json_path is not None:
        write_json(json_path, asdict(outcome))


# nodes


def show_nodes(environment: Environment, json_path: Path | None) -> None:
    """Shows the live cluster."""
    with told():
        place = open_place(environment)
        gateway = place.gateway()
        found, health = gateway.nodes(), gateway.health()
        machines = machinery.machines(place.clients.ec2, place.fleet.cluster)
    pairs = [(node, _machine_of(node, machines)) for node in found]
    console.print(nodes_table(pairs))
    console.print(f"cluster {place.fleet.cluster}: {_colored(health.state)}")
    for reason in health.reasons:
        console.print(f"  {reason}", markup=False, soft_wrap=True)
    if json_path is not None:
        nodes = [
            {**asdict(node), "instance": None if machine is None else asdict(machine)} for node, machine in pairs
        ]
        write_json(json_path, {"cluster": place.fleet.cluster, "health": asdict(health), "nodes": nodes})


def nodes_table(pairs: Sequence[tuple[Node, Machine | None]]) -> Table:
    """The nodes for a terminal."""
    columns = ("node", "type", "status", "seed", "instance", "address", "fault domain", "upgrade domain", "health")
    table = Table(*columns, title="nodes")
    for node, machine in pairs:
        status = _colored(node.status) + (f" ({node.intent}: {node.deactivation})" if node.intent else "")
        instance = "[red]none[/]" if machine is None else f"{machine.id} {machine.state}"
        seed = "yes" if node.is_seed else ""
        place = (node.address, node.fault_domain, node.upgrade_domain)
        table.add_row(escape(node.name), node.type, status, seed, instance, *place, _colored(node.health))
    return table


def _machine_of(node: Node, machines: Sequence[Machine]) -> Machine | None:
    return next((each for each in machines if each.node == node.name), None) or next(
        (each for each in machines if each.address == node.address and not each.node), None
    )


def _colored(state: str) -> str:
    return f"[{_COLORS.get(state, 'bold red')}]{escape(state)}[/]"


# reconcile


def reconcile(environment: Environment, repair: bool, json_path: Path | None) -> int:
    """Shows what differs, makes the repairs when asked, and returns the exit code."""
    with told():
        place = open_place(environment)
        gateway = place.gateway()
        done: list[Finding] = []
        if repair:
            tools = Tools(place.clients, gateway, Limits(), step)
            done, left = reconciling.apply(place.fleet, tools, _say)
        else:
            left = reconciling.compare(reconciling.look(place.fleet, place.clients, gateway))
    if left:
        table = Table("what", "of", "because", "proposal", "--apply", title="differences")
        for each in left:
            made = "" if each.repair is None else "makes it"
            table.add_row(each.kind.label, escape(each.subject), escape(each.reason), escape(each.proposal), made)
        console.print(table)
    else:
        console.print("groups, tags, nodes and configuration agree")
    if json_path is not None:
        write_json(
            json_path, {"repaired": [_finding(each) for each in done], "left": [_finding(each) for each in left]}
        )
    return 1 if left else 0


def _say(finding: Finding) -> None:
    console.print(f"{finding.kind.label} {finding.subject}: {finding.reason}", markup=False, soft_wrap=True)


def _finding(each: Finding) -> dict[str, Any]:
    return {
        "kind": each.kind.label,
        "subject": each.subject,
        "reason": each.reason,
        "proposal": each.proposal,
        "repairable": each.repair is not None,
    }


# upgrade


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """What ``--set`` names, by setting. Raises `UsageError`."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name.count("/") != 1 or not all(name.split("/")):
            raise UsageError(f"--set {text}: write Section/Parameter=value")
        if name in found:
            raise UsageError(f"--set {name} is there twice")
        found[name] = value
    return found


def upgrade(
    environment: Environment,
    settings: Mapping[str, str],
    code_version: str | None,
    dry_run: bool,
    json_path: Path | None,
) -> None:
    """Shows what would change in the cluster's configuration, and changes it."""
    with told():
        gateway = open_place(environment).gateway()
        upgrading.refuse_while_running(gateway)
        wanted = upgrading.change(gateway, settings, code_version)
        if wanted is None:
            console.print("nothing to do: the cluster's configuration has that already")
        else:
            for line in wanted.lines:
                console.print(line, markup=False, soft_wrap=True)
            if not dry_run:
                with step(f"upgrade to {wanted.version}") as progress:
                    upgrading.carry_out(gateway, wanted, Limits(), progress)
    if json_path is not None:
        lines = [] if wanted is None else wanted.lines
        version = None if wanted is None else wanted.version
        write_json(json_path, {"version": version, "changed": bool(wanted) and not dry_run, "diff": lines})


# dispose


def dispose(environment: Environment, json_path: Path | None) -> int:
    """Ends retained instances that may end, and returns the exit code."""
    with told():
        place = open_place(environment)
        clients = place.clients
        found = disposing.find(place.fleet, clients.ec2, clients.autoscaling, place.gateway())
        for each in found:
            if each.hindrance:
                console.print(f"{each.instance} stays: {each.hindrance}", markup=False, soft_wrap=True)
            else:
                disposing.end(clients.autoscaling, each)
                console.print(f"{each.instance} ends; its node {each.node or '?'} is gone", markup=False)
    if not found:
        console.print(f"no instance of {place.fleet.worker_group} is retained")
    if json_path is not None:
        write_json(json_path, {"instances": [{**asdict(each), "ended": not each.hindrance} for each in found]})
    return 1 if any(each.hindrance for each in found) else 0
