"""Firehose: delivery streams that read an MSK topic, validated as Firehose does and described as they were given.

moto drops the MSK source and fills no defaults in. A stream is seen CREATING once; then it is ACTIVE, or
CREATING_FAILED when the cluster's policy does not let Firehose in, which AWS finds out only while it creates the
connection (the failure that hashicorp/terraform-provider-aws pull request 48946 shows). What the roles may do beyond
being assumed is not looked at here: AWS finds that out at delivery.
"""

import json
from typing import Any, ClassVar, Final

from moto.awslambda.models import lambda_backends
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.firehose import urls
from moto.firehose.exceptions import (
    ConcurrentModificationException,
    InvalidArgumentException,
    ResourceNotFoundException,
)
from moto.firehose.models import DeliveryStream, FirehoseBackend, firehose_backends
from moto.firehose.responses import FirehoseResponse
from moto.kafka.models import kafka_backends
from moto.kms.models import kms_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends

from envs.sandbox.aws import firehose_rules as rules
from envs.sandbox.aws import policy, sts
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.kafka import MskBackend
from envs.sandbox.aws.kafka_models import Cluster
from envs.sandbox.aws.kafka_rules import SMALL, MskError

_SERVICE: Final = "firehose.amazonaws.com"
_PLAIN: Final = {"NoEncryptionConfig": "NoEncryption"}
_DEFAULTS: Final[dict[str, Any]] = {
    "CompressionFormat": "UNCOMPRESSED",
    "EncryptionConfiguration": _PLAIN,
    "CloudWatchLoggingOptions": {"Enabled": False},
    "S3BackupMode": "Disabled",
    "CustomTimeZone": "UTC",
}
_HINTS: Final = {"SizeInMBs": 5, "IntervalInSeconds": 300}
_OF_S3: Final = (
    "RoleARN",
    "BucketARN",
    "Prefix",
    "ErrorOutputPrefix",
    "BufferingHints",
    "CompressionFormat",
    "EncryptionConfiguration",
    "CloudWatchLoggingOptions",
)


class StreamsBackend(FirehoseBackend):
    """moto's backend, with what it loses and accepts too easily."""

    host: ClassVar[Host]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.msk_sources: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, dict[str, str]] = {}
        self.unseen: set[str] = set()

    @property
    def _url_module(self) -> Any:
        return urls

    def create(self, request: dict[str, Any]) -> str:
        """CreateDeliveryStream; returns the ARN. Raises InvalidArgumentException for what Firehose refuses."""
        kind = request.get("DeliveryStreamType") or "DirectPut"
        source = request.get("MSKSourceConfiguration")
        s3 = request.get("ExtendedS3DestinationConfiguration")
        if (source is not None) != (kind == "MSKAsSource"):
            raise InvalidArgumentException("MSKSourceConfig is only applicable for MSKAsSource stream type.")
        if source is not None and s3 is None:
            raise InvalidArgumentException("A stream with an MSK source delivers to an ExtendedS3 destination.")
        encryption = request.get("DeliveryStreamEncryptionConfigurationInput")
        if encryption and kind != "DirectPut":
            raise InvalidArgumentException("Server-side encryption of the stream is for DirectPut streams only.")
        if s3 is not None:
            self._check_s3(s3)
        failure = None if source is None else self._check_source(source)
        name = request["DeliveryStreamName"]
        arn = self.create_delivery_stream(
            self.region_name,
            name,
            kind,
            request.get("KinesisStreamSourceConfiguration"),  # type: ignore[arg-type]
            encryption,  # type: ignore[arg-type]
            request.get("S3DestinationConfiguration"),  # type: ignore[arg-type]
            dict(s3) if s3 else None,  # type: ignore[arg-type]
            request.get("RedshiftDestinationConfiguration"),  # type: ignore[arg-type]
            request.get("ElasticsearchDestinationConfiguration"),  # type: ignore[arg-type]
            request.get("SplunkDestinationConfiguration"),  # type: ignore[arg-type]
            request.get("HttpEndpointDestinationConfiguration"),  # type: ignore[arg-type]
            request.get("SnowflakeDestinationConfiguration"),  # type: ignore[arg-type]
            request.get("IcebergDestinationConfiguration"),  # type: ignore[arg-type]
            request.get("Tags"),  # type: ignore[arg-type]
        )
        self.unseen.add(name)
        if source is not None:
            self.msk_sources[name] = source
        if failure is not None:
            self.failures[name] = {"Type": "CREATE_PRIVATE_LINK_FAILED", "Details": failure}
        return arn

    def delete_delivery_stream(self, delivery_stream_name: str) -> None:
        super().delete_delivery_stream(delivery_stream_name)
        self.msk_sources.pop(delivery_stream_name, None)
        self.failures.pop(delivery_stream_name, None)
        self.unseen.discard(delivery_stream_name)

    def describe(self, name: str) -> dict[str, Any]:
        """DescribeDeliveryStream's description."""
        told = self.describe_delivery_stream(name)["DeliveryStreamDescription"]
        stream = self._stream(name)
        status = "CREATING_FAILED" if name in self.failures else "ACTIVE"
        told["DeliveryStreamStatus"] = "CREATING" if name in self.unseen else status
        if status == "CREATING_FAILED" and name not in self.unseen:
            told["FailureDescription"] = self.failures[name]
        self.unseen.discard(name)
        if source := self.msk_sources.get(name):
            told["Source"] = {"MSKSourceDescription": {**source, "DeliveryStartTimestamp": stream.create_timestamp}}
        for destination, given in zip(told["Destinations"], stream.destinations, strict=True):
            if "ExtendedS3" in given:
                extended = _described(given["ExtendedS3"])
                destination["ExtendedS3DestinationDescription"] = extended
                destination["S3DestinationDescription"] = {key: extended[key] for key in _OF_S3 if key in extended}
        return told

    def update(self, request: dict[str, Any]) -> bool:
        """UpdateDestination of an ExtendedS3 destination; False when the request is about another kind."""
        change = request.get("ExtendedS3DestinationUpdate")
        if change is None:
            return False
        stream = self._stream(request["DeliveryStreamName"])
        current = request["CurrentDeliveryStreamVersionId"]
        if stream.version_id != current:
            raise ConcurrentModificationException(
                f"The current version id of {stream.delivery_stream_name} is {stream.version_id}, not {current}."
            )
        destination = next(
            (each for each in stream.destinations if each["destination_id"] == request["DestinationId"]), None
        )
        if destination is None or "ExtendedS3" not in destination:
            raise InvalidArgumentException(f"Destination Id {request['DestinationId']} not found.")
        merged = {**destination["ExtendedS3"], **change}
        self._check_s3(merged)
        destination["ExtendedS3"] = merged
        stream.version_id = str(int(stream.version_id) + 1)
        stream.last_update_timestamp = utcnow()
        return True

    def _stream(self, name: str) -> DeliveryStream:
        found = self.delivery_streams.get(name)
        if found is None:
            raise ResourceNotFoundException(f"Firehose {name} under account {self.account_id} not found.")
        return found

    def _check_s3(self, s3: dict[str, Any]) -> None:
        rules.check_destination(s3)
        self._check_role(s3["RoleARN"])
        bucket = s3["BucketARN"].rpartition(":")[2]
        if bucket not in s3_backends[self.account_id][self.partition].buckets:
            raise InvalidArgumentException(f"The bucket {bucket} does not exist.")
        key = ((s3.get("EncryptionConfiguration") or {}).get("KMSEncryptionConfig") or {}).get("AWSKMSKeyARN")
        if key and kms_backends[self.account_id][self.region_name].get_key_id(key) not in self._kms_keys():
            raise InvalidArgumentException(f"The KMS key {key} does not exist.")
        self._check_logging(s3.get("CloudWatchLoggingOptions") or {})
        for processor in rules.processors(s3):
            if function := rules.parameters(processor).get("LambdaArn"):
                self._check_function(function)

    def _kms_keys(self) -> Any:
        return kms_backends[self.account_id][self.region_name].keys

    def _check_logging(self, options: dict[str, Any]) -> None:
        if not options.get("Enabled"):
            return
        group, stream = options.get("LogGroupName"), options.get("LogStreamName")
        groups = logs_backends[self.account_id][self.region_name].groups
        if not group or not stream:
            raise InvalidArgumentException("CloudWatch logging needs LogGroupName and LogStreamName.")
        if group not in groups or stream not in groups[group].streams:
            raise InvalidArgumentException(f"The log stream {stream} of the log group {group} does not exist.")

    def _check_function(self, arn: str) -> None:
        known = lambda_backends[self.account_id][self.region_name].list_functions()
        plain = ":".join(arn.split(":")[:7])
        if plain not in {":".join(each.function_arn.split(":")[:7]) for each in known}:
            raise InvalidArgumentException(f"The function {arn} does not exist.")

    def _check_role(self, arn: str) -> None:
        try:
            sts.trusted_role(self.host.account, arn, _SERVICE)
        except sts.TrustError as error:
            raise InvalidArgumentException(
                f"Firehose is unable to assume role {arn}. Please check the role provided. ({error})"
            ) from error

    def _check_source(self, source: dict[str, Any]) -> str | None:
        """Refuses an MSK source that cannot be; returns why the connection to it will fail, if it will."""
        backend = kafka_backends[self.account_id][self.region_name]
        assert isinstance(backend, MskBackend)  # noqa: S101 (for the type checker; `kafka.install` sees to it)
        arn, topic = source["MSKClusterARN"], source["TopicName"]
        authentication = source["AuthenticationConfiguration"]
        self._check_role(authentication["RoleARN"])
        try:
            cluster = backend.cluster(arn)
            _check_cluster(cluster, authentication["Connectivity"])
            if not backend.topic_exists(arn, topic):
                raise InvalidArgumentException(f"The topic {topic} does not exist in the MSK cluster {arn}.")
        except MskError as error:
            raise InvalidArgumentException(f"The MSK cluster {arn} cannot be a source: {error.message}") from error
        call = policy.Call(
            "kafka:CreateVpcConnection",
            service=_SERVICE,
            context={"aws:SourceAccount": self.account_id},
            ignored=frozenset({"aws:sourcearn"}),
        )
        if cluster.policy is not None and policy.allows(cluster.policy[0], call):
            return None
        return f"AWS Firehose is not authorized to perform kafka:CreateVpcConnection on resource {arn}"


class _Response(FirehoseResponse):
    """moto's responses, with the parameters that they do not pass on."""

    @property
    def _streams(self) -> StreamsBackend:
        backend = self.firehose_backend
        assert isinstance(backend, StreamsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        return backend

    def create_delivery_stream(self) -> ActionResult:
        return ActionResult({"DeliveryStreamARN": self._streams.create(dict(self.params))})

    def describe_delivery_stream(self) -> ActionResult:
        return ActionResult(
            {"DeliveryStreamDescription": self._streams.describe(self._get_param("DeliveryStreamName"))}
        )

    def update_destination(self) -> ActionResult:
        if self._streams.update(dict(self.params)):
            return EmptyResult()
        return super().update_destination()


def install(host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    StreamsBackend.host = host
    firehose_backends.backend = StreamsBackend
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)


def _check_cluster(cluster: Cluster, connectivity: str) -> None:
    if cluster.state != "ACTIVE":
        raise InvalidArgumentException(f"The MSK cluster {cluster.arn} is {cluster.state}, it must be ACTIVE.")
    if "iam" not in cluster.schemes:
        raise InvalidArgumentException(f"The MSK cluster {cluster.arn} must have IAM access control enabled.")
    if connectivity != "PRIVATE":
        raise InvalidArgumentException(f"The MSK cluster {cluster.arn} is not publicly accessible: use PRIVATE.")
    if cluster.nodes["InstanceType"] == SMALL or "iam" not in cluster.vpc_schemes:
        raise InvalidArgumentException(
            f"The MSK cluster {cluster.arn} must have multi-VPC private connectivity enabled for IAM."
        )


def _described(given: dict[str, Any]) -> dict[str, Any]:
    told = {**_DEFAULTS, **json.loads(json.dumps(given))}
    told["BufferingHints"] = {**_HINTS, **(given.get("BufferingHints") or {})}
    processing = told.setdefault("ProcessingConfiguration", {"Enabled": False})
    processing["Processors"] = [_with_defaults(each) for each in processing.get("Processors") or []]
    if "S3BackupConfiguration" in told:
        told["S3BackupDescription"] = told.pop("S3BackupConfiguration")
    return told


def _with_defaults(processor: dict[str, Any]) -> dict[str, Any]:
    if processor["Type"] != "Lambda":
        return processor
    given = rules.parameters(processor)
    added = [
        {"ParameterName": name, "ParameterValue": value}
        for name, value in rules.LAMBDA_DEFAULTS.items()
        if name not in given
    ]
    return {**processor, "Parameters": [*(processor.get("Parameters") or []), *added]}
