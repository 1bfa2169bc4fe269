"""EventBridge: rules whose patterns and schedules are checked, and events that really go to queues and functions.

EventBridge API Reference, PutRule, PutTargets and PutEvents. moto keeps rules, targets and buses; what it would
accept and not carry out is refused by name. Other extensions tell about what happens in their services with
`publish`.
"""

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from moto.core.exceptions import JsonRESTError
from moto.events import urls
from moto.events.exceptions import InvalidEventPatternException, ValidationException
from moto.events.models import EventsBackend, Rule, events_backends

from envs.sandbox.aws import event_patterns
from envs.sandbox.aws.event_delivery import Delivery, Desk
from envs.sandbox.aws.host import Host

_TARGET_FIELDS: Final = frozenset({"Id", "Arn", "Input", "DeadLetterConfig", "RetryPolicy", "SqsParameters"})
_TARGETS_OF_A_RULE: Final = 5
_FUNCTION_ARN: Final = re.compile(r"arn:aws:lambda:[^:]+:\d{12}:function:[\w-]+(:[\w$-]+)?")
_QUEUE_ARN: Final = re.compile(r"arn:aws:sqs:[^:]+:\d{12}:[\w-]+(\.fifo)?")


class RulesBackend(EventsBackend):
    """moto's backend, with AWS's refusals and with deliveries."""

    desk: ClassVar[Desk]

    @property
    def _url_module(self) -> Any:
        return urls

    def put_rule(self, name: str, *arguments: Any, **options: Any) -> Rule:
        if pattern := options.get("event_pattern"):
            try:
                event_patterns.parse(pattern)
            except event_patterns.PatternError as error:
                raise InvalidEventPatternException(reason=str(error)) from error
        return super().put_rule(name, *arguments, **options)

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


def publish(
    account_id: str, region: str, *, source: str, detail_type: str, resources: list[str], detail: dict[str, Any]
) -> None:
    """Reports an event of an emulated service (``aws.autoscaling``). Returns at once; rules decide who gets it."""
    backend = events_backends[account_id][region]
    assert isinstance(backend, RulesBackend)  # noqa: S101 (for the type checker; `install` sees to it)
    backend.publish(source, detail_type, resources, detail)


def install(host: Host) -> None:
    """Puts this backend in the place of moto's."""
    RulesBackend.desk = Desk(host.account)
    # moto's own delivery knows neither rights nor faults.
    Rule.send_to_targets = _deliver_nothing  # type: ignore[method-assign]
    events_backends.backend = RulesBackend


def close() -> None:
    """Ends deliveries."""
    RulesBackend.desk.close()


def _deliver_nothing(_rule: Rule, *_: Any, **__: Any) -> None:
    """`RulesBackend` delivers."""


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
