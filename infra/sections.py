"""The sections of an environment's settings: their keys, their ranges, and why a value is refused."""

import ipaddress
import re
from collections.abc import Sequence
from datetime import date
from typing import Final, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Value = TypeVar("Value", str, int)

ZONES: Final = 3
"""Availability zones that brokers are spread over: MSK takes two or three, and three survive the loss of one."""

KAFKA_VERSIONS: Final = (
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
"""What MSK offers from 3.6 on, the first version with topics as AWS resources (MSK Developer Guide, "Supported Apache
Kafka versions", "KRaft mode")."""

_SIZES: Final = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
INSTANCE_TYPES: Final = (
    *(f"kafka.m7g.{size}" for size in _SIZES),
    *(f"kafka.m5.{size}" for size in (*_SIZES, "24xlarge")),
)
"""Standard broker sizes with multi-VPC connectivity (MSK Developer Guide, "Amazon MSK broker sizes")."""

LOG_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
    *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""What CloudWatch Logs accepts (API Reference, PutRetentionPolicy). "Never" is not among them on purpose."""

FILE_AGES: Final = (1, 7, 14, 30, 60, 90, 180, 270, 365)
"""Days after which EFS moves files that nobody reads (API Reference, LifecyclePolicy)."""

Nat = Literal["none", "one", "per_zone"]
"""NAT gateways: what private subnets reach the internet through."""

InterfaceEndpoint = Literal[
    "kafka",
    "sts",
    "ssm",
    "ssmmessages",
    "ec2messages",
    "secretsmanager",
    "logs",
    "monitoring",
    "lambda",
    "sqs",
    "autoscaling",
    "ec2",
    "kms",
]
"""AWS APIs that the platform calls (AWS PrivateLink Guide, "AWS services that integrate with AWS PrivateLink")."""

MANAGEMENT_PORTS: Final = (19000, 19080)
"""Service Fabric's client connections and HTTP gateway (standalone cluster configuration, nodeTypes)."""

NEVER_OPEN: Final = (22, 135, 139, 445, 3389, 5985, 5986, *MANAGEMENT_PORTS)
"""SSH, RPC, SMB, RDP, WinRM and Service Fabric: no load balancer offers them to the world."""

LISTENERS: Final = 50
RULES_PER_GROUP: Final = 60
"""Quotas of Elastic Load Balancing ("Quotas for your Network Load Balancers") and of security groups ("Amazon VPC
quotas"), in which a rule with a prefix list counts as many times as the list may have entries."""

_PRIVATE: Final = tuple(ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


class Section(BaseModel):
    """A group of settings: unknown keys are refused, types are taken literally, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def wrong(message: str) -> PydanticCustomError:
    """A refusal in our own words; pydantic's templates would trip over braces in values."""
    return PydanticCustomError("setting", "{message}", {"message": message})


def one_of(value: Value, allowed: Sequence[Value]) -> Value:
    """The value when it is one of a list; the refusal shows the list."""
    if value not in allowed:
        raise wrong(f"{value!r} is not one of {', '.join(map(str, allowed))}")
    return value


class Network(Section):
    """The VPC."""

    cidr: str = Field(description="the VPC's IPv4 range, private, from /16 to /22, such as 10.20.0.0/16")
    zones: tuple[str, ...] = Field(
        description="three to six availability zones by name, such as eu-central-1a; add new ones at the end"
    )
    nat: Nat = Field(
        default="one",
        description="how private subnets reach the internet: none, one gateway for all, or per_zone, which survives "
        "the loss of a zone",
    )
    interface_endpoints: tuple[InterfaceEndpoint, ...] = Field(
        default=("kafka", "sts"),
        description="AWS APIs that private subnets reach without the internet, each for a price a zone and hour: "
        f"{', '.join(get_args(InterfaceEndpoint))}",
    )

    @field_validator("cidr")
    @classmethod
    def _cidr(cls, value: str) -> str:
        try:
            block = ipaddress.IPv4Network(value)
        except ValueError as error:
            raise wrong(f"{value!r} is no IPv4 range ({error}): write one such as 10.20.0.0/16") from error
        if not any(block.subnet_of(private) for private in _PRIVATE):
            raise wrong(f"{value} is not private: choose it within {', '.join(map(str, _PRIVATE))}")
        if not 16 <= block.prefixlen <= 22:
            raise wrong(
                f"/{block.prefixlen} does not fit: AWS takes at most a /16, and public and private subnets in three "
                "zones or more need at least a /22"
            )
        return value

    @field_validator("zones")
    @classmethod
    def _zones(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        region = (info.context or {}).get("region")
        if not ZONES <= len(value) <= 6:
            raise wrong(f"{len(value)} zones: name three to six")
        if repeated := {zone for zone in value if value.count(zone) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each zone once")
        if region and (foreign := [zone for zone in value if not zone.startswith(region)]):
            raise wrong(f"{', '.join(foreign)} is not in aws:region {region}: name zones of that region")
        return value

    @field_validator("interface_endpoints")
    @classmethod
    def _interface_endpoints(cls, value: tuple[InterfaceEndpoint, ...]) -> tuple[InterfaceEndpoint, ...]:
        if repeated := {service for service in value if value.count(service) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each API once")
        return value


class Partitions(Section):
    """Partitions of each topic. They can grow later, never shrink."""

    telemetry: int = Field(default=6, ge=1, le=1000, description="partitions of the telemetry topic, 1 to 1000")
    canary: int = Field(default=3, ge=1, le=100, description="partitions of the canary topic, 1 to 100")


class Streaming(Section):
    """The Kafka cluster (MSK)."""

    kafka_version: str = Field(
        default="3.9.x.kraft", description="a Kafka version that MSK offers, 3.6 or later, such as 3.9.x.kraft"
    )
    instance_type: str = Field(
        default="kafka.m7g.large", description="a Standard broker size, such as kafka.m7g.large"
    )
    brokers: int = Field(default=3, ge=3, le=60, description="brokers in all: 3, 6, 9 and so on up to 60")
    storage_gb: int = Field(default=100, ge=1, le=16384, description="disk of each broker in GiB, 1 to 16384")
    retention_hours: int = Field(
        default=72, ge=1, le=8760, description="how long messages stay in Kafka, 1 to 8760 hours"
    )
    monitoring: Literal["DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION"] = Field(
        default="PER_BROKER", description="MSK's monitoring level"
    )
    partitions: Partitions = Field(default_factory=lambda: Partitions(), description="partitions of each topic")

    @field_validator("kafka_version")
    @classmethod
    def _kafka_version(cls, value: str) -> str:
        return one_of(value, KAFKA_VERSIONS)

    @field_validator("instance_type")
    @classmethod
    def _instance_type(cls, value: str) -> str:
        if value == "kafka.t3.small":
            raise wrong(
                "kafka.t3.small has no multi-VPC connectivity, through which the archive's delivery stream reads: "
                "use kafka.m7g.large or larger"
            )
        return one_of(value, INSTANCE_TYPES)

    @field_validator("brokers")
    @classmethod
    def _brokers(cls, value: int) -> int:
        if value % ZONES:
            raise wrong(f"{value} brokers cannot be spread evenly over {ZONES} zones: use a multiple of {ZONES}")
        return value


class Archive(Section):
    """The delivery stream and the bucket it fills."""

    buffer_mb: int = Field(
        default=128, ge=1, le=128, description="an object is written when this much has come, 1 to 128 MB"
    )
    buffer_seconds: int = Field(default=300, ge=0, le=900, description="or when this long has passed, 0 to 900 s")
    gate_buffer_mb: float = Field(
        default=1, ge=0.2, le=3, description="records for one call of the gate, 0.2 to 3 MB"
    )
    gate_buffer_seconds: int = Field(default=60, ge=0, le=900, description="or when this long has passed, 0 to 900 s")
    infrequent_access_days: int = Field(
        default=30, ge=30, le=3650, description="days until objects move to cheaper storage, at least S3's 30"
    )
    expiration_days: int = Field(
        default=365, ge=31, le=36500, description="days until objects are deleted, at least 31"
    )

    @field_validator("expiration_days")
    @classmethod
    def _expiration_days(cls, value: int, info: ValidationInfo) -> int:
        moved = info.data.get("infrequent_access_days")
        if moved is not None and value <= moved:
            raise wrong(f"{value} days are over before objects move to cheaper storage after {moved}: raise it")
        return value


class Function(Section):
    """One Lambda function."""

    memory_mb: int = Field(default=512, ge=128, le=10240, description="memory in MB, 128 to 10240; CPU grows with it")
    timeout_seconds: int = Field(default=60, ge=1, le=900, description="time limit of one call, 1 to 900 s")
    reserved_concurrency: int | None = Field(
        default=None, ge=1, le=1000, description="calls at once that are set aside for it, 1 to 1000; null: none"
    )


class Functions(Section):
    """The functions around the stream."""

    archive_gate: Function = Field(default_factory=lambda: Function(), description="its memory and time")

    @field_validator("archive_gate")
    @classmethod
    def _archive_gate(cls, value: Function) -> Function:
        if value.timeout_seconds > 300:
            raise wrong(f"timeout_seconds {value.timeout_seconds}: Firehose waits 300 s at most: lower it")
        return value


class Filesystem(Section):
    """The shared file system (EFS)."""

    infrequent_access_days: int | None = Field(
        default=30, description="days unread until files move to cheaper storage, one of EFS's steps; null: never"
    )
    archive_days: int | None = Field(
        default=90, description="days unread until they move to the cheapest, one of EFS's steps; null: never"
    )
    backup: bool = Field(default=False, description="true: AWS Backup copies all files every day")

    @field_validator("infrequent_access_days", "archive_days")
    @classmethod
    def _step(cls, value: int | None) -> int | None:
        return value if value is None else one_of(value, FILE_AGES)

    @field_validator("archive_days")
    @classmethod
    def _archive_days(cls, value: int | None, info: ValidationInfo) -> int | None:
        moved = info.data.get("infrequent_access_days")
        if value is not None and moved is not None and value <= moved:
            raise wrong(f"{value} days are over before files move to cheaper storage after {moved}: raise it")
        return value


class TrafficPort(Section):
    """One port that the services are reached at."""

    port: int = Field(ge=1, le=65535, description="where the world connects, 1 to 65535")
    target_port: int = Field(ge=1, le=65535, description="where the nodes listen, 1 to 65535")

    @field_validator("port")
    @classmethod
    def _port(cls, value: int) -> int:
        if value in NEVER_OPEN:
            raise wrong(f"{value} is for administration and never open to the world: use another port")
        return value


class ManagementClient(Section):
    """Who may reach the cluster's management ports."""

    cidr: str = Field(description="a private IPv4 range, such as 10.20.0.0/16")
    description: str = Field(min_length=1, max_length=255, description="who that is")

    @field_validator("cidr")
    @classmethod
    def _cidr(cls, value: str) -> str:
        try:
            block = ipaddress.IPv4Network(value)
        except ValueError as error:
            raise wrong(f"{value!r} is no IPv4 range ({error}): write one such as 10.20.0.0/16") from error
        if block.prefixlen < 8:
            raise wrong(f"{value} is wider than a /8: name the networks that need it")
        if not any(block.subnet_of(private) for private in _PRIVATE):
            raise wrong(f"{value} is not private: choose it within {', '.join(map(str, _PRIVATE))}")
        return value


class Ingress(Section):
    """The load balancers: one for traffic, one for management."""

    traffic: tuple[TrafficPort, ...] = Field(
        default=(TrafficPort(port=443, target_port=8443),),
        description="ports of the services, such as {port: 443, target_port: 8443}",
    )
    management_clients_max: int = Field(
        default=10,
        ge=1,
        le=RULES_PER_GROUP // len(MANAGEMENT_PORTS),
        description="entries set aside for management_clients, 1 to 30",
    )
    management_clients: tuple[ManagementClient, ...] = Field(
        default=(), description="who may reach the management ports, such as {cidr: 10.20.0.0/16, description: us}"
    )
    cross_zone: bool = Field(
        default=False, description="true: nodes of all zones share the load evenly, at the price of traffic between"
    )

    @field_validator("traffic")
    @classmethod
    def _traffic(cls, value: tuple[TrafficPort, ...]) -> tuple[TrafficPort, ...]:
        ports = [each.port for each in value]
        if not 1 <= len(ports) <= LISTENERS:
            raise wrong(f"{len(ports)} ports: a network load balancer has 1 to {LISTENERS} listeners")
        if repeated := {port for port in ports if ports.count(port) > 1}:
            raise wrong(f"{', '.join(map(str, sorted(repeated)))} is named twice: name each port once")
        return value

    @field_validator("management_clients")
    @classmethod
    def _management_clients(
        cls, value: tuple[ManagementClient, ...], info: ValidationInfo
    ) -> tuple[ManagementClient, ...]:
        ranges = [each.cidr for each in value]
        if repeated := {cidr for cidr in ranges if ranges.count(cidr) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each range once")
        most = info.data.get("management_clients_max")
        if most is not None and len(value) > most:
            raise wrong(f"{len(value)} ranges do not fit into {most}: raise management_clients_max")
        return value


class Monitoring(Section):
    """Alarms: whom they tell, and from which values on."""

    alarm_emails: tuple[str, ...] = Field(
        default=(), description="addresses that alarms are sent to; each confirms by mail before it gets any"
    )
    disk_percent: int = Field(default=80, ge=1, le=99, description="how full a broker's disk may be, 1 to 99 %")
    cpu_percent: int = Field(default=60, ge=1, le=99, description="how busy a broker may be, 1 to 99 %")
    under_replicated_minutes: int = Field(
        default=15, ge=1, le=180, description="how long replicas may lag, such as in a restart, 1 to 180 minutes"
    )
    freshness_seconds: int = Field(
        default=1200, ge=60, le=86400, description="how late the archive may be, 60 to 86400 s"
    )
    lag_messages: int = Field(
        default=5_000_000, ge=1, description="how many messages the archive may be behind the topic, 1 or more"
    )
    function_errors: int = Field(
        default=5, ge=0, description="failed calls of a function in a minute that are no alarm, 0 or more"
    )

    @field_validator("alarm_emails")
    @classmethod
    def _alarm_emails(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if odd := [address for address in value if not re.fullmatch(r"[^@\s:]+@[^@\s:]+\.[^@\s:]+", address)]:
            raise wrong(f"{', '.join(odd)} is no mail address: write one such as team@example.com")
        if repeated := {address for address in value if value.count(address) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each address once")
        return value


class Fleet(Section):
    """The machines of the Service Fabric cluster."""

    seeds: int = Field(default=5, ge=3, le=9, description="seed nodes: 3, 5, 7 or 9; production has at least 5")
    seed_instance_type: str = Field(default="m6i.large", description="size of a seed, x86-64, such as m6i.large")
    worker_instance_type: str = Field(default="m6i.xlarge", description="size of a worker, such as m6i.xlarge")
    workers_max: int = Field(default=10, ge=1, le=500, description="workers at most, 1 to 500")
    root_gb: int = Field(default=80, ge=50, le=1024, description="system disk of each machine in GiB, 50 to 1024")
    seed_data_gb: int = Field(
        default=100, ge=10, le=16384, description="data disk of each seed in GiB, 10 to 16384; it outlives machines"
    )
    worker_data_gb: int = Field(
        default=100, ge=10, le=16384, description="data disk of each worker in GiB, 10 to 16384; it goes with it"
    )
    certificate_secret_arn: str | None = Field(
        default=None, description="the secret with the cluster's certificate (PFX, binary); null: not yet"
    )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: int) -> int:
        if value % 2 == 0:
            raise wrong(
                f"{value} seeds survive the loss of no more than {value - 1} would, as a majority must be left: use "
                "an odd number"
            )
        return value

    @field_validator("seed_instance_type", "worker_instance_type")
    @classmethod
    def _instance_type(cls, value: str) -> str:
        found = re.fullmatch(r"([a-z]+\d+)([a-z-]*[a-z0-9]*)\.[a-z0-9-]+", value)
        if found is None:
            raise wrong(f"{value!r} is no instance type: write one such as m6i.large")
        if found[2].startswith("g") or value.startswith("a1."):
            raise wrong(f"{value} has an ARM processor, on which Windows does not run: use one such as m6i.large")
        return value

    @field_validator("certificate_secret_arn")
    @classmethod
    def _certificate_secret_arn(cls, value: str | None) -> str | None:
        form = r"arn:aws:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+"
        if value is not None and not re.fullmatch(form, value):
            raise wrong(f"{value!r} is no secret's ARN: copy it from Secrets Manager")
        return value


class Operations(Section):
    """How long things are kept, and how they are guarded against being lost."""

    log_retention_days: int = Field(default=30, description="days that logs are kept, one of CloudWatch's steps")
    key_deletion_days: int = Field(default=30, ge=7, le=30, description="days until a deleted key is gone, 7 to 30")
    disposable: bool = Field(
        default=False, description="true: taking the environment down deletes the archive's objects too"
    )
    protect_data: bool = Field(
        default=False, description="true: Pulumi refuses to delete the cluster, the archive and keys"
    )
    expires: date | None = Field(
        default=None, description="the last day it is meant to stand, such as 2026-12-31; becomes a tag"
    )
    budget_email: str | None = Field(default=None, description="who is written to when the budget runs out")
    monthly_budget_usd: int | None = Field(
        default=None, ge=1, le=1_000_000, description="what a month may cost in USD; null: no budget"
    )

    @field_validator("budget_email")
    @classmethod
    def _budget_email(cls, value: str | None) -> str | None:
        # AWS Budgets API Reference, Subscriber: an address has an @ and at most 50 characters.
        if value is not None and not (re.fullmatch(r"[^\s@]+@[^\s@]+", value) and len(value) <= 50):
            raise wrong(f"{value!r} is no e-mail address of up to 50 characters: write one such as a@example.com")
        return value

    @field_validator("monthly_budget_usd")
    @classmethod
    def _monthly_budget_usd(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("budget_email", "") is None:
            raise wrong("nobody would hear of it: name somebody in budget_email")
        return value

    @field_validator("log_retention_days")
    @classmethod
    def _log_retention_days(cls, value: int) -> int:
        return one_of(value, LOG_RETENTION_DAYS)

    @field_validator("protect_data")
    @classmethod
    def _protect_data(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("disposable"):
            raise wrong("data cannot be both protected and disposable: set one of the two to false")
        return value
