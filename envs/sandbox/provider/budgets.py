"""Budgets with their notifications."""

from datetime import UTC
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import block, integer, sequence, text, unordered
from envs.sandbox.provider.translate import tag_list, tag_map

_SOURCE: Final = "internal/service/budgets/budget.go"
_TIME: Final = "%Y-%m-%d_%H:%M"
_KINDS: Final = {"EMAIL": "subscriberEmailAddresses", "SNS": "subscriberSnsTopicArns"}
_NOTIFICATION: Final = ("comparisonOperator", "notificationType", "threshold", "thresholdType")


def _same_amount(one: str, other: str) -> bool:
    """``100`` and ``100.0`` are one amount (`suppressEquivalentBudgetLimitAmount`)."""
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("budgets").tag_resource(ResourceARN=state["arn"], ResourceTags=tag_list(tags))


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("budgets").untag_resource(ResourceARN=state["arn"], ResourceTagKeys=keys)


def _named(identifier: str) -> dict[str, str]:
    account, _, name = identifier.partition(":")
    return {"AccountId": account, "BudgetName": name}


def _budget(args: Args) -> dict[str, Any]:
    """The budget as the API takes it; times are in UTC."""
    period = {"Start": args.get("timePeriodStart"), "End": args.get("timePeriodEnd")}
    wanted: dict[str, Any] = {
        "BudgetName": args["name"],
        "BudgetType": args["budgetType"],
        "TimeUnit": args["timeUnit"],
        "TimePeriod": {name: value.replace("_", "T") + ":00Z" for name, value in period.items() if value},
    }
    if args.get("limitAmount"):
        wanted["BudgetLimit"] = {"Amount": args["limitAmount"], "Unit": args.get("limitUnit")}
    if filters := args.get("costFilters"):
        wanted["CostFilters"] = {each["name"]: each["values"] for each in filters}
    return wanted


def _notification(args: Args) -> dict[str, Any]:
    return {name[0].upper() + name[1:]: args[name] for name in _NOTIFICATION}


def _subscribers(args: Args) -> list[dict[str, str]]:
    return [
        {"SubscriptionType": kind, "Address": address}
        for kind, name in _KINDS.items()
        for address in args.get(name) or []
    ]


def _create(aws: Aws, args: Args) -> str:
    account = args.get("accountId") or aws.account
    tags = {"ResourceTags": tag_list(args["tagsAll"])} if args.get("tagsAll") else {}
    aws.client("budgets").create_budget(AccountId=account, Budget=_budget(args), **tags)
    return f"{account}:{args['name']}"


def _notify(aws: Aws, identifier: str, args: Args) -> None:
    for each in args.get("notifications") or []:
        with ignoring("DuplicateRecordException"):
            aws.client("budgets").create_notification(
                **_named(identifier), Notification=_notification(each), Subscribers=_subscribers(each)
            )


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    client, named = aws.client("budgets"), _named(identifier)
    found = find(lambda: client.describe_budget(**named)["Budget"], "NotFoundException")
    if found is None:
        return None
    period, limit = found.get("TimePeriod", {}), found.get("BudgetLimit", {})
    arn = f"arn:{aws.partition}:budgets::{named['AccountId']}:budget/{named['BudgetName']}"
    return {
        "accountId": named["AccountId"],
        "arn": arn,
        "budgetType": found["BudgetType"],
        "costFilters": [{"name": name, "values": values} for name, values in found.get("CostFilters", {}).items()],
        "limitAmount": limit.get("Amount"),
        "limitUnit": limit.get("Unit"),
        "name": named["BudgetName"],
        "notifications": _read_notifications(client, named),
        "timePeriodEnd": period["End"].astimezone(UTC).strftime(_TIME) if "End" in period else None,
        "timePeriodStart": period["Start"].astimezone(UTC).strftime(_TIME) if "Start" in period else None,
        "timeUnit": found["TimeUnit"],
        "tagsAll": tag_map(client.list_tags_for_resource(ResourceARN=arn).get("ResourceTags")),
    }


def _read_notifications(client: Any, named: dict[str, str]) -> list[Args]:
    found = []
    for each in client.describe_notifications_for_budget(**named)["Notifications"]:
        each.pop("NotificationState", None)
        told = client.describe_subscribers_for_notification(**named, Notification=each)["Subscribers"]
        addresses = {
            name: [one["Address"] for one in told if one["SubscriptionType"] == kind] for kind, name in _KINDS.items()
        }
        found.append(
            {
                "comparisonOperator": each["ComparisonOperator"],
                "notificationType": each["NotificationType"],
                "threshold": int(each["Threshold"]),
                # AWS does not always tell the type when it is PERCENTAGE (`resourceBudgetRead`).
                "thresholdType": each.get("ThresholdType", "PERCENTAGE"),
                **{name: value for name, value in addresses.items() if value},
            }
        )
    return found


def _update(aws: Aws, identifier: str, old: Args, new: Args, changed: set[str]) -> None:
    client, named = aws.client("budgets"), _named(identifier)
    if changed - {"notifications"}:
        kept = {name: old.get(name) for name in ("costFilters", "timePeriodStart")}
        client.update_budget(AccountId=named["AccountId"], NewBudget=_budget({**kept, **new}))
    if "notifications" in changed:
        had, wanted = old.get("notifications") or [], new.get("notifications") or []
        for each in had:
            if each not in wanted:
                with ignoring("NotFoundException"):
                    client.delete_notification(**named, Notification=_notification(each))
        _notify(aws, identifier, {"notifications": [each for each in wanted if each not in had]})


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("NotFoundException"):
        aws.client("budgets").delete_budget(**_named(identifier))


BUDGET: Final = Resource(
    type_name="aws:budgets/budget:Budget",
    inputs={
        "accountId": text(computed=True),
        "budgetType": text(required=True),
        "costFilters": unordered(
            block({"name": text(required=True), "values": sequence(text(), required=True)}), computed=True
        ),
        "limitAmount": text(computed=True, same=_same_amount),
        "limitUnit": text(computed=True),
        "name": text(computed=True),
        "notifications": unordered(
            block(
                {
                    "comparisonOperator": text(required=True),
                    "notificationType": text(required=True),
                    "subscriberEmailAddresses": unordered(text()),
                    "subscriberSnsTopicArns": unordered(text()),
                    # AWS takes fractions, too; whole numbers are what is emulated.
                    "threshold": integer(required=True),
                    "thresholdType": text(required=True),
                }
            )
        ),
        "timePeriodEnd": text(default="2087-06-15_00:00"),
        "timePeriodStart": text(computed=True),
        "timeUnit": text(required=True),
    },
    outputs=("arn",),
    replaces=dict.fromkeys(("accountId", "name"), _SOURCE),
    create=_create,
    finish=_notify,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=100),
    regional=False,
)

RESOURCES: Final = (BUDGET,)
