"""What the gateway tells, as it is used here: nodes, health, and how far a change of the configuration is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

UP: Final = "Up"
DOWN: Final = "Down"
DISABLED: Final = "Disabled"
ZOMBIE_STATUSES: Final = frozenset({DOWN, "Invalid", "Unknown"})
"""What a node without a machine is shown as."""
GONE_STATUSES: Final = frozenset({"Removed"})
OK: Final = "Ok"

REMOVE_NODE: Final = "RemoveNode"


@dataclass(frozen=True)
class Node:
    """A node as the cluster knows it."""

    name: str
    address: str
    type: str
    status: str
    is_seed: bool
    instance_id: str
    """Service Fabric's own: another one each time the node starts."""
    health: str
    upgrade_domain: str
    fault_domain: str
    intent: str = ""
    """What it is being deactivated for; empty: it is not."""
    deactivation: str = "None"
    pending_checks: tuple[str, ...] = ()
    """What its deactivation waits for, such as EnsureSeedNodeQuorum."""

    @property
    def zombie(self) -> bool:
        """Whether the cluster holds a place for it and sees nobody there."""
        return self.status in ZOMBIE_STATUSES


@dataclass(frozen=True)
class Health:
    """The cluster's health, with what stands in the way of ``Ok``."""

    state: str
    reasons: tuple[str, ...]
    nodes: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.state == OK


@dataclass(frozen=True)
class Upgrade:
    """How far the last change of the configuration is."""

    state: str
    version: str
    """Of the configuration that the cluster has, or is getting."""
    details: str

    @property
    def running(self) -> bool:
        """Whether the cluster is being changed now."""
        return self.state in ("RollingForwardPending", "RollingForwardInProgress", "RollingBackInProgress")

    @property
    def failed(self) -> bool:
        """Whether it ended, and not with the configuration that was asked for."""
        return self.state in ("RollingBackCompleted", "Failed")


def node_of(item: Mapping[str, Any]) -> Node:
    """A node as a ``NodeInfo`` of the gateway describes it."""
    leaving = item.get("NodeDeactivationInfo") or {}
    intent = leaving.get("NodeDeactivationIntent") or ""
    checks = leaving.get("PendingSafetyChecks") or ()
    return Node(
        name=item["Name"],
        address=item.get("IpAddressOrFQDN") or "",
        type=item.get("Type") or "",
        status=item.get("NodeStatus") or "Unknown",
        is_seed=bool(item.get("IsSeedNode")),
        instance_id=str(item.get("InstanceId") or ""),
        health=item.get("HealthState") or "Unknown",
        upgrade_domain=item.get("UpgradeDomain") or "",
        fault_domain=item.get("FaultDomain") or "",
        intent="" if intent == "Invalid" else intent,
        deactivation=leaving.get("NodeDeactivationStatus") or "None",
        pending_checks=tuple(str(check.get("SafetyCheck", {}).get("Kind", "")) for check in checks),
    )


def reasons_of(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """What the cluster itself says is wrong."""
    wrapped = (one.get("HealthEvaluation") or {} for one in answer.get("UnhealthyEvaluations") or ())
    return tuple(text for one in wrapped if (text := one.get("Description")))
