"""Delivery streams from a topic of a real broker: read back as asked for, and refused where Firehose refuses."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.broker_stage import Stage
from tests.envs.sandbox.aws.network import vpc_connectivity

pytestmark = [pytest.mark.xdist_group("broker"), pytest.mark.timeout(300)]


@dataclass
class Archive:
    """What a delivery stream needs around it."""

    role: str
    bucket: str
    function: str


@pytest.fixture(scope="module")
def archive(stage: Stage) -> Archive:
    iam, logs = stage.aws.client("iam"), stage.aws.client("logs")
    role = iam.create_role(RoleName="delivery", AssumeRolePolicyDocument=trust("firehose.amazonaws.com"))["Role"][
        "Arn"
    ]
    stage.aws.client("s3").create_bucket(Bucket="the-archive")
    logs.create_log_group(logGroupName="/firehose")
    logs.create_log_stream(logGroupName="/firehose", logStreamName="errors")
    worker = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))["Role"]["Arn"]
    function = stage.aws.client("lambda").create_function(
        FunctionName="gate", Role=worker, Runtime="python3.11", Handler="gate.handle", Code={"ZipFile": a_zip()}
    )["FunctionArn"]
    stage.create_topic("archived")
    return Archive(role, "arn:aws:s3:::the-archive", function)


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def a_zip() -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("gate.py", "def handle(event, context):\n    return event\n")
    return buffer.getvalue()


def stream_request(stage: Stage, archive: Archive, name: str = "archive", **s3: Any) -> dict[str, Any]:
    destination: dict[str, Any] = {
        "RoleARN": archive.role,
        "BucketARN": archive.bucket,
        "Prefix": "telemetry/year=!{timestamp:yyyy}/month=!{timestamp:MM}/",
        "ErrorOutputPrefix": "dead-letter/!{firehose:error-output-type}/",
        "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 10},
        "CompressionFormat": "GZIP",
        "CloudWatchLoggingOptions": {"Enabled": True, "LogGroupName": "/firehose", "LogStreamName": "errors"},
        "ProcessingConfiguration": {
            "Enabled": True,
            "Processors": [
                processor("Lambda", LambdaArn=f"{archive.function}:$LATEST", BufferSizeInMBs="0.5"),
                processor("AppendDelimiterToRecord", Delimiter="\\n"),
            ],
        },
    }
    return {
        "DeliveryStreamName": name,
        "DeliveryStreamType": "MSKAsSource",
        "MSKSourceConfiguration": {
            "MSKClusterARN": stage.cluster,
            "TopicName": "archived",
            "AuthenticationConfiguration": {"RoleARN": archive.role, "Connectivity": "PRIVATE"},
        },
        "ExtendedS3DestinationConfiguration": destination | s3,
        "Tags": [{"Key": "fleet", "Value": "test"}],
    }


def processor(kind: str, **parameters: str) -> dict[str, Any]:
    return {
        "Type": kind,
        "Parameters": [{"ParameterName": key, "ParameterValue": value} for key, value in parameters.items()],
    }


def describe(stage: Stage, name: str) -> dict[str, Any]:
    return stage.aws.client("firehose").describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]


def put_policy(stage: Stage) -> None:
    kafka = stage.aws.client("kafka")
    try:
        current = {"CurrentVersion": kafka.get_cluster_policy(ClusterArn=stage.cluster)["CurrentVersion"]}
    except kafka.exceptions.NotFoundException:
        current = {}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "firehose.amazonaws.com"},
        "Action": "kafka:CreateVpcConnection",
        "Resource": stage.cluster,
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    kafka.put_cluster_policy(ClusterArn=stage.cluster, Policy=document, **current)


def test_a_delivery_stream_is_read_back_field_by_field(stage: Stage, archive: Archive) -> None:
    put_policy(stage)
    firehose = stage.aws.client("firehose")
    request = stream_request(stage, archive)
    arn = firehose.create_delivery_stream(**request)["DeliveryStreamARN"]
    assert arn == "arn:aws:firehose:us-east-1:123456789012:deliverystream/archive"
    assert [describe(stage, "archive")["DeliveryStreamStatus"] for _ in range(3)] == ["CREATING", "ACTIVE", "ACTIVE"]

    told = describe(stage, "archive")
    assert (told["DeliveryStreamType"], told["VersionId"], told["HasMoreDestinations"]) == ("MSKAsSource", "1", False)
    source = told["Source"]["MSKSourceDescription"]
    assert source.pop("DeliveryStartTimestamp")
    assert source == request["MSKSourceConfiguration"]
    s3 = told["Destinations"][0]["ExtendedS3DestinationDescription"]
    asked = request["ExtendedS3DestinationConfiguration"]
    for field in ("RoleARN", "BucketARN", "Prefix", "ErrorOutputPrefix", "BufferingHints", "CompressionFormat"):
        assert s3[field] == asked[field]
    assert s3["CloudWatchLoggingOptions"] == asked["CloudWatchLoggingOptions"]
    assert s3["EncryptionConfiguration"] == {"NoEncryptionConfig": "NoEncryption"}
    assert s3["S3BackupMode"] == "Disabled"
    gate, delimiter = s3["ProcessingConfiguration"]["Processors"]
    parameters = {each["ParameterName"]: each["ParameterValue"] for each in gate["Parameters"]}
    assert parameters == {
        "LambdaArn": f"{archive.function}:$LATEST",
        "BufferSizeInMBs": "0.5",
        "BufferIntervalInSeconds": "60",
        "NumberOfRetries": "3",
    }
    assert delimiter == asked["ProcessingConfiguration"]["Processors"][1]
    assert told["Destinations"][0]["S3DestinationDescription"]["Prefix"] == asked["Prefix"]
    assert firehose.list_tags_for_delivery_stream(DeliveryStreamName="archive")["Tags"] == request["Tags"]

    update = {
        "DeliveryStreamName": "archive",
        "CurrentDeliveryStreamVersionId": "1",
        "DestinationId": told["Destinations"][0]["DestinationId"],
    }
    with pytest.raises(ClientError, match="SizeInMBs is 200"):
        firehose.update_destination(**update, ExtendedS3DestinationUpdate={"BufferingHints": {"SizeInMBs": 200}})
    firehose.update_destination(
        **update, ExtendedS3DestinationUpdate={"BufferingHints": {"SizeInMBs": 32, "IntervalInSeconds": 60}}
    )
    told = describe(stage, "archive")
    assert told["VersionId"] == "2"
    s3 = told["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert s3["BufferingHints"] == {"SizeInMBs": 32, "IntervalInSeconds": 60}
    assert s3["Prefix"] == asked["Prefix"]
    with pytest.raises(firehose.exceptions.ConcurrentModificationException):
        firehose.update_destination(**update, ExtendedS3DestinationUpdate={})

    firehose.delete_delivery_stream(DeliveryStreamName="archive")
    with pytest.raises(ClientError, match="Firehose archive under account"):
        describe(stage, "archive")


def test_without_the_cluster_s_policy_the_connection_fails(stage: Stage, archive: Archive) -> None:
    kafka, firehose = stage.aws.client("kafka"), stage.aws.client("firehose")
    put_policy(stage)
    kafka.delete_cluster_policy(ClusterArn=stage.cluster)
    firehose.create_delivery_stream(**stream_request(stage, archive, "locked-out"))
    assert describe(stage, "locked-out")["DeliveryStreamStatus"] == "CREATING"
    told = describe(stage, "locked-out")
    assert told["DeliveryStreamStatus"] == "CREATING_FAILED"
    assert "not authorized to perform kafka:CreateVpcConnection" in told["FailureDescription"]["Details"]
    firehose.delete_delivery_stream(DeliveryStreamName="locked-out")


@pytest.mark.parametrize(
    ("s3", "said"),
    [
        ({"ErrorOutputPrefix": ""}, "ErrorOutputPrefix cannot be null or empty"),
        ({"ErrorOutputPrefix": "e/!{timestamp:yyyy}/"}, "must contain at least one !{firehose:error-output-type}"),
        ({"Prefix": "!{firehose:error-output-type}/"}, "Prefix cannot contain !{firehose:error-output-type}"),
        ({"Prefix": "!{timestamp:jj}/"}, "not a pattern of Java's DateTimeFormatter"),
        ({"Prefix": "!{weekday:x}/"}, "the namespace 'weekday' is not known"),
        ({"Prefix": "!{timestamp}/"}, "can only begin an expression"),
        ({"Prefix": "!{partitionKeyFromQuery:device}/"}, "needs dynamic partitioning"),
        ({"BufferingHints": {"SizeInMBs": 129, "IntervalInSeconds": 10}}, "SizeInMBs is 129"),
        ({"BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 901}}, "IntervalInSeconds is 901"),
        ({"FileExtension": "json"}, "must begin with a dot"),
        ({"CustomTimeZone": "Mars/Olympus"}, "CustomTimeZone 'Mars/Olympus' is not known"),
        ({"BucketARN": "arn:aws:s3:::nowhere-at-all"}, "The bucket nowhere-at-all does not exist"),
        ({"RoleARN": "arn:aws:iam::123456789012:role/nobody"}, "unable to assume role"),
        ({"RoleARN": "arn:aws:iam::123456789012:role/worker"}, "unable to assume role"),
        (
            {"CloudWatchLoggingOptions": {"Enabled": True, "LogGroupName": "/firehose", "LogStreamName": "x"}},
            "The log stream x of the log group /firehose does not exist",
        ),
        (
            {"EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": "arn:aws:kms:::key/none"}}},
            "The KMS key arn:aws:kms:::key/none does not exist",
        ),
        (
            {"ProcessingConfiguration": {"Enabled": True, "Processors": [processor("Lambda", LambdaArn="arn:nope")]}},
            "The function arn:nope does not exist",
        ),
        (
            {"ProcessingConfiguration": {"Enabled": True, "Processors": [processor("Lambda", NumberOfRetries="3")]}},
            "needs the parameter LambdaArn",
        ),
        (
            {
                "ProcessingConfiguration": {
                    "Enabled": True,
                    "Processors": [processor("Lambda", LambdaArn="x", BufferSizeInMBs="9")],
                }
            },
            "BufferSizeInMBs is 9, it must be from 0.2 to 3",
        ),
    ],
)
def test_a_destination_with_a_mistake_is_refused(
    stage: Stage, archive: Archive, s3: dict[str, Any], said: str
) -> None:
    firehose = stage.aws.client("firehose")
    with pytest.raises(firehose.exceptions.InvalidArgumentException) as error:
        firehose.create_delivery_stream(**stream_request(stage, archive, **s3))
    assert said in error.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TopicName": "nothing-here"}, "The topic nothing-here does not exist"),
        ({"MSKClusterARN": "arn:aws:kafka:us-east-1:123456789012:cluster/x/y"}, "was not found"),
        (
            {
                "AuthenticationConfiguration": {
                    "RoleARN": "arn:aws:iam::123456789012:role/delivery",
                    "Connectivity": "PUBLIC",
                }
            },
            "not publicly accessible",
        ),
        (
            {
                "AuthenticationConfiguration": {
                    "RoleARN": "arn:aws:iam::123456789012:role/worker",
                    "Connectivity": "PRIVATE",
                }
            },
            "unable to assume role",
        ),
    ],
)
def test_a_source_with_a_mistake_is_refused(
    stage: Stage, archive: Archive, change: dict[str, Any], said: str
) -> None:
    firehose = stage.aws.client("firehose")
    request = stream_request(stage, archive)
    request["MSKSourceConfiguration"] |= change
    with pytest.raises(firehose.exceptions.InvalidArgumentException) as error:
        firehose.create_delivery_stream(**request)
    assert said in error.value.response["Error"]["Message"]


def test_a_source_fits_the_type_of_the_stream(stage: Stage, archive: Archive) -> None:
    firehose = stage.aws.client("firehose")
    request = stream_request(stage, archive) | {"DeliveryStreamType": "DirectPut"}
    with pytest.raises(ClientError, match="only applicable for MSKAsSource"):
        firehose.create_delivery_stream(**request)
    request = stream_request(stage, archive)
    request["DeliveryStreamEncryptionConfigurationInput"] = {"KeyType": "AWS_OWNED_CMK"}
    with pytest.raises(ClientError, match="for DirectPut streams only"):
        firehose.create_delivery_stream(**request)


def test_a_source_needs_multi_vpc_connectivity_for_iam(stage: Stage, archive: Archive) -> None:
    kafka, firehose = stage.aws.client("kafka"), stage.aws.client("firehose")

    def switch(iam: bool) -> None:
        version = kafka.describe_cluster(ClusterArn=stage.cluster)["ClusterInfo"]["CurrentVersion"]
        kafka.update_connectivity(
            ClusterArn=stage.cluster, CurrentVersion=version, ConnectivityInfo=vpc_connectivity(iam)
        )
        kafka.describe_cluster(ClusterArn=stage.cluster)

    switch(iam=False)
    try:
        with pytest.raises(ClientError, match="must have multi-VPC private connectivity enabled for IAM"):
            firehose.create_delivery_stream(**stream_request(stage, archive))
    finally:
        switch(iam=True)
