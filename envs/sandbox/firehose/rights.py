"""What Firehose looks at before it delivers, with the stream's roles, so that a missing right shows at once.

The calls are those that the Firehose Developer Guide asks a stream's role to be allowed ("Grant Firehose access to
an Amazon S3 destination", "Grant Firehose access to your Amazon MSK cluster") and that delivery may never make. The
guide asks for no right to change a consumer group, so the group in which Firehose's offsets are kept here is not
held against the role, neither here nor by the broker (`envs.sandbox.aws.broker_rights`).
"""

from typing import Any, Final

import boto3
from botocore.config import Config

from envs.sandbox.aws.sts_client import require
from envs.sandbox.firehose.settings import Settings

_READING: Final = (
    "kafka-cluster:DescribeTopic",
    "kafka-cluster:DescribeTopicDynamicConfiguration",
    "kafka-cluster:ReadData",
)


def check_source(settings: Settings, role: boto3.Session, service: str, config: Config) -> None:
    """The cluster and the topic. Raises botocore's errors and `AssumeRoleError` with what the role may not do."""
    kafka: Any = role.client("kafka", region_name=settings.region, config=config)
    kafka.describe_cluster(ClusterArn=settings.cluster_arn)
    kafka.describe_cluster_v2(ClusterArn=settings.cluster_arn)
    topic = f"{settings.cluster_arn.replace(':cluster/', ':topic/', 1)}/{settings.topic}"
    for action in _READING:
        require(settings.source_role_arn, service, action, topic)
    group = f"{settings.cluster_arn.replace(':cluster/', ':group/', 1)}/{settings.group}"
    require(settings.source_role_arn, service, "kafka-cluster:DescribeGroup", group)


def check_destination(settings: Settings, role: boto3.Session, config: Config) -> None:
    """The bucket. Raises botocore's errors with what the role may not do."""
    s3: Any = role.client("s3", config=config)
    s3.get_bucket_location(Bucket=settings.bucket)
    s3.list_objects_v2(Bucket=settings.bucket, MaxKeys=1)
    s3.list_multipart_uploads(Bucket=settings.bucket, MaxUploads=1)


def check_transformation(function_arn: str, role: boto3.Session, config: Config) -> None:
    """The function. Raises botocore's errors with what the role may not do."""
    functions: Any = role.client("lambda", config=config)
    functions.get_function_configuration(FunctionName=function_arn)
