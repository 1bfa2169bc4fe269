"""The upgrade of a cluster's configuration, upgrade domain by upgrade domain."""

from dataclasses import dataclass
from enum import StrEnum

from envs.sandbox.fabric.configuration import Configuration


class UpgradeState(StrEnum):
    """UpgradeState of the REST API."""

    FORWARD = "RollingForwardInProgress"
    DONE = "RollingForwardCompleted"
    ROLLED_BACK = "RollingBackCompleted"


@dataclass
class Upgrade:
    """One upgrade, also after it has ended."""

    target: Configuration
    manifest_version: int
    started: float
    domains: tuple[str, ...]
    removed: tuple[str, ...] = ()
    """Nodes that the target leaves out."""
    max_unhealthy: int = 0
    """The share of nodes in percent that may be unhealthy after a domain."""
    state: UpgradeState = UpgradeState.FORWARD
    finished: int = 0
    """How many of the domains are done."""
    due: float | None = None
    """When the domain under way is done; None while the upgrade waits."""
    retry_until: float | None = None
    """When it is rolled back, unless the cluster has become healthy."""
    ended: float | None = None
    failure: str = ""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state is UpgradeState.FORWARD

    def domain_state(self, index: int) -> str:
        """State of an upgrade domain in the REST API."""
        if index < self.finished or self.state is UpgradeState.DONE:
            return "Completed"
        return "InProgress" if index == self.finished and self.running else "Pending"
