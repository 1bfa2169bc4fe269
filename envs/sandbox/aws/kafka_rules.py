"""What MSK refuses: the rules of clusters, of their connectivity and of custom configurations, without any state.

Sources: Amazon MSK Developer Guide ("Supported Apache Kafka versions", "Amazon MSK broker sizes", "Custom Amazon MSK
configurations", "Amazon MSK multi-VPC private connectivity in a single Region", "Amazon MSK encryption"). Messages
that AWS is known to give are given in its words (hashicorp/terraform-provider-aws issues 8793, 9658, 31271 and 35538;
aws-cloudformation/cloudformation-coverage-roadmap issue 1775).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from moto.core.exceptions import ServiceException

SUPPORTED_VERSIONS: Final = (
    "3.6.0",
    "3.7.x",
    "3.7.x.kraft",
    "3.8.x",
    "3.8.x.kraft",
    "3.9.x",
    "3.9.x.kraft",
    "4.0.x.kraft",
    "4.1.x.kraft",
)
"""Versions that new clusters can have; the guide lists older ones with an end of support that is past."""

_SIZES: Final = {
    "t3": ("small",),
    "m5": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge"),
    "m7g": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"),
}
INSTANCE_TYPES: Final = tuple(f"kafka.{family}.{size}" for family, sizes in _SIZES.items() for size in sizes)
SMALL: Final = "kafka.t3.small"
_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*")

_BOOLEAN: Final = frozenset(
    {
        "allow.everyone.if.no.acl.found",
        "auto.create.topics.enable",
        "delete.topic.enable",
        "unclean.leader.election.enable",
    }
)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "compression.type": ("gzip", "snappy", "lz4", "zstd", "uncompressed", "producer"),
    "log.cleanup.policy": ("delete", "compact", "delete,compact", "compact,delete"),
    "log.message.timestamp.type": ("CreateTime", "LogAppendTime"),
}
_TEXT: Final = frozenset({"replica.selector.class"})
_RATIO: Final = frozenset({"log.cleaner.min.cleanable.ratio"})
_UNBOUNDED: Final = 2**63 - 1
_WHOLE: Final[Mapping[str, tuple[int, int]]] = {
    **dict.fromkeys(
        (
            "connections.max.idle.ms",
            "log.retention.bytes",
            "log.retention.hours",
            "log.retention.minutes",
            "log.retention.ms",
            "replica.socket.receive.buffer.bytes",
            "socket.receive.buffer.bytes",
            "socket.send.buffer.bytes",
        ),
        (-1, _UNBOUNDED),
    ),
    **dict.fromkeys(
        (
            "group.initial.rebalance.delay.ms",
            "group.max.session.timeout.ms",
            "group.min.session.timeout.ms",
            "leader.imbalance.per.broker.percentage",
            "log.cleaner.delete.retention.ms",
            "log.flush.interval.ms",
            "log.message.timestamp.difference.max.ms",
            "max.incremental.fetch.session.cache.slots",
            "message.max.bytes",
            "replica.fetch.max.bytes",
            "replica.fetch.response.max.bytes",
            "zookeeper.connection.timeout.ms",
        ),
        (0, _UNBOUNDED),
    ),
    **dict.fromkeys(
        (
            "default.replication.factor",
            "log.flush.interval.messages",
            "log.roll.ms",
            "log.segment.bytes",
            "min.insync.replicas",
            "num.io.threads",
            "num.network.threads",
            "num.partitions",
            "num.recovery.threads.per.data.dir",
            "num.replica.fetchers",
            "offsets.retention.minutes",
            "offsets.topic.replication.factor",
            "socket.request.max.bytes",
            "transaction.max.timeout.ms",
            "transaction.state.log.min.isr",
            "transaction.state.log.replication.factor",
            "transactional.id.expiration.ms",
        ),
        (1, _UNBOUNDED),
    ),
    "replica.lag.time.max.ms": (10_000, 30_000),
    "zookeeper.session.timeout.ms": (6_000, 18_000),
}
ALLOWED_PROPERTIES: Final = _BOOLEAN | _CHOICES.keys() | _TEXT | _RATIO | _WHOLE.keys()
"""The table of "Custom Amazon MSK configurations" (Standard brokers)."""


class MskError(ServiceException):
    """An error of MSK's model: code, message and, where one is to blame, the parameter's name."""

    def __init__(self, code: str, message: str, invalid_parameter: str | None = None) -> None:
        super().__init__(code, message)
        self.invalid_parameter = invalid_parameter


def refuse(message: str, parameter: str) -> MskError:
    """A BadRequestException about one parameter."""
    return MskError("BadRequestException", message, parameter)


def check_name(name: str, parameter: str) -> None:
    """Cluster and configuration names: letters, digits and hyphens."""
    if not _NAME.fullmatch(name):
        raise refuse("The parameter value contains one or more characters that are not valid.", parameter)


def check_version(version: str, parameter: str = "kafkaVersion") -> None:
    """The Kafka version is one that MSK offers for new clusters."""
    if version not in SUPPORTED_VERSIONS:
        raise refuse(f"Unsupported KafkaVersion [{version}]. Valid values: {list(SUPPORTED_VERSIONS)}", parameter)


def version_tuple(version: str) -> tuple[int, int]:
    """(major, minor) of a Kafka version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def check_instance_type(instance_type: str) -> None:
    """A Standard broker size."""
    if instance_type.startswith("express."):
        raise refuse(
            f"The emulated MSK has Standard brokers only, not {instance_type}: use one of {list(INSTANCE_TYPES)}",
            "instanceType",
        )
    if instance_type not in INSTANCE_TYPES:
        raise refuse(
            f"Unsupported InstanceType [{instance_type}]. Valid values: {list(INSTANCE_TYPES)}", "instanceType"
        )


def check_brokers(nodes: Mapping[str, Any], zones: Sequence[str], count: int) -> None:
    """The broker node group: `zones` are the Availability Zones of its client subnets, in their order."""
    if nodes.get("BrokerAZDistribution", "DEFAULT") != "DEFAULT":
        raise refuse("The only valid value of BrokerAZDistribution is DEFAULT.", "brokerAZDistribution")
    if not 2 <= len(zones) <= 3 or len(set(zones)) != len(zones):
        raise refuse(
            "The number of Availability Zones in the BrokerAZDistribution parameter must be equal to the number of "
            f"client subnets. Specify two or three client subnets, each in its own Availability Zone; these are in "
            f"{list(zones)}.",
            "clientSubnets",
        )
    if count % len(zones):
        raise refuse(
            "The number of broker nodes must be a multiple of Availability Zones in the Client Subnets parameter.",
            "numberOfBrokerNodes",
        )
    volume = (nodes.get("StorageInfo") or {}).get("EbsStorageInfo") or {}
    if not 1 <= volume.get("VolumeSize", 1000) <= 16384:
        raise refuse("The storage volume of a broker has 1 to 16384 GiB.", "volumeSize")
    throughput = volume.get("ProvisionedThroughput") or {}
    if throughput.get("Enabled") and nodes["InstanceType"].split(".")[2] in ("small", "large", "xlarge", "2xlarge"):
        raise refuse("Provisioned throughput needs brokers of size 4xlarge or larger.", "provisionedThroughput")


def vpc_schemes(connectivity: Mapping[str, Any] | None) -> set[str]:
    """Which authentication schemes of multi-VPC connectivity are on: "iam", "scram", "tls"."""
    return schemes(((connectivity or {}).get("VpcConnectivity") or {}).get("ClientAuthentication"))


def schemes(authentication: Mapping[str, Any] | None) -> set[str]:
    """Which schemes a ClientAuthentication switches on: "iam", "scram", "tls", "unauthenticated"."""
    authentication = authentication or {}
    sasl = authentication.get("Sasl") or {}
    parts = {
        "iam": sasl.get("Iam"),
        "scram": sasl.get("Scram"),
        "tls": authentication.get("Tls"),
        "unauthenticated": authentication.get("Unauthenticated"),
    }
    return {name for name, part in parts.items() if (part or {}).get("Enabled")}


def check_new_connectivity(connectivity: Mapping[str, Any] | None) -> None:
    """Neither public access nor multi-VPC connectivity can be on from the start."""
    if ((connectivity or {}).get("PublicAccess") or {}).get("Type", "DISABLED") != "DISABLED":
        raise refuse(
            "When creating a cluster, the only valid value for the Type parameter in PublicAccess is DISABLED.",
            "type",
        )
    if vpc_schemes(connectivity):
        raise refuse(
            "When creating a cluster, all vpcConnectivity auth schemes must be disabled ('enabled' : false). You can "
            "enable auth schemes after the cluster is created.",
            "vpcConnectivity.clientAuthentication",
        )


def check_connectivity(connectivity: Mapping[str, Any], cluster_schemes: set[str], instance_type: str) -> None:
    """Multi-VPC connectivity of a running cluster: not on t3.small, and only for schemes that the cluster has."""
    if ((connectivity.get("PublicAccess") or {}).get("Type", "DISABLED")) != "DISABLED":
        raise refuse("Public access is not emulated: a sandbox listens on the loopback interface only.", "type")
    wanted = vpc_schemes(connectivity)
    if wanted and instance_type == SMALL:
        raise refuse(
            f"Multi-VPC private connectivity isn't supported for the {SMALL} instance type.", "vpcConnectivity"
        )
    if wanted and "unauthenticated" in cluster_schemes:
        raise refuse("Unauthenticated clusters can't use multi-VPC private connectivity.", "vpcConnectivity")
    if missing := wanted - cluster_schemes:
        raise refuse(
            f"Multi-VPC private connectivity can't be on for {sorted(missing)}: turn these schemes on for the "
            "cluster first.",
            "vpcConnectivity.clientAuthentication",
        )


def check_security(authentication: Mapping[str, Any], encryption: Mapping[str, Any]) -> None:
    """Client authentication and encryption in transit fit each other."""
    enabled = schemes(authentication)
    in_transit = encryption["EncryptionInTransit"]["ClientBroker"]
    if not enabled:
        raise refuse("You must enable at least one client authentication method.", "clientAuthentication")
    if in_transit == "PLAINTEXT" and enabled - {"unauthenticated"}:
        raise refuse(
            f"{sorted(enabled - {'unauthenticated'})} needs TLS between clients and brokers: set clientBroker to "
            "TLS.",
            "encryptionInTransit",
        )
    if in_transit == "TLS_PLAINTEXT" and "unauthenticated" not in enabled:
        raise refuse(
            "PLAINTEXT between clients and brokers needs unauthenticated access: set clientBroker to TLS.",
            "encryptionInTransit",
        )


def parse_properties(text: str) -> dict[str, str]:
    """Reads a custom configuration's server.properties; raises for syntax, unknown keys and bad values."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#!":
            continue
        key, separator, value = (
            (part.strip() for part in re.split(r"([=:])", stripped, maxsplit=1))
            if re.search(r"[=:]", stripped)
            else (stripped, "", "")
        )
        if not separator or not key:
            raise refuse(f"Line {number} of server.properties is not of the form key = value: {stripped!r}", _PROPS)
        if key in found:
            raise refuse(f"Line {number} of server.properties sets {key} again.", _PROPS)
        if key not in ALLOWED_PROPERTIES:
            raise refuse(f"Unsupported server property [{key}]: custom MSK configurations cannot set it.", _PROPS)
        if problem := _value_problem(key, value):
            raise refuse(f"Invalid value [{value}] for server property [{key}]: {problem}.", _PROPS)
        found[key] = value
    return found


_PROPS: Final = "serverProperties"


def _value_problem(key: str, value: str) -> str | None:
    if key in _BOOLEAN:
        return None if value.lower() in ("true", "false") else "true or false"
    if key in _CHOICES:
        return None if value.replace(" ", "") in _CHOICES[key] else f"one of {list(_CHOICES[key])}"
    if key in _RATIO:
        return None if re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", value) else "a number from 0 to 1"
    if key in _WHOLE:
        low, high = _WHOLE[key]
        if not re.fullmatch(r"-?\d+", value) or not low <= int(value) <= high:
            return f"a whole number from {low}" + ("" if high == _UNBOUNDED else f" to {high}")
    return None if value else "a value is needed"
