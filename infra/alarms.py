"""What is watched: metrics of brokers, delivery stream and functions, and the values that call somebody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pulumi

from infra.sections import Monitoring

_MINUTE: Final = 60


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm, and one chart of the dashboard.

    Several `metrics` are added up. With `worst_of`, a dimension that CloudWatch has beside the `dimensions`, the one
    with the highest value counts, whatever there are (CloudWatch User Guide, "Query your CloudWatch metrics with
    CloudWatch Metrics Insights").
    """

    name: str
    about: str
    namespace: str
    metrics: tuple[str, ...]
    dimensions: Mapping[str, pulumi.Input[str]]
    statistic: Literal["Average", "Maximum", "Minimum", "Sum"]
    comparison: Literal["above", "below"] = "above"
    threshold: int = 0
    minutes: int = 1
    """How many minutes in a row it must be so."""
    times: int | None = None
    """In how many of these minutes it must be so, when not in all of them."""
    missing: Literal["breaching", "ignore", "missing", "notBreaching"] = "missing"
    worst_of: str | None = None

    def queries(self) -> list[dict[str, Any]]:
        """The alarm as metric math; the last query is the one that counts."""
        found = [
            {"id": f"m{number}", "expression": self._insight(metric), "period": _MINUTE}
            for number, metric in enumerate(self.metrics, 1)
        ]
        if len(found) > 1:
            found.append({"id": "total", "expression": " + ".join(each["id"] for each in found), "period": _MINUTE})
        return found

    def _insight(self, metric: str) -> pulumi.Output[str]:
        names = [*self.dimensions, *([self.worst_of] if self.worst_of else [])]
        schema = ", ".join(f'"{each}"' for each in (self.namespace, *names))
        head = ("SELECT", f'{_FUNCTIONS[self.statistic]}("{metric}")', f"FROM SCHEMA({schema})", "WHERE")
        where = [pulumi.Output.concat(f'"{name}" = \'', value, "'") for name, value in self.dimensions.items()]
        return pulumi.Output.all(*where).apply(lambda parts: " ".join((*head, " AND ".join(parts))))


_FUNCTIONS: Final = {"Average": "AVG", "Maximum": "MAX", "Minimum": "MIN", "Sum": "SUM"}


def of_brokers(cluster_name: pulumi.Input[str], settings: Monitoring) -> Sequence[Alarm]:
    """The Kafka cluster (MSK Developer Guide, "Amazon MSK metrics for monitoring Standard brokers with CloudWatch",
    "Best practices for Standard brokers")."""
    kafka, cluster = "AWS/Kafka", {"Cluster Name": cluster_name}
    return (
        Alarm(
            name="offline-partitions",
            about="Partitions without a leader: producers and consumers of them stand still",
            namespace=kafka,
            metrics=("OfflinePartitionsCount",),
            dimensions=cluster,
            statistic="Maximum",
        ),
        Alarm(
            name="no-controller",
            about="No active controller: the cluster elects no leaders and makes no topics",
            namespace=kafka,
            metrics=("ActiveControllerCount",),
            dimensions=cluster,
            # Every broker tells 1 or 0.
            statistic="Maximum",
            comparison="below",
            threshold=1,
            minutes=3,
            missing="breaching",
        ),
        Alarm(
            name="under-replicated",
            about="Partitions with a replica that lags: another broker lost now may lose messages",
            namespace=kafka,
            metrics=("UnderReplicatedPartitions",),
            dimensions=cluster,
            worst_of="Broker ID",
            statistic="Maximum",
            minutes=settings.under_replicated_minutes,
        ),
        Alarm(
            name="broker-disk",
            about="A broker's disk fills: raise streaming.storage_gb or lower streaming.retention_hours",
            namespace=kafka,
            metrics=("KafkaDataLogsDiskUsed",),
            dimensions=cluster,
            worst_of="Broker ID",
            statistic="Maximum",
            threshold=settings.disk_percent,
            minutes=5,
        ),
        Alarm(
            name="broker-cpu",
            about="Brokers have no room left for the loss of one: add brokers or take larger ones",
            namespace=kafka,
            # The guide asks for the sum of both to stay under 60 %.
            metrics=("CpuUser", "CpuSystem"),
            dimensions=cluster,
            worst_of="Broker ID",
            statistic="Maximum",
            threshold=settings.cpu_percent,
            minutes=15,
        ),
    )


def of_delivery(stream_name: pulumi.Input[str], settings: Monitoring) -> Sequence[Alarm]:
    """The delivery stream (Amazon Data Firehose Developer Guide, "Monitor Amazon Data Firehose with CloudWatch
    metrics" and "Implement best practices with CloudWatch Alarms")."""
    firehose, stream = "AWS/Firehose", {"DeliveryStreamName": stream_name}
    return (
        Alarm(
            name="archive-late",
            about="The oldest record that is not in the archive yet is too old",
            namespace=firehose,
            metrics=("DeliveryToS3.DataFreshness",),
            dimensions=stream,
            statistic="Maximum",
            threshold=settings.freshness_seconds,
            minutes=5,
            missing="notBreaching",
        ),
        Alarm(
            name="archive-failing",
            about="Objects could not be written to the archive's bucket",
            namespace=firehose,
            metrics=("DeliveryToS3.Success",),
            dimensions=stream,
            statistic="Minimum",
            comparison="below",
            threshold=1,
            minutes=5,
            missing="notBreaching",
        ),
        Alarm(
            name="gate-failing",
            about="The archive gate could not be called: its records end as dead letters",
            namespace=firehose,
            metrics=("ExecuteProcessing.Success",),
            dimensions=stream,
            statistic="Minimum",
            comparison="below",
            threshold=1,
            minutes=5,
            missing="notBreaching",
        ),
        Alarm(
            name="archive-throttled",
            about="A partition carries more than the stream may read: add partitions or ask for a higher limit",
            namespace=firehose,
            metrics=("DataReadFromSource.Backpressured",),
            dimensions=stream,
            statistic="Maximum",
            minutes=10,
            missing="notBreaching",
        ),
        Alarm(
            name="archive-lag",
            about="The stream is behind the topic: what it has not read when retention ends is lost to the archive",
            namespace=firehose,
            metrics=("KafkaOffsetLag",),
            dimensions=stream,
            statistic="Maximum",
            threshold=settings.lag_messages,
            minutes=15,
        ),
    )


def of_function(
    role: str, function_name: pulumi.Input[str], queue_name: pulumi.Input[str], settings: Monitoring
) -> Sequence[Alarm]:
    """A function and its dead letters (AWS Lambda Developer Guide, "Types of metrics for Lambda functions"; Amazon
    SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS")."""
    called = {"FunctionName": function_name}
    return (
        Alarm(
            name=f"{role}-errors",
            about=f"{role} fails: its log says why",
            namespace="AWS/Lambda",
            metrics=("Errors",),
            dimensions=called,
            statistic="Sum",
            threshold=settings.function_errors,
            minutes=5,
            missing="notBreaching",
        ),
        Alarm(
            name=f"{role}-throttles",
            about=f"{role} is called more often at once than it may run: raise its reserved concurrency",
            namespace="AWS/Lambda",
            metrics=("Throttles",),
            dimensions=called,
            statistic="Sum",
            minutes=5,
            missing="notBreaching",
        ),
        Alarm(
            name=f"{role}-dead-letters",
            about=f"{role} gave events up: look at them before the queue drops them",
            namespace="AWS/SQS",
            metrics=("ApproximateNumberOfMessagesVisible",),
            dimensions={"QueueName": queue_name},
            statistic="Maximum",
        ),
    )
