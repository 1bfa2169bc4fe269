"""The scale-in function around its core: what comes again, what is dropped, what is logged and counted."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from services.fabric.authority import issue
from services.fabric.errors import FabricServiceError, GatewayUnreachableError, GatewayUntrustedError
from services.fabric.lifecycle import Instance
from services.fabric.scale_in.aws import PatientGateway, Settings, ends
from services.fabric.scale_in.core import HOOK
from services.fabric.scale_in.messages import continuation
from tests.services.fabric.fleet import HEARTBEAT, Fleet
from tests.services.fabric.samples import batch, text

CONTEXT = SimpleNamespace(
    function_name="scale-in", memory_limit_in_mb=256, invoked_function_arn="arn", aws_request_id="request"
)
EVENT = text("autoscaling_terminate")
ENVIRONMENT = {
    "FLEETSTREAM_CLUSTER": "drill",
    "FLEETSTREAM_GATEWAY": "https://127.0.0.1:19080",
    "FLEETSTREAM_CLIENT_SECRET": "arn:aws:secretsmanager:us-east-1:123456789012:secret:client",
    "FLEETSTREAM_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/scale-in",
    "FLEETSTREAM_POLL_SECONDS": "20",
}


class _Failing:
    """EC2 when AWS itself fails."""

    def instance(self, instance_id: str) -> Instance:
        raise RuntimeError("InternalError")

    def instances(self, cluster: str) -> list[Instance]:
        raise RuntimeError("InternalError")

    def stop(self, instance_id: str) -> None:
        raise RuntimeError("InternalError")


class Stage:
    """The handler on a fleet in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        from services.fabric.scale_in import handler

        self.handler = handler
        self.fleet = Fleet()
        self._capsys = capsys
        self.counted: Counter[str] = Counter()
        self.use()
        monkeypatch.setattr(handler, "connected", lambda: (self.world, PatientGateway(lambda: pytest.fail("asked"))))

    def use(self, **changes: Any) -> None:
        self.world = self.fleet.process(record=self.handler.note, gauge=self.handler.count, **changes)

    def handle(self, *bodies: str) -> list[str]:
        """The ids of the messages that shall come again."""
        answer = self.handler.handle(batch(*bodies), CONTEXT)
        self.counted.clear()
        for line in self._capsys.readouterr().out.splitlines():
            found = json.loads(line)
            for metric in found.get("_aws", {}).get("CloudWatchMetrics", ()):
                assert metric["Namespace"] == "fleetstream"
                for one in metric["Metrics"]:
                    values = found[one["Name"]]
                    self.counted[one["Name"]] += len(values) if one["Unit"] == "Milliseconds" else sum(values)
        return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stage:
    return Stage(monkeypatch, capsys)


def test_an_event_begins_a_removal_and_is_not_wanted_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.fleet.terminate("i-worker-0")
    assert stage.handle(EVENT) == []
    assert stage.fleet.changes == ["deactivate"]
    assert stage.counted == {"Messages": 1, "StepsDone": 1, "Waiting": 1}
    entry = caplog.records[0].__dict__
    assert {name: entry[name] for name in ("step", "outcome", "node", "instance", "group", "milliseconds")} == {
        "step": "deactivate",
        "outcome": "done",
        "node": "worker-0",
        "instance": "i-worker-0",
        "group": "workers",
        "milliseconds": 0,
    }


def test_what_nobody_should_have_sent_is_dropped_with_its_content(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    assert stage.handle("{", "x" * 10_000, text("autoscaling_test_notification"), text("autoscaling_launch")) == []
    assert stage.counted == {"Messages": 4, "MalformedMessages": 2, "NeedlessMessages": 2}
    entries = [record.__dict__ for record in caplog.records]
    assert (entries[0]["content"], entries[0]["message_id"]) == ("{", "m-0")
    assert len(entries[1]["content"]) == 2000


def test_only_the_message_that_aws_failed_comes_again(stage: Stage) -> None:
    stage.fleet.terminate("i-worker-0")
    stage.use(machines=_Failing())
    assert stage.handle("{", EVENT, text("autoscaling_test_notification")) == ["m-1"]
    assert stage.counted["FailedMessages"] == 1


def test_when_every_message_fails_each_is_named(stage: Stage) -> None:
    stage.fleet.terminate("i-worker-0")
    stage.use(machines=_Failing())
    assert stage.handle(EVENT, text("scheduled")) == ["m-0", "m-1"]


def test_a_batch_is_taken_in_its_order_and_doubles_do_no_harm(stage: Stage) -> None:
    actions = [stage.fleet.terminate(f"i-worker-{number}") for number in range(3)]
    assert stage.handle(*[continuation(action) for action in actions for _ in range(2)], text("scheduled")) == []
    assert stage.fleet.changes == ["deactivate"]
    assert len(stage.fleet.queue) == 3


def test_a_sweep_counts_what_the_alarms_are_on(stage: Stage) -> None:
    assert stage.handle(text("scheduled")) == []
    assert stage.counted == {"Messages": 1, "Retained": 0, "SeedsUp": 3, "CertificateDaysLeft": 90, "Sweeps": 1}


def test_a_sweep_that_met_a_silent_gateway_counts_that_and_not_itself(stage: Stage) -> None:
    stage.fleet.reachable = False
    assert stage.handle(text("scheduled")) == []
    assert stage.counted == {"Messages": 1, "Retained": 0, "GatewayUnreachable": 1, "CertificateDaysLeft": 90}


def test_a_machine_that_waits_nearly_until_its_hook_ends_is_counted(stage: Stage) -> None:
    stage.fleet.reachable = False
    action = stage.fleet.terminate("i-worker-0")
    began = stage.fleet.clock.now - 0.9 * HEARTBEAT * 100
    assert stage.handle(continuation(replace(action, began=began))) == []
    assert stage.counted["HooksNearTimeout"] == 1


def test_a_refusal_is_an_error_in_the_log_and_a_metric(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.fleet.terminate("i-seed-0")
    assert stage.handle(text("autoscaling_terminate", EC2InstanceId="i-seed-0", AutoScalingGroupName="seeds")) == []
    assert stage.counted == {"Messages": 1, "RemovalsRefused": 1}
    assert caplog.records[0].levelname == "ERROR"


class TestSettings:
    def test_as_the_program_sets_them(self) -> None:
        found = Settings.from_environment(ENVIRONMENT)
        assert (found.cluster, found.poll_seconds, found.hook) == ("drill", 20, HOOK)

    @pytest.mark.parametrize("seconds", ["", "0", "901", "2.5", "soon"])
    def test_every_variable_at_fault_is_named(self, seconds: str) -> None:
        wrong = {**ENVIRONMENT, "FLEETSTREAM_POLL_SECONDS": seconds, "FLEETSTREAM_CLUSTER": ""}
        with pytest.raises(FabricServiceError, match="FLEETSTREAM_CLUSTER is not set; FLEETSTREAM_POLL_SECONDS"):
            Settings.from_environment(wrong)


def test_the_clients_certificate_and_its_authority_tell_when_they_end() -> None:
    young, old = (issue("fleet", datetime(year, 3, 1, tzinfo=UTC)).client for year in (2030, 2020))
    found = ends(replace(young, authority=old.authority), "the secret")
    # Five years of 365 days.
    assert [datetime.fromtimestamp(each, UTC).date() for each in found] == [date(2035, 2, 28), date(2025, 2, 28)]
    with pytest.raises(FabricServiceError, match="the secret holds no certificate"):
        ends(replace(young, authority="-"), "the secret")


class _Answering:
    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    def nodes(self) -> list[Any]:
        self.asked += 1
        if answer := self.answers.pop(0):
            raise answer
        return []


class TestPatientGateway:
    def test_silence_is_met_once_an_invocation(self) -> None:
        silent = _Answering(GatewayUnreachableError("silent"), None)
        gateway = PatientGateway(lambda: silent)  # type: ignore[arg-type,return-value]
        for _ in range(3):
            with pytest.raises(GatewayUnreachableError, match="silent"):
                gateway.nodes()
        assert silent.asked == 1
        gateway.invoked()
        assert gateway.nodes() == []

    def test_a_certificate_that_is_not_accepted_is_fetched_anew(self) -> None:
        gateways = [_Answering(GatewayUntrustedError("rotated")), _Answering(None)]
        gateway = PatientGateway(lambda: gateways.pop(0))  # type: ignore[arg-type,return-value]
        with pytest.raises(GatewayUntrustedError):
            gateway.nodes()
        assert gateway.nodes() == []
