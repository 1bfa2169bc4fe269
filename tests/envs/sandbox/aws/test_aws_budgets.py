"""Budgets: changes, tags and subscribers, and what AWS refuses."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws.inventory import inventory
from tests.envs.sandbox.aws.emulated import Aws

pytestmark = pytest.mark.xdist_group("aws-budgets")  # one AWS process for all of them

ACCOUNT = "123456789012"
ARN = f"arn:aws:budgets::{ACCOUNT}:budget/month"
SPENT = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80}
ANN = {"SubscriptionType": "EMAIL", "Address": "ann@example.com"}


def budget(name: str = "month", amount: str = "100", unit: str = "USD", **more: Any) -> dict[str, Any]:
    limit = {"Amount": amount, "Unit": unit}
    return {"BudgetName": name, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit, **more}


@pytest.fixture
def client(aws: Aws) -> Any:
    return aws.client("budgets")


@pytest.fixture
def month(client: Any) -> Iterator[dict[str, str]]:
    """A budget, and the names by which it is asked for."""
    tags = [{"Key": "owner", "Value": "ann"}, {"Key": "gone", "Value": "soon"}]
    client.create_budget(AccountId=ACCOUNT, Budget=budget(), ResourceTags=tags)
    yield {"AccountId": ACCOUNT, "BudgetName": "month"}
    client.delete_budget(AccountId=ACCOUNT, BudgetName="month")


def test_a_budget_is_changed_as_a_whole_and_keeps_its_period(client: Any, month: dict[str, str]) -> None:
    before = client.describe_budget(**month)["Budget"]
    client.update_budget(AccountId=ACCOUNT, NewBudget=budget(amount="200"))
    after = client.describe_budget(**month)["Budget"]
    assert after["BudgetLimit"]["Amount"] == "200"
    assert after["TimePeriod"] == before["TimePeriod"]
    start = before["TimePeriod"]["Start"].astimezone(UTC)
    assert (start.day, start.hour) == (1, 0)
    assert start <= datetime.now(UTC)


def test_tags_come_and_go(client: Any, month: dict[str, str]) -> None:
    client.tag_resource(ResourceARN=ARN, ResourceTags=[{"Key": "owner", "Value": "bob"}])
    client.untag_resource(ResourceARN=ARN, ResourceTagKeys=["gone", "never"])
    assert client.list_tags_for_resource(ResourceARN=ARN)["ResourceTags"] == [{"Key": "owner", "Value": "bob"}]


def test_notifications_have_subscribers(client: Any, month: dict[str, str]) -> None:
    client.create_notification(**month, Notification=SPENT, Subscribers=[ANN])
    told = client.describe_subscribers_for_notification(
        **month, Notification={**SPENT, "ThresholdType": "PERCENTAGE"}
    )
    assert told["Subscribers"] == [ANN]
    client.delete_notification(**month, Notification=SPENT)
    assert client.describe_notifications_for_budget(**month)["Notifications"] == []


def test_the_inventory_lists_it(aws: Aws, month: dict[str, str]) -> None:
    assert inventory(aws.session) == ["budgets budget month"]


def refused(code: str, call: Any, **arguments: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(
    "wrong",
    [
        budget(name="a:b"),
        budget(name="a" * 101),
        budget(amount="0"),
        budget(amount="many"),
        budget(unit="EUR"),
    ],
)
def test_wrong_budgets_are_refused(client: Any, wrong: dict[str, Any]) -> None:
    # boto3 would refuse some of them itself.
    with pytest.raises(Exception, match=r"InvalidParameterException|Parameter validation failed"):
        client.create_budget(AccountId=ACCOUNT, Budget=wrong)
    assert client.describe_budgets(AccountId=ACCOUNT)["Budgets"] == []


def test_what_is_not_there_is_not_found(client: Any) -> None:
    named = {"AccountId": ACCOUNT, "BudgetName": "none"}
    gone = "NotFoundException"
    refused(gone, client.update_budget, AccountId=ACCOUNT, NewBudget=budget(name="none"))
    refused(gone, client.create_notification, **named, Notification=SPENT, Subscribers=[ANN])
    refused(gone, client.delete_notification, **named, Notification=SPENT)
    refused(gone, client.list_tags_for_resource, ResourceARN=f"arn:aws:budgets::{ACCOUNT}:budget/none")


def test_wrong_notifications_are_refused(client: Any, month: dict[str, str]) -> None:
    many = [{"SubscriptionType": "EMAIL", "Address": f"a{n}@b.c"} for n in range(11)]
    nobody = {"SubscriptionType": "EMAIL", "Address": "nobody"}
    two_topics = [{"SubscriptionType": "SNS", "Address": f"arn:aws:sns:x:1:{name}"} for name in "ab"]
    for subscribers in (many, [nobody], two_topics):
        wrong = {**month, "Notification": SPENT, "Subscribers": subscribers}
        refused("InvalidParameterException", client.create_notification, **wrong)
    client.create_notification(**month, Notification=SPENT, Subscribers=[ANN])
    again = {**month, "Notification": SPENT, "Subscribers": [ANN]}
    refused("DuplicateRecordException", client.create_notification, **again)
    for percent in (10, 20, 30, 40):
        client.create_notification(**month, Notification={**SPENT, "Threshold": percent}, Subscribers=[ANN])
    sixth = {**month, "Notification": {**SPENT, "Threshold": 50}, "Subscribers": [ANN]}
    refused("CreationLimitExceededException", client.create_notification, **sixth)
