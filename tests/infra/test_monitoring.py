"""Alarms: each tells somebody, through a topic that CloudWatch can use and nobody else, and has its chart."""

import json
from typing import Any

import pytest
from declared import ACCOUNT, Declaration

from infra.alarms import Alarm, of_brokers
from infra.fleet_alarms import of_fleet
from infra.sections import Fleet, Monitoring, ScaleIn

TOPIC = f"arn:aws:x:eu-central-1:{ACCOUNT}:monitoring-alarms"
OWN_ALARMS = {
    "StringEquals": {"aws:SourceAccount": ACCOUNT},
    "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:eu-central-1:{ACCOUNT}:alarm:*"},
}


def alarms(declaration: Declaration) -> dict[str, dict[str, Any]]:
    return {
        each.name.removeprefix("monitoring-"): each.properties
        for each in declaration.all("MetricAlarm")
        if each.name.startswith("monitoring-")
    }


def fleet_alarm(name: str, settings: Fleet) -> Alarm:
    (found,) = [each for each in of_fleet("c", "q", "p", settings) if each.name == name]
    return found


def statements(declaration: Declaration, type_: str, name: str) -> dict[str, dict[str, Any]]:
    document = json.loads(declaration.one(type_, name).properties["policy"])
    return {each["Sid"]: each for each in document["Statement"]}


def test_brokers_delivery_and_functions_are_watched(sandbox: Declaration) -> None:
    assert set(alarms(sandbox)) == {
        "offline-partitions",
        "no-controller",
        "under-replicated",
        "broker-disk",
        "broker-cpu",
        "archive-late",
        "archive-failing",
        "archive-lag",
        "archive-throttled",
        "gate-failing",
        *(
            f"{function}-{kind}"
            for function in ("archive-gate", "scale-in", "seed-launch")
            for kind in ("errors", "throttles", "dead-letters")
        ),
        "seeds-near-quorum",
        "workers-retained",
        "sweep-missing",
        "gateway-unreachable",
        "hooks-near-timeout",
        "certificate-ends",
        "scale-in-undone",
        "snapshots-failing",
    }


@pytest.mark.parametrize(("seeds", "fewest"), [(3, 3), (5, 4), (7, 5), (9, 6)])
def test_seeds_call_somebody_while_one_more_may_still_be_lost(seeds: int, fewest: int) -> None:
    alarm = fleet_alarm("seeds-near-quorum", Fleet(seeds=seeds))
    assert (alarm.comparison, alarm.threshold, alarm.statistic) == ("below", fewest, "Minimum")


def test_a_sweep_is_missed_after_three_of_its_turns() -> None:
    alarm = fleet_alarm("sweep-missing", Fleet(scale_in=ScaleIn(sweep_minutes=5)))
    assert alarm.metrics == ("Sweeps",)
    assert (alarm.comparison, alarm.threshold, alarm.minutes, alarm.missing) == ("below", 1, 15, "breaching")


@pytest.mark.parametrize(("minutes", "watched"), [(1, 4), (5, 16), (60, 181)])
def test_a_gateway_calls_somebody_once_three_sweeps_met_its_silence(minutes: int, watched: int) -> None:
    alarm = fleet_alarm("gateway-unreachable", Fleet(scale_in=ScaleIn(sweep_minutes=minutes)))
    assert alarm.metrics == ("GatewayUnreachable",)
    assert (alarm.times, alarm.minutes, alarm.missing) == (3, watched, "notBreaching")
    # What CloudWatch evaluates of one-minute periods ends after a day.
    assert watched * 60 <= 86_400


def test_only_the_gateways_alarm_asks_for_some_of_its_minutes(sandbox: Declaration) -> None:
    asked = {
        name: alarm["datapointsToAlarm"] for name, alarm in alarms(sandbox).items() if "datapointsToAlarm" in alarm
    }
    assert asked == {"gateway-unreachable": 3}


def test_a_machine_that_waits_for_too_long_calls_somebody_at_once() -> None:
    alarm = fleet_alarm("hooks-near-timeout", Fleet())
    assert alarm.metrics == ("HooksNearTimeout",)
    assert (alarm.comparison, alarm.threshold, alarm.minutes, alarm.missing) == ("above", 0, 1, "notBreaching")


def test_a_certificate_calls_somebody_a_month_before_it_ends() -> None:
    alarm = fleet_alarm("certificate-ends", Fleet())
    assert alarm.metrics == ("CertificateDaysLeft",)
    assert (alarm.comparison, alarm.threshold, alarm.statistic, alarm.missing) == ("below", 30, "Minimum", "ignore")


def test_every_alarm_tells_when_it_begins_and_when_it_ends(sandbox: Declaration) -> None:
    for name, alarm in alarms(sandbox).items():
        assert alarm["alarmActions"] == alarm["okActions"] == [TOPIC], name
        assert alarm["alarmDescription"], name


@pytest.mark.parametrize(
    ("name", "namespace", "metric", "dimensions"),
    [
        ("offline-partitions", "AWS/Kafka", "OfflinePartitionsCount", {"Cluster Name": "streaming-cluster"}),
        ("archive-late", "AWS/Firehose", "DeliveryToS3.DataFreshness", {"DeliveryStreamName": "archive-stream"}),
        ("archive-lag", "AWS/Firehose", "KafkaOffsetLag", {"DeliveryStreamName": "archive-stream"}),
        ("archive-gate-errors", "AWS/Lambda", "Errors", {"FunctionName": "fleetstream-sandbox-archive-gate"}),
        (
            "archive-gate-dead-letters",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"QueueName": "archive-gate-dead-letters"},
        ),
    ],
)
def test_an_alarm_watches_the_metric_of_what_was_made(
    sandbox: Declaration, name: str, namespace: str, metric: str, dimensions: dict[str, str]
) -> None:
    alarm = alarms(sandbox)[name]
    assert (alarm["namespace"], alarm["metricName"], alarm["dimensions"]) == (namespace, metric, dimensions)


def test_the_worst_broker_counts_however_many_there_are(sandbox: Declaration) -> None:
    user, system, total = alarms(sandbox)["broker-cpu"]["metricQueries"]
    assert user["expression"] == (
        'SELECT MAX("CpuUser") FROM SCHEMA("AWS/Kafka", "Cluster Name", "Broker ID") '
        "WHERE \"Cluster Name\" = 'streaming-cluster'"
    )
    assert "CpuSystem" in system["expression"]
    assert total["expression"] == "m1 + m2"
    assert [each["returnData"] for each in (user, system, total)] == [False, False, True]


def test_a_missing_controller_is_as_bad_as_none(sandbox: Declaration) -> None:
    alarm = alarms(sandbox)["no-controller"]
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("LessThanThreshold", 1)
    assert alarm["treatMissingData"] == "breaching"


def test_thresholds_come_from_the_settings() -> None:
    found = {each.name: each for each in of_brokers("c", Monitoring(disk_percent=70, under_replicated_minutes=3))}
    assert found["broker-disk"].threshold == 70
    assert found["under-replicated"].minutes == 3


def test_cloudwatch_may_publish_for_alarms_of_this_account_only(sandbox: Declaration) -> None:
    topic = statements(sandbox, "TopicPolicy", "monitoring-alarms")
    assert {sid: each["Effect"] for sid, each in topic.items()} == {"TlsOnly": "Deny", "Alarms": "Allow"}
    assert topic["Alarms"]["Action"] == ["sns:Publish"]
    key = statements(sandbox, "Key", "monitoring-key")
    assert key["Alarms"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    for statement in (topic["Alarms"], key["Alarms"]):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Condition"] == OWN_ALARMS
    assert (
        sandbox.one("sns/topic:Topic", "monitoring-alarms").properties["kmsMasterKeyId"].endswith(":monitoring-key")
    )


def test_people_are_told_by_mail(sandbox: Declaration) -> None:
    told = sandbox.one("TopicSubscription", "monitoring-sandbox@example.com").properties
    assert (told["protocol"], told["endpoint"], told["topic"]) == ("email", "sandbox@example.com", TOPIC)


def test_every_alarm_has_a_chart_with_its_threshold(sandbox: Declaration) -> None:
    dashboard = sandbox.one("Dashboard").properties
    assert dashboard["dashboardName"] == "fleetstream-sandbox-overview"
    widgets = json.loads(dashboard["dashboardBody"])["widgets"]
    charts = {each["properties"]["title"]: each for each in widgets}
    assert set(charts) == set(alarms(sandbox))
    for name, chart in charts.items():
        (line,) = chart["properties"]["annotations"]["horizontal"]
        assert line["value"] == alarms(sandbox)[name]["threshold"]
        assert chart["properties"]["region"] == "eu-central-1"
        assert chart["x"] + chart["width"] <= 24
    assert len({(each["x"], each["y"]) for each in widgets}) == len(widgets)
