"""The archive: a delivery stream that reads the telemetry topic through the archive gate into an S3 bucket."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.bucket import DataBucket, DataBucketArgs
from infra.keys import DataKey, DataKeyArgs
from infra.policies import Statement, document, trust
from infra.sections import Archive as ArchiveSettings
from services.contract import ARCHIVE_PREFIX, DEAD_LETTER_PREFIX, HOUR_PARTITIONS

_TIME_FORMATS: Final = {"year": "yyyy", "month": "MM", "day": "dd", "hour": "HH"}
HOUR: Final = "".join(f"{part}=!{{timestamp:{_TIME_FORMATS[part]}}}/" for part in HOUR_PARTITIONS)
"""Hive-style hours in UTC, by the arrival of the oldest record in an object."""
PREFIX: Final = f"{ARCHIVE_PREFIX}{HOUR}"
ERROR_PREFIX: Final = f"{DEAD_LETTER_PREFIX}!{{firehose:error-output-type}}/{HOUR}"

_FIRST_RECORD: Final = "1970-01-01T00:00:00Z"
"""From the topic's beginning. Left out, Firehose starts when the stream becomes active and loses what came before
(Firehose API Reference, MSKSourceConfiguration)."""
_GATE_DEFAULTS: Final = {"BufferSizeInMBs": "1.0", "BufferIntervalInSeconds": "60"}
"""What AWS assumes when a parameter is left out. It does not tell such values back, so naming them would show as a
change for ever (terraform-provider-aws, docs/r/kinesis_firehose_delivery_stream.html.markdown)."""


@dataclass(frozen=True, kw_only=True)
class ArchiveArgs:
    """Where the stream reads, what each record passes, and how the bucket keeps it."""

    settings: ArchiveSettings
    cluster_arn: pulumi.Input[str]
    topic_name: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    gate_arn: pulumi.Input[str]
    delivery_policy: pulumi.Resource
    """The cluster's policy that lets Firehose connect: the stream names it nowhere and cannot be made before it."""
    region: str
    log_retention_days: int
    key_alias: str
    key_deletion_days: int
    disposable: bool
    protect: bool


class Archive(pulumi.ComponentResource):
    """The bucket, its key, and the delivery stream."""

    bucket_name: pulumi.Output[str]
    stream_name: pulumi.Output[str]

    def __init__(self, name: str, args: ArchiveArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:archive:Archive", name, None, opts)
        self._name = name
        self._args = args
        key = DataKey(
            name,
            DataKeyArgs(
                description="The archive's objects",
                alias=args.key_alias,
                deletion_days=args.key_deletion_days,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        bucket = DataBucket(
            name,
            DataBucketArgs(
                key_arn=key.arn,
                infrequent_access_days=args.settings.infrequent_access_days,
                expiration_days=args.settings.expiration_days,
                disposable=args.disposable,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        logs = aws.cloudwatch.LogGroup(
            f"{name}-delivery-log", retention_in_days=args.log_retention_days, opts=self._child()
        )
        log = aws.cloudwatch.LogStream(
            f"{name}-delivery-log", name="delivery", log_group_name=logs.name, opts=self._child()
        )
        role = aws.iam.Role(f"{name}-role", assume_role_policy=trust("firehose.amazonaws.com"), opts=self._child())
        rights = aws.iam.RolePolicy(
            f"{name}-rights", role=role.id, policy=self._rights(bucket, key, log), opts=self._child()
        )
        stream = aws.kinesis.FirehoseDeliveryStream(
            f"{name}-stream",
            destination="extended_s3",
            msk_source_configuration=aws.kinesis.FirehoseDeliveryStreamMskSourceConfigurationArgs(
                msk_cluster_arn=args.cluster_arn,
                topic_name=args.topic_name,
                read_from_timestamp=_FIRST_RECORD,
                authentication_configuration=aws.kinesis.FirehoseDeliveryStreamMskSourceConfigurationAuthenticationConfigurationArgs(
                    connectivity="PRIVATE", role_arn=role.arn
                ),
            ),
            extended_s3_configuration=self._destination(bucket, key, role, logs, log),
            opts=self._child(depends_on=[rights, bucket, args.delivery_policy]),
        )
        self.bucket_name = bucket.bucket_name
        self.stream_name = stream.name
        self.register_outputs({"bucket_name": self.bucket_name, "stream_name": self.stream_name})

    def _child(self, depends_on: list[pulumi.Resource] | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=depends_on)

    def _destination(
        self,
        bucket: DataBucket,
        key: DataKey,
        role: aws.iam.Role,
        logs: aws.cloudwatch.LogGroup,
        log: aws.cloudwatch.LogStream,
    ) -> aws.kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationArgs:
        settings = self._args.settings
        gate = {
            "LambdaArn": pulumi.Output.concat(self._args.gate_arn, ":$LATEST"),
            **{
                parameter: value
                for parameter, value in {
                    "BufferSizeInMBs": str(float(settings.gate_buffer_mb)),
                    "BufferIntervalInSeconds": str(settings.gate_buffer_seconds),
                }.items()
                if value != _GATE_DEFAULTS[parameter]
            },
        }
        return aws.kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationArgs(
            bucket_arn=bucket.arn,
            role_arn=role.arn,
            prefix=PREFIX,
            error_output_prefix=ERROR_PREFIX,
            custom_time_zone="UTC",
            buffering_size=settings.buffer_mb,
            buffering_interval=settings.buffer_seconds,
            compression_format="GZIP",
            kms_key_arn=key.arn,
            cloudwatch_logging_options=aws.kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationCloudwatchLoggingOptionsArgs(
                enabled=True, log_group_name=logs.name, log_stream_name=log.name
            ),
            processing_configuration=aws.kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationProcessingConfigurationArgs(
                enabled=True,
                # In this order: a record is checked first, then ended by a line feed (in the API's spelling).
                processors=[_processor("Lambda", gate), _processor("AppendDelimiterToRecord", {"Delimiter": "\\n"})],
            ),
        )

    def _rights(self, bucket: DataBucket, key: DataKey, log: aws.cloudwatch.LogStream) -> pulumi.Output[str]:
        """What the stream may do (Firehose Developer Guide, "Controlling access with Amazon Data Firehose")."""
        args = self._args
        cluster = pulumi.Output.from_input(args.cluster_arn)
        return document(
            Statement(
                sid="FindBrokers",
                actions=[
                    "kafka:DescribeCluster",
                    "kafka:DescribeClusterV2",
                    "kafka:GetBootstrapBrokers",
                    "kafka-cluster:Connect",
                ],
                resources=[cluster],
            ),
            Statement(
                sid="ReadTopic",
                actions=[
                    "kafka-cluster:DescribeTopic",
                    "kafka-cluster:DescribeTopicDynamicConfiguration",
                    "kafka-cluster:ReadData",
                ],
                resources=[args.topic_arn],
            ),
            Statement(
                sid="FollowOffsets",
                # Firehose names its consumer groups itself.
                actions=["kafka-cluster:DescribeGroup"],
                resources=[cluster.apply(lambda arn: f"{arn.replace(':cluster/', ':group/', 1)}/*")],
            ),
            Statement(
                sid="FindBucket",
                actions=["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
                resources=[bucket.arn],
            ),
            Statement(
                sid="WriteObjects",
                actions=["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
                resources=[
                    pulumi.Output.concat(bucket.arn, "/", ARCHIVE_PREFIX, "*"),
                    pulumi.Output.concat(bucket.arn, "/", DEAD_LETTER_PREFIX, "*"),
                ],
            ),
            Statement(
                sid="EncryptObjects",
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=[key.arn],
                conditions={"StringEquals": {"kms:ViaService": f"s3.{args.region}.amazonaws.com"}},
            ),
            Statement(
                sid="PassGate",
                actions=["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"],
                resources=[args.gate_arn, pulumi.Output.concat(args.gate_arn, ":$LATEST")],
            ),
            Statement(sid="ReportErrors", actions=["logs:PutLogEvents"], resources=[log.arn]),
        )


def _processor(
    kind: str, parameters: dict[str, pulumi.Input[str]]
) -> aws.kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationProcessingConfigurationProcessorArgs:
    return aws.kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationProcessingConfigurationProcessorArgs(
        type=kind,
        parameters=[
            aws.kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationProcessingConfigurationProcessorParameterArgs(
                parameter_name=name, parameter_value=value
            )
            for name, value in parameters.items()
        ],
    )
