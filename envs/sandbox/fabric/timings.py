"""How long a cluster takes for what it does, in seconds: the product's pace, which drills and tests shorten."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Timings:
    """The defaults are of the order seen on a small cluster; durations with a source name their setting."""

    forming: float = 120.0
    """From CreateServiceFabricCluster.ps1 until the nodes are up."""
    joining: float = 45.0
    """From AddNode.ps1, or the start of a node that was there before, until it is up."""
    lease: float = 30.0
    """From the end of a machine until its node counts as down (Federation/LeaseDuration)."""
    safety_check: float = 5.0
    """Until a deactivation's safety checks are looked at for the first time."""
    replica: float = 10.0
    """To build a replica elsewhere, or to close one."""
    deactivate: float = 5.0
    """From complete safety checks until the node is disabled."""
    activate: float = 5.0
    replica_restart_wait: float = 1800.0
    """How long a replica that is down is waited for (FailoverManager/ReplicaRestartWaitDuration)."""
    upgrade_domain: float = 60.0
    health_retry: float = 600.0
    """How long an upgrade waits for health before it is rolled back (HealthCheckRetryTimeout)."""
    removed_keep: float = 30 * 24 * 3600.0
    """How long a node whose state was removed is remembered (FailoverManager/RemovedNodeKeepDuration)."""

    def scaled(self, factor: float) -> "Timings":
        """The same pace, faster or slower; what is only remembered keeps its time."""
        scaled = {item.name: getattr(self, item.name) * factor for item in fields(self)}
        return Timings(**scaled | {"removed_keep": self.removed_keep})
