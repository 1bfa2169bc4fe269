"""Nodes and their deactivation, as the Failover Manager keeps them.

After microsoft/service-fabric, `src/prod/src/Reliability/Failover/fm`: `NodeInfo.cpp` (the status of a node follows
from whether it is up and from its deactivation), `NodeDeactivationInfo.cpp` (an intent rises and never falls).
"""

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from envs.sandbox.fabric.errors import FabricError


class Intent(IntEnum):
    """Why a node is deactivated, by rising severity."""

    INVALID = 0
    PAUSE = 1
    RESTART = 2
    REMOVE_DATA = 3
    REMOVE_NODE = 4

    @property
    def label(self) -> str:
        """As the REST API spells it."""
        return self.name.title().replace("_", "")

    @property
    def removes(self) -> bool:
        """Whether the node's replicas have to leave it for good."""
        return self >= Intent.REMOVE_DATA


def intent(value: str | int) -> Intent:
    """The intent of a request, which gives its name or its number. Raises `FabricError`."""
    for candidate in Intent:
        if candidate is not Intent.INVALID and value in (candidate.label, int(candidate), str(int(candidate))):
            return candidate
    known = ", ".join(candidate.label for candidate in Intent if candidate is not Intent.INVALID)
    raise FabricError("E_INVALIDARG", f"the deactivation intent is {value!r}: it has to be one of {known}")


class Phase(StrEnum):
    """How far a deactivation, or its end, has come."""

    NONE = "None"
    CHECKING = "SafetyCheckInProgress"
    CHECKED = "SafetyCheckComplete"
    COMPLETED = "Completed"
    ACTIVATING = "ActivationInProgress"


class Status(StrEnum):
    """NodeStatus of the REST API."""

    INVALID = "Invalid"
    UP = "Up"
    DOWN = "Down"
    ENABLING = "Enabling"
    DISABLING = "Disabling"
    DISABLED = "Disabled"
    UNKNOWN = "Unknown"
    REMOVED = "Removed"


class Health(StrEnum):
    """A health state; of several the worst counts."""

    OK = "Ok"
    WARNING = "Warning"
    ERROR = "Error"


@dataclass(frozen=True)
class SafetyCheck:
    """What a deactivation waits for; `partition` is empty for a check that concerns the node."""

    kind: str
    partition: str = ""


@dataclass
class Deactivation:
    """`due` is when the phase ends by itself; None while it waits for something."""

    intent: Intent = Intent.INVALID
    phase: Phase = Phase.NONE
    due: float | None = None

    @property
    def active(self) -> bool:
        """Whether the node is deactivated, or on the way there."""
        return self.intent is not Intent.INVALID


@dataclass
class Node:
    """One node; `known` is false for a name that was deactivated before any node of that name joined."""

    name: str
    type: str = ""
    address: str = ""
    upgrade_domain: str = ""
    fault_domain: str = ""
    version: str = ""
    config_version: str = ""
    instance: int = 0
    up: bool = False
    since: float = 0.0
    """When it came up or went down."""
    known: bool = True
    removed: float | None = None
    """When its state was removed."""
    deactivation: Deactivation = field(default_factory=Deactivation)

    @property
    def id(self) -> str:
        """The node's identity is made from its name (`NodeIdGenerator`): the order of lists, and a batch's name."""
        return hashlib.md5(self.name.lower().encode(), usedforsecurity=False).hexdigest()

    @property
    def status(self) -> Status:
        """As `NodeInfo::get_NodeStatus` derives it."""
        if not self.up:
            if self.removed is not None:
                return Status.REMOVED
            return Status.DOWN if self.known else Status.UNKNOWN
        if self.deactivation.active:
            return Status.DISABLED if self.deactivation.phase is Phase.COMPLETED else Status.DISABLING
        return Status.ENABLING if self.deactivation.phase is Phase.ACTIVATING else Status.UP

    @property
    def takes_replicas(self) -> bool:
        """Whether replicas may be placed here."""
        return self.status is Status.UP
