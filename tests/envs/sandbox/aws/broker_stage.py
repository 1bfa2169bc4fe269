"""An emulated account with a real broker behind its cluster."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from envs import toolchain
from envs.sandbox import broker
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import cluster_request, make_network, vpc_connectivity


@dataclass
class Stage:
    """An account with an ACTIVE cluster that has multi-VPC connectivity, as the program leaves it."""

    aws: Aws
    cluster: str

    def create_topic(self, name: str, partitions: int = 3, configs: dict[str, str] | None = None) -> None:
        self.aws.client("kafka").create_topic(
            ClusterArn=self.cluster,
            TopicName=name,
            PartitionCount=partitions,
            ReplicationFactor=3,
            Configs=encoded(configs or {}),
        )


def encoded(configs: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(configs).encode()).decode()


def open_stage(aws: Aws) -> Iterator[Stage]:
    """Starts the broker, makes the cluster ready, and stops the broker afterwards."""
    kafka = aws.client("kafka")
    network = make_network(aws.client("ec2"))
    arn = kafka.create_cluster(**cluster_request(network))["ClusterArn"]
    broker.start(aws.state_dir, aws.account.kafka_port, {}, toolchain.find())
    try:
        info = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]
        assert info["State"] == "ACTIVE"
        kafka.update_connectivity(
            ClusterArn=arn, CurrentVersion=info["CurrentVersion"], ConnectivityInfo=vpc_connectivity()
        )
        kafka.describe_cluster(ClusterArn=arn)
        yield Stage(aws, arn)
    finally:
        broker.stop(aws.state_dir)
