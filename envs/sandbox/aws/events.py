"""EventBridge: rules whose patterns and schedules are checked, and events that really go to queues and functions.

EventBridge API Reference, PutRule, PutTargets and PutEvents. moto keeps rules, targets and buses; what it would
accept and not carry out is refused by name. Other extensions tell about what happens in their services with
`publish`.
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from moto.core.exceptions import JsonRESTError
from moto.events import urls
from moto.events.exceptions import InvalidEventPatternException, ValidationException
from moto.events.models import EventsBackend, Rule, events_backends

from envs.sandbox.aws import event_patterns, event_schedules
from envs.sandbox.aws.event_delivery import Delivery, Desk
from envs.sandbox.aws.host import Host

_TARGET_FIELDS: Final = frozenset({"Id", "Arn", "Input", "DeadLetterConfig", "RetryPolicy", "SqsParameters"})
_TARGETS_OF_A_RULE: Final = 5
_TICK: Final = 0.5
"""Seconds between two looks at the schedules."""
_FUNCTION_ARN: Final = re.compile(r"arn:aws:lambda:[^:]+:\d{12}:function:[\w-]+(:[\w$-]+)?")
_QUEUE_ARN: Final = re.compile(r"arn:aws:sqs:[^:]+:\d{12}:[\w-]+(\.fifo)?")


class RulesBackend(EventsBackend):
    """moto's backend, with AWS's refusals and with deliveries."""

    desk: ClassVar[Desk]
    ticker: ClassVar["Ticker"]

    @property
    def _url_module(self) -> Any:
        return urls

    def put_rule(self, name: str, *arguments: Any, **options: Any) -> Rule:
        if pattern := options.get("event_pattern"):
            try:
                event_patterns.parse(pattern)
            except event_patterns.PatternError as error:
                raise InvalidEventPatternException(reason=str(error)) from error
        schedule = options.get("scheduled_expression")
        if schedule:
            _check_schedule(schedule)
        made = super().put_rule(name, *arguments, **options)
        if schedule:
            self.ticker.watch(self, made)
        return made

    def put_targets(self, name: str, event_bus_arn: str | None, targets: list[dict[str, Any]]) -> None:
        for target in targets:
            _check_target(target)
        here = {target["Id"] for target in self.describe_rule(name, event_bus_arn).targets}
        if len(here | {target["Id"] for target in targets}) > _TARGETS_OF_A_RULE:
            raise JsonRESTError(
                "LimitExceededException", f"The requested resource exceeds the maximum number allowed: {name}"
            )
        super().put_targets(name, event_bus_arn, targets)

    def put_events(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        # moto judges the entries; it would deliver them as well.
        for entry, answer in zip(events, super().put_events(events), strict=True):
            told.append(answer)
            if "EventId" in answer:
                self._route(self._event(entry, answer["EventId"]), entry.get("EventBusName"))
        return told

    def publish(self, source: str, detail_type: str, resources: list[str], detail: Mapping[str, Any]) -> None:
        """What a service of AWS reports: it goes to the account's default bus."""
        entry = {"Source": source, "DetailType": detail_type, "Resources": resources, "Detail": json.dumps(detail)}
        self._route(self._event(entry, str(uuid.uuid4())), None)

    def fire(self, rule: Rule) -> str:
        """What a schedule does when its time has come; the id of the event."""
        entry = {
            "Source": "aws.events",
            "DetailType": "Scheduled Event",
            "Resources": [rule.arn],
            "Detail": "{}",
        }
        event = self._event(entry, str(uuid.uuid4()))
        self._hand_over(rule, event)
        return event["id"]

    def _event(self, entry: Mapping[str, Any], event_id: str) -> dict[str, Any]:
        """The envelope of every event (EventBridge User Guide, "AWS service event metadata")."""
        when = datetime.fromtimestamp(float(entry["Time"]), UTC) if entry.get("Time") else datetime.now(UTC)
        return {
            "version": "0",
            "id": event_id,
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": self.account_id,
            "time": f"{when:%Y-%m-%dT%H:%M:%SZ}",
            "region": self.region_name,
            "resources": entry.get("Resources") or [],
            "detail": json.loads(entry["Detail"]),
        }

    def _route(self, event: dict[str, Any], bus: str | None) -> None:
        for rule in list(self._get_event_bus(bus or "default").rules.values()):
            pattern = rule.event_pattern.get_pattern()
            if rule.state != "DISABLED" and pattern and event_patterns.matches(pattern, event):
                self._hand_over(rule, event)

    def _hand_over(self, rule: Rule, event: dict[str, Any]) -> None:
        for target in list(rule.targets):
            self.desk.take(Delivery(rule.name, rule.arn, dict(target), event))


class Ticker:
    """Fires scheduled rules: rates by the time since they were put, cron by the clock. `close` ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watched: dict[str, tuple[RulesBackend, Rule, float]] = {}
        self._thread: threading.Thread | None = None
        self._minute = datetime.now(UTC).replace(second=0, microsecond=0)

    def watch(self, backend: RulesBackend, rule: Rule) -> None:
        """Fires a rule from now on, for as long as it exists in this form."""
        with self._lock:
            self._watched[rule.arn] = (backend, rule, time.monotonic())
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="event-schedules", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Fires nothing any more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(_TICK):
            now = datetime.now(UTC).replace(second=0, microsecond=0)
            new_minute, self._minute = now != self._minute, now
            with self._lock:
                watched = list(self._watched.items())
            for arn, (backend, rule, since) in watched:
                if backend.event_buses["default"].rules.get(rule.name) is not rule:
                    with self._lock:
                        if self._watched.get(arn, (None, None))[1] is rule:
                            del self._watched[arn]
                    continue
                schedule = event_schedules.parse(str(rule.scheduled_expression))
                if isinstance(schedule, event_schedules.Rate):
                    due = time.monotonic() >= since + schedule.seconds
                    if due:
                        with self._lock:
                            self._watched[arn] = (backend, rule, since + schedule.seconds)
                else:
                    due = new_minute and schedule.fires(now)
                if due and rule.state != "DISABLED":
                    backend.fire(rule)


def publish(
    account_id: str, region: str, *, source: str, detail_type: str, resources: list[str], detail: dict[str, Any]
) -> None:
    """Reports an event of an emulated service (``aws.autoscaling``). Returns at once; rules decide who gets it."""
    _backend(account_id, region).publish(source, detail_type, resources, detail)


def fire(account_id: str, region: str, rule_name: str) -> str:
    """Fires a scheduled rule by hand; the id of the event. Raises moto's `JsonRESTError` for a rule that cannot."""
    backend = _backend(account_id, region)
    rule = backend.describe_rule(rule_name, None)
    if not rule.scheduled_expression or rule.state == "DISABLED":
        raise ValidationException(f"Rule {rule_name} has no schedule, or is disabled.")
    return backend.fire(rule)


def _backend(account_id: str, region: str) -> RulesBackend:
    backend = events_backends[account_id][region]
    assert isinstance(backend, RulesBackend)  # noqa: S101 (for the type checker; `install` sees to it)
    return backend


def install(host: Host) -> None:
    """Puts this backend in the place of moto's."""
    RulesBackend.desk = Desk(host.account)
    RulesBackend.ticker = Ticker()
    # moto's own delivery knows neither rights nor faults.
    Rule.send_to_targets = _deliver_nothing  # type: ignore[method-assign]
    events_backends.backend = RulesBackend


def close() -> None:
    """Ends schedules and deliveries."""
    RulesBackend.ticker.close()
    RulesBackend.desk.close()


def _deliver_nothing(_rule: Rule, *_: Any, **__: Any) -> None:
    """`RulesBackend` delivers."""


def _check_schedule(expression: str) -> None:
    try:
        event_schedules.parse(expression)
    except event_schedules.UnknownScheduleError as error:
        raise JsonRESTError("NotImplemented", f"the emulated EventBridge does not know {error}") from error
    except event_schedules.ScheduleError as error:
        raise ValidationException(f"Parameter ScheduleExpression is not valid. ({error})") from error


def _check_target(target: Mapping[str, Any]) -> None:
    if unknown := sorted(target.keys() - _TARGET_FIELDS):
        raise JsonRESTError(
            "NotImplemented",
            f"the emulated EventBridge does not implement {', '.join(unknown)} of target {target.get('Id')}",
        )
    arn = target["Arn"]
    if not _FUNCTION_ARN.fullmatch(arn) and not _QUEUE_ARN.fullmatch(arn):
        if arn.startswith("arn:"):
            raise JsonRESTError(
                "NotImplemented", f"the emulated EventBridge delivers to SQS queues and functions only, not to {arn}"
            )
        raise ValidationException(f"Parameter {arn} is not valid. Reason: Provided Arn is not in correct format.")
    if "Input" in target:
        try:
            json.loads(target["Input"])
        except ValueError:
            raise ValidationException(f"JSON syntax error in input for target {target['Id']}") from None
    _check_retries(target)


def _check_retries(target: Mapping[str, Any]) -> None:
    retries = target.get("RetryPolicy") or {}
    for name, low, high in (("MaximumRetryAttempts", 0, 185), ("MaximumEventAgeInSeconds", 60, 86400)):
        if name in retries and not low <= retries[name] <= high:
            raise ValidationException(f"{name} of target {target['Id']} must be from {low} to {high}")
    dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
    if dead_letters and (not _QUEUE_ARN.fullmatch(dead_letters) or dead_letters.endswith(".fifo")):
        raise ValidationException(f"{dead_letters} of target {target['Id']} is not a standard SQS queue")
