"""A delivery stream's settings, read from what DescribeDeliveryStream answers.

Defaults and limits are those of the Firehose API Reference (BufferingHints, Processor, ProcessorParameter,
MSKSourceConfiguration). What is deployed but not executed here is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from envs.sandbox.firehose.errors import StreamError
from envs.sandbox.firehose.names import Names

MB: Final = 1024 * 1024
GROUP_PREFIX: Final = "firehose-"


@dataclass(frozen=True, kw_only=True)
class Transformation:
    """The Lambda function that records pass through, and how they are batched for it."""

    function_arn: str
    role_arn: str
    size_bytes: int
    interval_s: float
    retries: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One version of a delivery stream with an MSK source and an S3 destination."""

    name: str
    arn: str
    version: str
    region: str
    cluster_arn: str
    topic: str
    source_role_arn: str
    start_ms: int
    """Where reading begins in partitions without a committed offset: milliseconds since the epoch."""
    bucket: str
    role_arn: str
    size_bytes: int
    interval_s: float
    names: Names
    gzip: bool
    delimiter: bytes
    kms_key_arn: str | None
    transformation: Transformation | None
    log_group: str | None
    log_stream: str | None

    @property
    def group(self) -> str:
        """The consumer group of a stream, which outlives its versions."""
        return f"{GROUP_PREFIX}{self.name}"


def from_description(description: Mapping[str, Any]) -> Settings:
    """Settings of an ACTIVE stream. Raises `StreamError` for what cannot be executed, naming each such setting."""
    name = description["DeliveryStreamName"]
    status = description["DeliveryStreamStatus"]
    if status != "ACTIVE":
        raise StreamError(f"delivery stream {name} is {status}: only an ACTIVE one is executed")
    source = description.get("Source", {}).get("MSKSourceDescription")
    destinations = description.get("Destinations") or [{}]
    s3 = destinations[0].get("ExtendedS3DestinationDescription")
    refusals = _refusals(source, s3)
    if refusals or source is None or s3 is None:
        raise StreamError(f"delivery stream {name} cannot be executed here: " + "; ".join(refusals))
    start = source.get("ReadFromTimestamp") or description["CreateTimestamp"]
    processors = {processor["Type"]: _parameters(processor) for processor in _processors(s3)}
    compressed = s3.get("CompressionFormat", "UNCOMPRESSED") == "GZIP"
    hints = s3.get("BufferingHints", {})
    logging = s3.get("CloudWatchLoggingOptions", {})
    version = description.get("VersionId", "1")
    return Settings(
        name=name,
        arn=description["DeliveryStreamARN"],
        version=version,
        region=description["DeliveryStreamARN"].split(":")[3],
        cluster_arn=source["MSKClusterARN"],
        topic=source["TopicName"],
        source_role_arn=source["AuthenticationConfiguration"]["RoleARN"],
        start_ms=_milliseconds(start),
        bucket=s3["BucketARN"].rpartition(":")[2],
        role_arn=s3["RoleARN"],
        size_bytes=int(hints.get("SizeInMBs", 5)) * MB,
        interval_s=float(hints.get("IntervalInSeconds", 300)),
        names=Names(
            stream=name,
            version=version,
            prefix=s3.get("Prefix") or "",
            error_prefix=s3.get("ErrorOutputPrefix") or "",
            extension=s3.get("FileExtension") or (".gz" if compressed else ""),
            zone=_zone(s3.get("CustomTimeZone") or "UTC"),
        ),
        gzip=compressed,
        delimiter=_delimiter(processors.get("AppendDelimiterToRecord")),
        kms_key_arn=s3.get("EncryptionConfiguration", {}).get("KMSEncryptionConfig", {}).get("AWSKMSKeyARN"),
        transformation=_transformation(processors.get("Lambda"), s3["RoleARN"]),
        log_group=logging.get("LogGroupName") if logging.get("Enabled") else None,
        log_stream=logging.get("LogStreamName") if logging.get("Enabled") else None,
    )


def _refusals(source: Mapping[str, Any] | None, s3: Mapping[str, Any] | None) -> list[str]:
    found = []
    if source is None:
        found.append("its source is not an MSK topic")
    if s3 is None:
        return [*found, "its destination is not S3"]
    if (compression := s3.get("CompressionFormat", "UNCOMPRESSED")) not in ("UNCOMPRESSED", "GZIP"):
        found.append(f"compression {compression} is not executed, GZIP and UNCOMPRESSED are")
    if s3.get("DynamicPartitioningConfiguration", {}).get("Enabled"):
        found.append("dynamic partitioning is not executed")
    if s3.get("DataFormatConversionConfiguration", {}).get("Enabled"):
        found.append("data format conversion is not executed")
    if s3.get("S3BackupMode", "Disabled") != "Disabled":
        found.append("backup of source records is not executed")
    found += [
        f"processor {processor['Type']} is not executed"
        for processor in _processors(s3)
        if processor["Type"] not in ("Lambda", "AppendDelimiterToRecord")
    ]
    return found


def _processors(s3: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    processing = s3.get("ProcessingConfiguration", {})
    return list(processing.get("Processors", [])) if processing.get("Enabled") else []


def _parameters(processor: Mapping[str, Any]) -> dict[str, str]:
    return {entry["ParameterName"]: entry["ParameterValue"] for entry in processor.get("Parameters", [])}


def _transformation(parameters: Mapping[str, str] | None, role_arn: str) -> Transformation | None:
    if parameters is None:
        return None
    return Transformation(
        function_arn=parameters["LambdaArn"],
        role_arn=parameters.get("RoleArn", role_arn),
        size_bytes=int(float(parameters.get("BufferSizeInMBs", "1")) * MB),
        interval_s=float(parameters.get("BufferIntervalInSeconds", "60")),
        retries=int(parameters.get("NumberOfRetries", "3")),
    )


def _delimiter(parameters: Mapping[str, str] | None) -> bytes:
    # The API takes the two characters \n for a line feed.
    return b"" if parameters is None else parameters.get("Delimiter", "\\n").replace("\\n", "\n").encode()


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise StreamError(f"CustomTimeZone {name} is unknown on this machine") from error


def _milliseconds(moment: datetime | float) -> int:
    return int((moment.timestamp() if isinstance(moment, datetime) else moment) * 1000)
