"""A stream's settings, as DescribeDeliveryStream gives them."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from envs.sandbox.firehose.errors import StreamError
from envs.sandbox.firehose.settings import MB, Transformation, from_description

ROLE = "arn:aws:iam::123456789012:role/delivery"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:gate:$LATEST"
DESCRIPTION: dict[str, Any] = {
    "DeliveryStreamName": "archive",
    "DeliveryStreamARN": "arn:aws:firehose:eu-west-1:123456789012:deliverystream/archive",
    "DeliveryStreamStatus": "ACTIVE",
    "DeliveryStreamType": "MSKAsSource",
    "VersionId": "4",
    "CreateTimestamp": datetime(2026, 11, 21, 14, 0, tzinfo=UTC),
    "Source": {
        "MSKSourceDescription": {
            "MSKClusterARN": "arn:aws:kafka:eu-west-1:123456789012:cluster/c/1-1",
            "TopicName": "telemetry",
            "AuthenticationConfiguration": {"RoleARN": ROLE + "-source", "Connectivity": "PRIVATE"},
        }
    },
    "Destinations": [
        {
            "DestinationId": "destinationId-000000000001",
            "ExtendedS3DestinationDescription": {
                "RoleARN": ROLE,
                "BucketARN": "arn:aws:s3:::archive-bucket",
                "Prefix": "telemetry/year=!{timestamp:yyyy}/",
                "ErrorOutputPrefix": "dead-letter/!{firehose:error-output-type}/",
                "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
                "CompressionFormat": "GZIP",
                "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
                "CloudWatchLoggingOptions": {"Enabled": True, "LogGroupName": "/g", "LogStreamName": "s"},
                "ProcessingConfiguration": {
                    "Enabled": True,
                    "Processors": [
                        {
                            "Type": "Lambda",
                            "Parameters": [
                                {"ParameterName": "LambdaArn", "ParameterValue": FUNCTION},
                                {"ParameterName": "BufferSizeInMBs", "ParameterValue": "0.5"},
                                {"ParameterName": "BufferIntervalInSeconds", "ParameterValue": "5"},
                                {"ParameterName": "NumberOfRetries", "ParameterValue": "1"},
                            ],
                        },
                        {
                            "Type": "AppendDelimiterToRecord",
                            "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}],
                        },
                    ],
                },
                "S3BackupMode": "Disabled",
            },
        }
    ],
}


def described(**s3: Any) -> dict[str, Any]:
    description = copy.deepcopy(DESCRIPTION)
    description["Destinations"][0]["ExtendedS3DestinationDescription"].update(s3)
    return description


def test_everything_is_read_from_the_description() -> None:
    settings = from_description(DESCRIPTION)
    assert (settings.name, settings.version, settings.region) == ("archive", "4", "eu-west-1")
    assert (settings.topic, settings.source_role_arn, settings.role_arn) == ("telemetry", ROLE + "-source", ROLE)
    assert settings.start_ms == 1_795_269_600_000
    assert (settings.bucket, settings.size_bytes, settings.interval_s) == ("archive-bucket", 64 * MB, 60)
    assert (settings.gzip, settings.delimiter, settings.kms_key_arn) == (True, b"\n", None)
    assert (settings.log_group, settings.log_stream) == ("/g", "s")
    assert settings.names.record_key(settings.start_ms).startswith(
        "telemetry/year=2026/archive-4-2026-11-21-14-00-00"
    )
    assert settings.names.record_key(0).endswith(".gz")
    assert settings.transformation == Transformation(
        function_arn=FUNCTION, role_arn=ROLE, size_bytes=MB // 2, interval_s=5, retries=1
    )


def test_defaults_are_those_of_the_api() -> None:
    description = described()
    s3 = description["Destinations"][0]["ExtendedS3DestinationDescription"]
    for name in ("BufferingHints", "CompressionFormat", "CloudWatchLoggingOptions", "EncryptionConfiguration"):
        del s3[name]
    s3["ProcessingConfiguration"]["Processors"] = [
        {"Type": "Lambda", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": FUNCTION}]}
    ]
    settings = from_description(description)
    assert (settings.size_bytes, settings.interval_s) == (5 * MB, 300)
    assert (settings.gzip, settings.delimiter, settings.log_group) == (False, b"", None)
    assert settings.transformation == Transformation(
        function_arn=FUNCTION, role_arn=ROLE, size_bytes=MB, interval_s=60, retries=3
    )


def test_processing_that_is_switched_off_is_not_executed() -> None:
    processing = {**DESCRIPTION["Destinations"][0]["ExtendedS3DestinationDescription"]["ProcessingConfiguration"]}
    settings = from_description(described(ProcessingConfiguration={**processing, "Enabled": False}))
    assert settings.transformation is None
    assert settings.delimiter == b""


def test_the_place_to_begin_can_be_given() -> None:
    description = described()
    description["Source"]["MSKSourceDescription"]["ReadFromTimestamp"] = datetime(1970, 1, 1, tzinfo=UTC)
    assert from_description(description).start_ms == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CompressionFormat": "ZIP"}, "compression ZIP is not executed"),
        ({"DynamicPartitioningConfiguration": {"Enabled": True}}, "dynamic partitioning is not executed"),
        ({"DataFormatConversionConfiguration": {"Enabled": True}}, "data format conversion is not executed"),
        ({"S3BackupMode": "Enabled"}, "backup of source records is not executed"),
        ({"CustomTimeZone": "Mars/Olympus"}, "CustomTimeZone Mars/Olympus is unknown"),
        (
            {"ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "MetadataExtraction"}]}},
            "processor MetadataExtraction is not executed",
        ),
    ],
)
def test_what_is_not_executed_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StreamError, match=message):
        from_description(described(**change))


def test_another_source_destination_or_status_is_refused() -> None:
    for change, message in (
        ({"Source": {}}, "its source is not an MSK topic"),
        ({"Destinations": [{}]}, "its destination is not S3"),
        ({"DeliveryStreamStatus": "CREATING"}, "is CREATING"),
    ):
        with pytest.raises(StreamError, match=message):
            from_description({**DESCRIPTION, **change})
