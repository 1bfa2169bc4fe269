"""Alarms and dashboards."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import block, boolean, document, integer, mapping, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("cloudwatch").tag_resource(ResourceARN=state["arn"], Tags=tag_list(tags))


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("cloudwatch").untag_resource(ResourceARN=state["arn"], TagKeys=keys)


# Alarm ----------------------------------------------------------------------------------------------------------

_ALARM: Final = {
    "actionsEnabled": boolean(default=True),
    "alarmActions": unordered(text()),
    "alarmDescription": text(),
    "comparisonOperator": text(),
    "datapointsToAlarm": integer(),
    "evaluationPeriods": integer(),
    "extendedStatistic": text(),
    "insufficientDataActions": unordered(text()),
    "metricName": text(),
    "metricQueries": unordered(
        block(
            {
                "expression": text(),
                "id": text(required=True),
                "label": text(),
                "period": integer(),
                "returnData": boolean(default=False),
            }
        ),
        api="Metrics",
    ),
    "name": text(computed=True, api="AlarmName"),
    "namespace": text(),
    "okActions": unordered(text(), api="OKActions"),
    "period": integer(),
    "statistic": text(),
    "threshold": integer(),
    "treatMissingData": text(default="missing"),
    "unit": text(),
}


def _alarm(aws: Aws, name: str) -> dict[str, Any] | None:
    told = aws.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm"])
    return next(iter(told["MetricAlarms"]), None)


def _put_alarm(aws: Aws, args: Args, **more: Any) -> None:
    wanted = {**request(_ALARM, args), **more}
    wanted["Dimensions"] = [
        {"Name": name, "Value": value} for name, value in sorted((args.get("dimensions") or {}).items())
    ]
    aws.client("cloudwatch").put_metric_alarm(**wanted)


def _create_alarm(aws: Aws, args: Args) -> str:
    if _alarm(aws, args["name"]):
        raise ProviderError(f"the alarm {args['name']} exists already: CloudWatch would overwrite it without a word")
    _put_alarm(aws, args, Tags=tag_list(args.get("tagsAll")))
    return args["name"]


def _read_alarm(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _alarm(aws, identifier)
    if found is None:
        return None
    tags = aws.client("cloudwatch").list_tags_for_resource(ResourceARN=found["AlarmArn"])["Tags"]
    told = answer(_ALARM, found)
    threshold = told.get("threshold")
    return {
        **told,
        "dimensions": {each["Name"]: each["Value"] for each in found.get("Dimensions", [])},
        "threshold": int(threshold) if threshold is not None else None,
        "treatMissingData": told.get("treatMissingData", "missing"),
        "arn": found["AlarmArn"],
        "tagsAll": tag_map(tags),
    }


def _update_alarm(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_alarm(aws, new)


def _delete_alarm(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("ResourceNotFound"):
        aws.client("cloudwatch").delete_alarms(AlarmNames=[identifier])


METRIC_ALARM: Final = Resource(
    type_name="aws:cloudwatch/metricAlarm:MetricAlarm",
    inputs={**_ALARM, "dimensions": mapping(text())},
    outputs=("arn",),
    replaces={"name": "internal/service/cloudwatch/metric_alarm.go"},
    create=_create_alarm,
    read=_read_alarm,
    update=_update_alarm,
    delete=_delete_alarm,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=255),
)


# Dashboard ------------------------------------------------------------------------------------------------------


def _put_dashboard(aws: Aws, args: Args) -> str:
    aws.client("cloudwatch").put_dashboard(DashboardName=args["dashboardName"], DashboardBody=args["dashboardBody"])
    return args["dashboardName"]


def _read_dashboard(aws: Aws, identifier: str, _: Args) -> Args | None:
    ask = aws.client("cloudwatch").get_dashboard
    found = find(lambda: ask(DashboardName=identifier), "ResourceNotFound")
    return found and {
        "dashboardArn": found["DashboardArn"],
        "dashboardBody": found["DashboardBody"],
        "dashboardName": found["DashboardName"],
    }


def _update_dashboard(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_dashboard(aws, new)


def _delete_dashboard(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("ResourceNotFound"):
        aws.client("cloudwatch").delete_dashboards(DashboardNames=[identifier])


DASHBOARD: Final = Resource(
    type_name="aws:cloudwatch/dashboard:Dashboard",
    inputs={"dashboardBody": document(required=True), "dashboardName": text(required=True)},
    outputs=("dashboardArn",),
    replaces={"dashboardName": "internal/service/cloudwatch/dashboard.go"},
    create=_put_dashboard,
    read=_read_dashboard,
    update=_update_dashboard,
    delete=_delete_dashboard,
    identity=("dashboardName",),
)

RESOURCES: Final = (METRIC_ALARM, DASHBOARD)
