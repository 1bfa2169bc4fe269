"""What is watched of the Service Fabric fleet: its seeds, its machines that are kept, its sweep and its snapshots."""

from collections.abc import Sequence
from typing import Final

import pulumi

from infra.alarms import Alarm
from infra.scale_in import SERVICE
from infra.sections import Fleet

_MISSED: Final = 3
"""Sweeps without success, one after the other, until somebody is called."""
_CERTIFICATE_DAYS: Final = 30
"""Left of a certificate when somebody is called: time to have another issued."""


def of_fleet(
    cluster: str, undone_queue: pulumi.Input[str], policy_id: pulumi.Input[str], settings: Fleet
) -> Sequence[Alarm]:
    """The cluster as the sweep finds it (services/fabric/scale_in), and what AWS tells of queue and snapshots.

    Quorum is more than half of the seeds: with as many Up as that, the next one that fails ends the cluster.
    """
    swept = {"service": SERVICE}
    quorum = settings.seeds // 2 + 1
    missed = _MISSED * settings.scale_in.sweep_minutes
    return (
        Alarm(
            name="seeds-near-quorum",
            about=f"Of {settings.seeds} seeds no more than {quorum} are Up: one more and the cluster stands still",
            namespace=cluster,
            metrics=("SeedsUp",),
            dimensions=swept,
            statistic="Minimum",
            comparison="below",
            threshold=quorum + 1,
            # Between two sweeps nothing is known, and a sweep that does not come has an alarm of its own.
            missing="ignore",
        ),
        Alarm(
            name="workers-retained",
            about="A worker could not be removed and its machine is kept: `fleetstream cluster dispose`",
            namespace=cluster,
            metrics=("Retained",),
            dimensions=swept,
            statistic="Maximum",
            missing="ignore",
        ),
        Alarm(
            name="sweep-missing",
            about="Nobody searches the cluster for nodes without machines: a worker whose event was lost waits",
            namespace=cluster,
            metrics=("Sweeps",),
            dimensions=swept,
            statistic="Sum",
            comparison="below",
            threshold=1,
            minutes=missed,
            missing="breaching",
        ),
        Alarm(
            name="gateway-unreachable",
            about="The cluster's gateway does not answer: no worker joins or leaves, and nobody can deploy",
            namespace=cluster,
            metrics=("GatewayUnreachable",),
            dimensions=swept,
            statistic="Sum",
            # It is asked at each sweep, and more often while a worker leaves: a minute in which nobody asked proves
            # nothing, and a sweep may come a little late.
            minutes=missed + 1,
            times=_MISSED,
            missing="notBreaching",
        ),
        Alarm(
            name="hooks-near-timeout",
            about="A worker's removal lasts nearly as long as its hook may: then the machine is retained",
            namespace=cluster,
            metrics=("HooksNearTimeout",),
            dimensions=swept,
            statistic="Sum",
            missing="notBreaching",
        ),
        Alarm(
            name="certificate-ends",
            about="A certificate ends soon, and the cluster with it: docs/operations.md, Certificates",
            namespace=cluster,
            metrics=("CertificateDaysLeft",),
            dimensions=swept,
            statistic="Minimum",
            comparison="below",
            threshold=_CERTIFICATE_DAYS,
            missing="ignore",
        ),
        Alarm(
            name="scale-in-undone",
            about="A worker's way out was given up: its machine may be waiting for an answer to its hook",
            namespace="AWS/SQS",
            metrics=("ApproximateNumberOfMessagesVisible",),
            dimensions={"QueueName": undone_queue},
            statistic="Maximum",
        ),
        Alarm(
            name="snapshots-failing",
            about="A seed's disk has no new snapshot: a seed whose disk is lost would start from an older one",
            # Amazon EBS User Guide, "Monitor Data Lifecycle Manager policies using CloudWatch".
            namespace="AWS/EBS",
            metrics=("SnapshotsCreateFailed",),
            dimensions={"DLMPolicyId": policy_id},
            statistic="Sum",
            missing="notBreaching",
        ),
    )
