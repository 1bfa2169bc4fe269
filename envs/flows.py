"""Who speaks to whom in an environment: what must be possible, and what must not."""

import json
from dataclasses import dataclass
from typing import Any, Final

import yaml
from rich.markup import escape
from rich.table import Table

from envs import project, reachability
from envs.environment import Environment
from envs.errors import FleetstreamError
from envs.reachability import Account, Addresses, Api, Balancer, Flow, Group, NoWayError, World
from infra import settings as program_settings
from infra.filesystem import NFS
from infra.network import HTTPS
from infra.sections import MANAGEMENT_PORTS
from infra.settings import Settings
from infra.streaming import IAM_PORT

NODES: Final = Group("fleet-nodes")
BROKERS: Final = Group("streaming-brokers")
KAFKA_CLIENTS: Final = Group("streaming-clients")
MOUNT_TARGETS: Final = Group("filesystem-targets")
TRAFFIC: Final = Balancer("ingress-traffic", NODES)
MANAGEMENT: Final = Balancer("ingress-management", NODES)

_AMONG_NODES: Final = (135, 137, 139, 445, 19000, 19001, 19002, 19003, 19080, 19081, 20001, 20031, 20606, 20861)
"""The first and last of what nodes of a cluster say to each other."""


def wanted(settings: Settings) -> list[Flow]:
    """Every flow that the platform needs."""
    apis = [Api("s3"), Api("dynamodb"), *map(Api, settings.network.interface_endpoints)]
    return [
        *(Flow(World(), TRAFFIC, each.port) for each in settings.ingress.traffic),
        *(
            Flow(Addresses(each.cidr), MANAGEMENT, port)
            for each in settings.ingress.management_clients
            for port in MANAGEMENT_PORTS
        ),
        *(Flow(NODES, NODES, port) for port in _AMONG_NODES),
        Flow(KAFKA_CLIENTS, BROKERS, IAM_PORT),
        Flow(Group("filesystem-clients"), MOUNT_TARGETS, NFS),
        *(Flow(NODES, api, HTTPS) for api in apis if api != Api("dynamodb")),
        *(Flow(KAFKA_CLIENTS, Api(service), HTTPS) for service in ("s3", "kafka", "sts")),
        *([Flow(NODES, World(), HTTPS)] if settings.network.nat != "none" else []),
    ]


def unwanted(settings: Settings) -> list[Flow]:
    """Flows that nothing may make possible."""
    ports = sorted({443, 3389, *MANAGEMENT_PORTS, *(each.target_port for each in settings.ingress.traffic)})
    return [
        *(Flow(World(), MANAGEMENT, port) for port in MANAGEMENT_PORTS),
        *(Flow(World(), TRAFFIC, port) for port in (*MANAGEMENT_PORTS, 3389)),
        *(Flow(World(), NODES, port) for port in ports),
        Flow(World(), BROKERS, IAM_PORT),
        Flow(World(), MOUNT_TARGETS, NFS),
        *(Flow(Group(TRAFFIC.name), NODES, port) for port in (*MANAGEMENT_PORTS, 3389)),
        Flow(Group("filesystem-clients"), BROKERS, IAM_PORT),
        Flow(KAFKA_CLIENTS, MOUNT_TARGETS, NFS),
    ]


@dataclass(frozen=True)
class Verdict:
    """One flow: whether it must be possible, whether it is, and what it lacks or what opens it."""

    flow: str
    wanted: bool
    possible: bool
    reason: str

    @property
    def right(self) -> bool:
        """Whether it is as it must be."""
        return self.wanted == self.possible


def judge(account: Account, settings: Settings) -> list[Verdict]:
    """Looks for the way of every flow, those that must have none at the end."""
    verdicts = []
    for flow, must in (*((one, True) for one in wanted(settings)), *((one, False) for one in unwanted(settings))):
        try:
            way = account.way(flow)
        except NoWayError as error:
            verdicts.append(Verdict(str(flow), must, False, str(error)))
        else:
            verdicts.append(Verdict(str(flow), must, True, "" if must else "by " + ", ".join(map(str, way))))
    return verdicts


def examine(environment: Environment) -> list[Verdict]:
    """The same for a deployed environment. Raises `FleetstreamError` when it is not up."""
    outputs = environment.engine().outputs()
    if "vpc_id" not in outputs:
        raise FleetstreamError(f"{environment.name} is not up: `fleetstream up` it first")
    place = (outputs["region"], outputs["vpc_id"], outputs["kafka_cluster_arn"])
    return judge(reachability.read(environment.session(), *place), settings_of(environment.name))


def settings_of(name: str) -> Settings:
    """The settings in an environment's stack file. Raises `FleetstreamError` with all that is wrong in it."""
    config = yaml.safe_load(project.stack_file(name).read_text())["config"]
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    try:
        chosen, _ = program_settings.load(values)
    except program_settings.SettingsError as error:
        raise FleetstreamError(str(error)) from error
    return chosen


def rendered(verdicts: list[Verdict]) -> Table:
    """A table for a terminal: what is wrong first."""
    table = Table("flow", "verdict", "because", title="flows")
    words = {
        (True, True): "[green]reaches[/]",
        (False, False): "[green]kept out[/]",
        (True, False): "[bold red]cannot reach[/]",
        (False, True): "[bold red]not kept out[/]",
    }
    for one in sorted(verdicts, key=lambda verdict: verdict.right):
        table.add_row(one.flow, words[one.wanted, one.possible], escape(one.reason))
    return table


def as_json(verdicts: list[Verdict]) -> dict[str, Any]:
    """The same for machines."""
    return {"flows": [vars(one) for one in verdicts], "right": all(one.right for one in verdicts)}
