"""Budgets: changes, tags and subscribers, which moto lacks, and AWS's refusals.

AWS Cost Management API Reference, "AWS Budgets": CreateBudget, UpdateBudget, CreateNotification, Budget,
Notification, Subscriber; User Guide, "Quotas and restrictions". What a month has cost is never counted here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Final

from moto.budgets import urls
from moto.budgets.exceptions import DuplicateRecordException, NotFoundException
from moto.budgets.models import BudgetsBackend, Notification, budgets_backends
from moto.budgets.responses import BudgetsResponse
from moto.core.exceptions import JsonRESTError

from envs.sandbox.aws.host import Host

_NOTIFICATIONS: Final = 5
_ADDRESSES: Final = {"EMAIL": 10, "SNS": 1}
_NAME: Final = re.compile(r"(?![^:\\]*/action/|(?i:.*<script>.*</script>.*))[^:\\]{1,100}")


class CostsBackend(BudgetsBackend):
    """moto's backend, with what it lacks."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.tags: dict[str, dict[str, str]] = {}

    @property
    def _url_module(self) -> Any:
        return urls

    def create_budget(self, account_id: str, budget: dict[str, Any], notifications: list[dict[str, Any]]) -> None:
        _check_budget(budget)
        budget["TimePeriod"] = {"Start": _this_month(), **budget.get("TimePeriod", {})}
        super().create_budget(account_id, budget, [])
        for each in notifications:
            self.create_notification(account_id, budget["BudgetName"], each["Notification"], each["Subscribers"])

    def update_budget(self, account_id: str, budget: dict[str, Any]) -> None:
        """Puts a budget in the place of the one of its name; notifications stay."""
        known = self._budget(account_id, budget["BudgetName"])
        _check_budget(budget)
        budget["TimePeriod"] = {**known.budget["TimePeriod"], **budget.get("TimePeriod", {})}
        known.budget = {**budget, "LastUpdatedTime": datetime.now(UTC).timestamp()}

    def delete_budget(self, account_id: str, budget_name: str) -> None:
        super().delete_budget(account_id, budget_name)
        self.tags.pop(_arn(account_id, budget_name), None)

    def create_notification(  # type: ignore[override]
        self, account_id: str, budget_name: str, notification: dict[str, Any], subscribers: list[dict[str, str]]
    ) -> None:
        known = self._budget(account_id, budget_name)
        _check_subscribers(subscribers)
        if any(_key(each.details) == _key(notification) for each in known.notifications):
            raise DuplicateRecordException("notification", budget_name)
        if len(known.notifications) >= _NOTIFICATIONS:
            raise JsonRESTError(
                "CreationLimitExceededException",
                f"Unable to create notification - a budget has at most {_NOTIFICATIONS} notifications.",
            )
        known.notifications.append(Notification(notification, subscribers))  # type: ignore[arg-type]

    def delete_notification(self, account_id: str, budget_name: str, notification: dict[str, Any]) -> None:
        known = self._budget(account_id, budget_name)
        known.notifications.remove(self.notification(account_id, budget_name, notification))

    def notification(self, account_id: str, budget_name: str, wanted: Mapping[str, Any]) -> Notification:
        """A budget's notification. Raises NotFoundException."""
        for each in self._budget(account_id, budget_name).notifications:
            if _key(each.details) == _key(wanted):
                return each
        raise NotFoundException("Unable to find the notification.")

    def tags_of(self, arn: str) -> dict[str, str]:
        """The tags of a budget. Raises NotFoundException."""
        self._budget(self.account_id, arn.partition(":budget/")[2])
        return self.tags.setdefault(arn, {})

    def _budget(self, account_id: str, name: str) -> Any:
        if name not in self.budgets[account_id]:
            raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
        return self.budgets[account_id][name]


class _Response(BudgetsResponse):
    """moto's responses, with those of the operations that it lacks."""

    @property
    def backend(self) -> CostsBackend:
        found = budgets_backends[self.current_account][self.partition]
        assert isinstance(found, CostsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        return found

    def create_budget(self) -> str:
        answer = super().create_budget()
        tags = self._get_param("ResourceTags") or []
        arn = _arn(self._get_param("AccountId"), self._get_param("Budget")["BudgetName"])
        self.backend.tags[arn] = {tag["Key"]: tag["Value"] for tag in tags}
        return answer

    def update_budget(self) -> str:
        self.backend.update_budget(self._get_param("AccountId"), deepcopy(self._get_param("NewBudget")))
        return json.dumps({})

    def describe_subscribers_for_notification(self) -> str:
        names = ("AccountId", "BudgetName", "Notification")
        found = self.backend.notification(*(self._get_param(name) for name in names))
        return json.dumps({"Subscribers": found.subscribers})

    def list_tags_for_resource(self) -> str:
        tags = self.backend.tags_of(self._get_param("ResourceARN"))
        return json.dumps({"ResourceTags": [{"Key": key, "Value": value} for key, value in tags.items()]})

    def tag_resource(self) -> str:
        tags = self.backend.tags_of(self._get_param("ResourceARN"))
        tags.update({tag["Key"]: tag["Value"] for tag in self._get_param("ResourceTags")})
        return json.dumps({})

    def untag_resource(self) -> str:
        tags = self.backend.tags_of(self._get_param("ResourceARN"))
        for key in self._get_param("ResourceTagKeys"):
            tags.pop(key, None)
        return json.dumps({})


def install(_host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    budgets_backends.backend = CostsBackend
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)


def _check_budget(budget: Mapping[str, Any]) -> None:
    """What AWS refuses of a budget."""
    name, limit = budget["BudgetName"], budget.get("BudgetLimit")
    if not _NAME.fullmatch(name):
        raise _invalid(f"Budget name {name!r} must have 1 to 100 characters, none of them ':' or '\\'")
    if limit is not None:
        if not re.fullmatch(r"([0-9]*\.)?[0-9]+", limit["Amount"]) or float(limit["Amount"]) <= 0:
            raise _invalid("Budget limit amount must be a positive number")
        if budget["BudgetType"] == "COST" and limit["Unit"] != "USD":
            raise _invalid(f"Unit {limit['Unit']} of a cost budget must be USD")


def _check_subscribers(subscribers: Sequence[Mapping[str, str]]) -> None:
    if not subscribers:
        raise _invalid("A notification must have at least one subscriber")
    for kind, most in _ADDRESSES.items():
        addresses = [each["Address"] for each in subscribers if each["SubscriptionType"] == kind]
        if len(addresses) > most:
            raise _invalid(f"A notification has at most {most} {kind} subscribers")
        if kind == "EMAIL" and (wrong := [each for each in addresses if not re.fullmatch(r"[^\s@]+@[^\s@]+", each)]):
            raise _invalid(f"{wrong[0]} is not an e-mail address")


def _key(notification: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a notification that one and no other."""
    kind = notification.get("ThresholdType", "PERCENTAGE")
    return (
        notification["NotificationType"],
        notification["ComparisonOperator"],
        float(notification["Threshold"]),
        kind,
    )


def _arn(account_id: str, name: str) -> str:
    return f"arn:aws:budgets::{account_id}:budget/{name}"


def _this_month() -> float:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


def _invalid(message: str) -> JsonRESTError:
    return JsonRESTError("InvalidParameterException", message)
