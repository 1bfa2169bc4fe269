"""What the agent does next: a pure comparison of what the emulated AWS holds with what runs on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True)
class Cluster:
    """An MSK cluster as it is deployed."""

    arn: str
    deleting: bool
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Desired:
    """What the emulated account holds. `account` identifies one life of it: its process begins empty."""

    account: float
    cluster: Cluster | None = None
    streams: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    """Linux instances that run, by id."""


class Process(Enum):
    """How a process that the agent started is."""

    ABSENT = "absent"
    RUNNING = "running"
    DIED = "died"


@dataclass(frozen=True)
class Owner:
    """Whose the broker's logs are: a cluster of one life of the account, or of nobody when the cluster is unknown."""

    account: float
    cluster: str | None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Actual:
    """What is on this machine.

    `owner` is None when there are no logs. `running` and `ended` are the delivery streams that were started;
    `resting` ones have to wait for their next start. The same of Linux instances
    and what plays them: `hosts`, `dead_hosts`, `resting_hosts`.
    """

    broker: Process = Process.ABSENT
    owner: Owner | None = None
    running: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    resting: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    dead_hosts: frozenset[str] = frozenset()
    resting_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StopBroker:
    """End the broker and forget that it ran; its logs stay."""


@dataclass(frozen=True)
class DeleteLogs:
    """Delete what the broker kept."""


@dataclass(frozen=True)
class KeepLogs:
    """The logs outlived their account: note their topics as survivors, and the logs as nobody's in this account."""

    account: float


@dataclass(frozen=True)
class Assign:
    """The logs are this cluster's from now on."""

    owner: Owner


@dataclass(frozen=True)
class StartBroker:
    """Start the broker with these server properties."""

    properties: Mapping[str, str]


@dataclass(frozen=True)
class StartStream:
    """Start the process of a delivery stream."""

    name: str


@dataclass(frozen=True)
class StopStream:
    """Let the process of a delivery stream deliver what it holds, and end it."""

    name: str


@dataclass(frozen=True)
class StartHost:
    """Play an instance."""

    instance: str


@dataclass(frozen=True)
class StopHost:
    """End what runs on an instance that has ended."""

    instance: str


Action = StopBroker | DeleteLogs | KeepLogs | Assign | StartBroker | StartStream | StopStream | StartHost | StopHost


def plan(desired: Desired, actual: Actual) -> list[Action]:
    """The actions that bring this machine to what is deployed, in order."""
    stop = [StopStream(name) for name in sorted((actual.running | actual.ended) - desired.streams)]
    start = [StartStream(name) for name in sorted(desired.streams - actual.running - actual.resting)]
    off = [StopHost(one) for one in sorted((actual.hosts | actual.dead_hosts) - desired.hosts)]
    on = [StartHost(one) for one in sorted(desired.hosts - actual.hosts - actual.resting_hosts)]
    return [*stop, *off, *_plan_broker(desired, actual), *start, *on]


def _plan_broker(desired: Desired, actual: Actual) -> list[Action]:
    cluster, owner = desired.cluster, actual.owner
    stop: list[Action] = [] if actual.broker is Process.ABSENT else [StopBroker()]
    delete: list[Action] = [] if owner is None else [DeleteLogs()]
    if cluster is not None and cluster.deleting:
        return [*stop, *delete]
    outlived = owner is not None and owner.account != desired.account
    if cluster is None:
        if outlived:
            return [KeepLogs(desired.account)]
        # The account is the same and its cluster has gone: it was deleted between two looks.
        return [*stop, *delete] if owner is None or owner.cluster is not None else []
    own = Owner(desired.account, cluster.arn, cluster.properties)
    if owner is not None and owner.cluster not in (None, cluster.arn) and not outlived:
        return [*stop, DeleteLogs(), Assign(own), StartBroker(cluster.properties)]
    actions: list[Action] = [KeepLogs(desired.account)] if outlived else []
    if owner != own:
        actions.append(Assign(own))
    if actual.broker is Process.RUNNING and (owner is None or owner.properties != cluster.properties):
        return [*actions, StopBroker(), StartBroker(cluster.properties)]
    # A broker that died stays dead, as a fault that was seen: `recover` forgets it, and then it is started.
    return [*actions, StartBroker(cluster.properties)] if actual.broker is Process.ABSENT else actions
