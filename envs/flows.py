"""Proves the flows that a deployed program declares: what must be possible, and what must not."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from envs import facts
from envs.environment import Environment
from envs.errors import FleetstreamError
from envs.reachability import Account, Addresses, Api, Balancer, Flow, Group, NoWayError, World


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


def parse(declared: list[dict[str, Any]]) -> list[Flow]:
    """The flows of a program's output (`infra.flows.declared`), one a port."""
    return [Flow(_end(one["from"]), _end(one["to"]), port) for one in declared for port in one["ports"]]


def _end(end: dict[str, str]) -> Any:
    match end:
        case {"group": name}:
            return Group(name)
        case {"balancer": name, "nodes": nodes}:
            return Balancer(name, Group(nodes))
        case {"addresses": cidr}:
            return Addresses(cidr)
        case {"api": service}:
            return Api(service)
        case {"internet": _}:
            return World()
    raise FleetstreamError(f"a flow with the end {end}: this version of fleetstream does not know it")


def judge(account: Account, declared: dict[str, list[dict[str, Any]]]) -> list[Verdict]:
    """Looks for the way of every flow, those that must have none at the end."""
    verdicts = []
    for kind in ("wanted", "unwanted"):
        must = kind == "wanted"
        for flow in parse(declared[kind]):
            try:
                way = account.way(flow)
            except NoWayError as error:
                verdicts.append(Verdict(str(flow), must, False, str(error)))
            else:
                verdicts.append(Verdict(str(flow), must, True, "" if must else "by " + ", ".join(map(str, way))))
    return verdicts


def read(environment: Environment) -> tuple[Account, dict[str, list[dict[str, Any]]]]:
    """What stands in an environment, and what its program declares. Raises `FleetstreamError` when it is not up."""
    outputs = environment.engine().outputs()
    if "flows" not in outputs:
        raise FleetstreamError(f"{environment.name} is not up: `fleetstream up` it first")
    place = (outputs["region"], outputs["vpc_id"], outputs["kafka_cluster_arn"])
    return Account(*facts.read(environment.session(), *place)), outputs["flows"]


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
    return {"flows": [asdict(one) for one in verdicts], "right": all(one.right for one in verdicts)}
