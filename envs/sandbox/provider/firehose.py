"""Delivery streams into S3, from Kafka or by direct puts."""

from datetime import UTC, datetime
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import block, boolean, integer, sequence, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_SOURCE: Final = "internal/service/firehose/delivery_stream.go"
_PROCESSOR: Final = block(
    {
        "type": text(required=True),
        "parameters": unordered(
            block({"parameterName": text(required=True), "parameterValue": text(required=True)}), computed=True
        ),
    }
)
_S3: Final = {
    "bucketArn": text(required=True, api="BucketARN"),
    "bufferingInterval": integer(default=300, api="BufferingHints.IntervalInSeconds"),
    "bufferingSize": integer(default=5, api="BufferingHints.SizeInMBs"),
    "cloudwatchLoggingOptions": block(
        {"enabled": boolean(default=False), "logGroupName": text(), "logStreamName": text()},
        computed=True,
        api="CloudWatchLoggingOptions",
    ),
    "compressionFormat": text(default="UNCOMPRESSED"),
    "customTimeZone": text(default="UTC"),
    "errorOutputPrefix": text(),
    "fileExtension": text(),
    "kmsKeyArn": text(api="EncryptionConfiguration.KMSEncryptionConfig.AWSKMSKeyARN"),
    "prefix": text(),
    "processingConfiguration": block({"enabled": boolean(), "processors": sequence(_PROCESSOR)}, computed=True),
    "roleArn": text(required=True, api="RoleARN"),
    "s3BackupMode": text(default="Disabled", api="S3BackupMode"),
}
_MSK: Final = {
    "authenticationConfiguration": block(
        {"connectivity": text(required=True), "roleArn": text(required=True, api="RoleARN")}, required=True
    ),
    "mskClusterArn": text(required=True, api="MSKClusterARN"),
    "readFromTimestamp": text(),
    "topicName": text(required=True),
}
_SHOWN_BY_DEFAULT: Final = {
    "BufferIntervalInSeconds": "60",
    "BufferSizeInMBs": "1",
    "NumberOfRetries": "3",
}
"""Parameters of a Lambda processor that Firehose tells even if nobody set them (`flattenProcessingConfiguration`)."""


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("firehose").tag_delivery_stream(DeliveryStreamName=state["name"], Tags=tag_list(tags))


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("firehose").untag_delivery_stream(DeliveryStreamName=state["name"], TagKeys=keys)


def _destination(args: Args) -> dict[str, Any]:
    wanted = request(_S3, args["extendedS3Configuration"])
    return wanted | ({} if "EncryptionConfiguration" in wanted else {"EncryptionConfiguration": _PLAIN})


_PLAIN: Final = {"NoEncryptionConfig": "NoEncryption"}


def _create(aws: Aws, args: Args) -> str:
    if args["destination"] != "extended_s3" or not args.get("extendedS3Configuration"):
        raise ProviderError("the sandbox emulates delivery streams with the destination extended_s3 only")
    wanted: dict[str, Any] = {
        "DeliveryStreamName": args["name"],
        "DeliveryStreamType": "DirectPut",
        "ExtendedS3DestinationConfiguration": _destination(args),
    }
    if source := args.get("mskSourceConfiguration"):
        wanted |= {"DeliveryStreamType": "MSKAsSource", "MSKSourceConfiguration": request(_MSK, source)}
    tags = {"Tags": tag_list(args["tagsAll"])} if args.get("tagsAll") else {}
    return aws.client("firehose").create_delivery_stream(**wanted, **tags)["DeliveryStreamARN"]


def _finish(aws: Aws, identifier: str, args: Args) -> None:
    def active() -> bool:
        found = _stream(aws, args["name"])
        if found is None or found["DeliveryStreamStatus"] == "CREATING_FAILED":
            why = (found or {}).get("FailureDescription", {}).get("Details", "no reason was told")
            raise ProviderError(f"delivery stream {args['name']} failed: {why}")
        return found["DeliveryStreamStatus"] == "ACTIVE"

    aws.wait(f"delivery stream {identifier} becomes ACTIVE", active, minutes=30)


def _stream(aws: Aws, name: str) -> dict[str, Any] | None:
    describe = aws.client("firehose").describe_delivery_stream
    found = find(lambda: describe(DeliveryStreamName=name), "ResourceNotFoundException")
    return found and found["DeliveryStreamDescription"]


def _read(aws: Aws, identifier: str, prior: Args) -> Args | None:
    name = identifier.rpartition("/")[2]
    found = _stream(aws, name)
    if found is None:
        return None
    destination = found["Destinations"][0]
    s3 = answer(_S3, destination["ExtendedS3DestinationDescription"])
    _hide_defaults(s3, prior)
    source = found.get("Source", {}).get("MSKSourceDescription")
    tags = aws.client("firehose").list_tags_for_delivery_stream(DeliveryStreamName=name)["Tags"]
    return {
        "name": name,
        "arn": found["DeliveryStreamARN"],
        "destination": "extended_s3",
        "destinationId": destination["DestinationId"],
        "extendedS3Configuration": s3,
        "mskSourceConfiguration": _msk(source, prior) if source else None,
        "versionId": found["VersionId"],
        "tagsAll": tag_map(tags),
    }


def _msk(told: dict[str, Any], prior: Args) -> Args:
    source = answer(_MSK, told)
    wanted = (prior.get("mskSourceConfiguration") or {}).get("readFromTimestamp")
    since = source.pop("readFromTimestamp", None)
    # The epoch stands for "from the earliest record", which is what no time means.
    if isinstance(since, datetime) and (wanted or since.timestamp() > 0):
        source["readFromTimestamp"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return source


def _hide_defaults(s3: Args, prior: Args) -> None:
    sent = (prior.get("extendedS3Configuration") or {}).get("processingConfiguration") or {}
    said = {p["parameterName"] for each in sent.get("processors") or [] for p in each.get("parameters") or []}
    for processor in (s3.get("processingConfiguration") or {}).get("processors", []):
        if processor["type"] == "Lambda":
            processor["parameters"] = [
                parameter
                for parameter in processor.get("parameters", [])
                if parameter["parameterName"] in said
                or _SHOWN_BY_DEFAULT.get(parameter["parameterName"]) != parameter["parameterValue"]
            ]


def _update(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    if "extendedS3Configuration" not in changed:
        return
    current = _stream(aws, new["name"])
    if current is None:
        raise ProviderError(f"delivery stream {identifier} is gone")
    wanted = _destination(new)
    # Without one the stream would keep the processing that it has.
    wanted.setdefault("ProcessingConfiguration", {"Enabled": False, "Processors": []})
    aws.client("firehose").update_destination(
        DeliveryStreamName=new["name"],
        CurrentDeliveryStreamVersionId=current["VersionId"],
        DestinationId=current["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate=wanted,
    )


def _delete(aws: Aws, _: str, state: Args) -> None:
    with ignoring("ResourceNotFoundException"):
        aws.client("firehose").delete_delivery_stream(DeliveryStreamName=state["name"])


DELIVERY_STREAM: Final = Resource(
    type_name="aws:kinesis/firehoseDeliveryStream:FirehoseDeliveryStream",
    inputs={
        "arn": text(computed=True),
        "destination": text(required=True, same=lambda old, new: old.lower() == new.lower()),
        "destinationId": text(computed=True),
        "extendedS3Configuration": block(_S3),
        "mskSourceConfiguration": block(_MSK),
        "name": text(computed=True),
        "versionId": text(computed=True),
    },
    outputs=(),
    replaces=dict.fromkeys(
        (
            "destination",
            "mskSourceConfiguration",
            "mskSourceConfiguration.authenticationConfiguration.connectivity",
            "mskSourceConfiguration.authenticationConfiguration.roleArn",
            "mskSourceConfiguration.mskClusterArn",
            "mskSourceConfiguration.readFromTimestamp",
            "mskSourceConfiguration.topicName",
            "name",
        ),
        _SOURCE,
    ),
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=64),
    recomputed_by={"versionId": ("extendedS3Configuration",)},
)

RESOURCES: Final = (DELIVERY_STREAM,)
