"""The sections of an environment's settings: their keys, their ranges, and why a value is refused."""

import ipaddress
from collections.abc import Sequence
from typing import Final, Literal, TypeVar

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
    interface_endpoints: tuple[Literal["kafka", "sts"], ...] = Field(
        default=("kafka", "sts"), description="AWS APIs that private subnets reach without the internet: kafka, sts"
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
