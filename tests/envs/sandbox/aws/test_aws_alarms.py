"""Alarms, dashboards and topics as the provider makes them, and what AWS refuses."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws

pytestmark = pytest.mark.xdist_group("aws-alarms")  # one AWS process for all of them

ALARM: dict[str, Any] = {
    "AlarmName": "late",
    "MetricName": "Errors",
    "Namespace": "AWS/Lambda",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 5,
    "ComparisonOperator": "GreaterThanThreshold",
    "Threshold": 0,
}
QUERY: dict[str, Any] = {"Id": "m1", "Expression": 'SELECT MAX(CpuUser) FROM SCHEMA("AWS/Kafka")', "Period": 60}


@pytest.fixture(scope="module")
def cloudwatch(aws: Aws) -> Any:
    return aws.client("cloudwatch")


@pytest.fixture(scope="module")
def sns(aws: Aws) -> Any:
    return aws.client("sns")


@pytest.fixture
def topic(sns: Any) -> Iterator[str]:
    made = sns.create_topic(Name="alarms")["TopicArn"]
    yield made
    sns.delete_topic(TopicArn=made)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Metrics": [{**QUERY, "ReturnData": True}]}, "ValidationError"),
        ({"MetricName": None}, "ValidationError"),
        ({"ExtendedStatistic": "p99"}, "InvalidParameterCombination"),
        ({"Statistic": None}, "InvalidParameterCombination"),
        ({"Period": 45}, "ValidationError"),
        ({"EvaluationPeriods": 1441}, "ValidationError"),
        ({"ComparisonOperator": None}, "ValidationError"),
        ({"TreatMissingData": "perhaps"}, "ValidationError"),
        ({"AlarmActions": ["somebody"]}, "ValidationError"),
        ({"AlarmActions": ["arn:aws:sns:eu-west-1:123456789012:alarms"]}, "ValidationError"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_an_alarm_that_makes_no_sense_is_refused(cloudwatch: Any, changes: dict[str, Any], code: str) -> None:
    wanted = {name: value for name, value in {**ALARM, **changes}.items() if value is not None}
    assert refusal(cloudwatch.put_metric_alarm, **wanted) == code


@pytest.mark.parametrize("returned", [0, 2])
def test_exactly_one_query_counts(cloudwatch: Any, returned: int) -> None:
    queries = [{**QUERY, "Id": f"m{at}", "ReturnData": at < returned} for at in range(2)]
    wanted = {name: ALARM[name] for name in ("AlarmName", "ComparisonOperator", "EvaluationPeriods", "Threshold")}
    assert refusal(cloudwatch.put_metric_alarm, **wanted, Metrics=queries) == "ValidationError"


def test_an_alarms_tags_go_with_it(cloudwatch: Any) -> None:
    cloudwatch.put_metric_alarm(**ALARM, Tags=[{"Key": "Owner", "Value": "one"}])
    arn = cloudwatch.describe_alarms(AlarmNames=["late"])["MetricAlarms"][0]["AlarmArn"]
    cloudwatch.delete_alarms(AlarmNames=["late"])
    cloudwatch.put_metric_alarm(**ALARM)
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == []
    cloudwatch.delete_alarms(AlarmNames=["late"])


@pytest.mark.parametrize(
    "body", [{}, {"widgets": [{"type": "metric", "properties": {"metrics": []}}]}], ids=["no-widgets", "no-region"]
)
def test_a_dashboard_that_cannot_be_drawn_is_refused(cloudwatch: Any, body: dict[str, Any]) -> None:
    put = cloudwatch.put_dashboard
    assert refusal(put, DashboardName="d", DashboardBody=json.dumps(body)) == "InvalidParameterInput"


def test_mail_waits_for_a_person_and_cannot_be_taken_back(sns: Any, topic: str) -> None:
    wanted = {"TopicArn": topic, "Protocol": "email", "Endpoint": "team@example.com"}
    made = sns.subscribe(**wanted, ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert sns.subscribe(**wanted, ReturnSubscriptionArn=True)["SubscriptionArn"] == made
    told = sns.get_subscription_attributes(SubscriptionArn=made)["Attributes"]
    assert (told["PendingConfirmation"], told["ConfirmationWasAuthenticated"]) == ("true", "false")
    with pytest.raises(ClientError, match="pending confirmation") as error:
        sns.unsubscribe(SubscriptionArn=made)
    assert error.value.response["Error"]["Code"] == "InvalidParameter"
    sns.delete_topic(TopicArn=topic)
    assert refusal(sns.get_subscription_attributes, SubscriptionArn=made) == "NotFound"
    assert sns.list_subscriptions()["Subscriptions"] == []


def test_a_mail_address_has_an_at_sign(sns: Any, topic: str) -> None:
    assert refusal(sns.subscribe, TopicArn=topic, Protocol="email", Endpoint="team") == "InvalidParameter"


@pytest.mark.parametrize(
    "changes",
    [{"Action": "SNS:*"}, {"Principal": None}, {"Resource": "arn:aws:sns:us-east-1:123456789012:other"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_topic_policy_speaks_of_its_topic_only(sns: Any, topic: str, changes: dict[str, Any]) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "SNS:Publish", "Resource": topic}
    put = {"TopicArn": topic, "AttributeName": "Policy"}
    sns.set_topic_attributes(**put, AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    wrong = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **changes}]})
    assert refusal(sns.set_topic_attributes, **put, AttributeValue=wrong) == "InvalidParameter"
