"""Settings of the Kafka cluster and of the archive that is filled from it."""

from typing import Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from infra.sections.common import Section, one_of, wrong
from infra.sections.network import ZONES

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
