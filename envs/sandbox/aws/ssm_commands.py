"""Run Command as Systems Manager keeps it: commands, what each machine made of them, and their time-outs.

Systems Manager API Reference, SendCommand and GetCommandInvocation; User Guide, "Understanding command statuses",
"Understanding command timeouts" and "Run commands at scale" (concurrency and error thresholds). Only the documents
that run a script are known here.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

DOCUMENTS: Final = {
    "AWS-RunPowerShellScript": ("runPowerShellScript", "Windows"),
    "AWS-RunShellScript": ("runShellScript", "Linux"),
}
"""The plugin of each document, and the platform that it is for."""
MOST_OUTPUT: Final = 24_000
"""Characters of output that GetCommandInvocation tells; more would be in S3."""

_PENDING: Final = "Pending"
_RUNNING: Final = "InProgress"
_LIVE: Final = (_PENDING, _RUNNING, "Cancelling")
_RESULTS: Final = ("Success", "Failed", "TimedOut", "Cancelled")
_DETAILS: Final = {"TimedOut": "ExecutionTimedOut"}


def threshold(given: str, targets: int, *, up: bool) -> int:
    """A number, or a percentage of the targets rounded `up` or down. Raises `ValueError` for anything else."""
    if not (found := re.fullmatch(r"(\d{1,7})(%?)", given)):
        raise ValueError(f"{given!r} is neither a number nor a percentage")
    number = int(found[1])
    if not found[2]:
        return number
    return -(-targets * number // 100) if up else targets * number // 100


class CommandError(ValueError):
    """A report that does not fit to what was asked."""


@dataclass
class Invocation:
    """One machine's part of a command."""

    instance_id: str
    status: str = _PENDING
    details: str = _PENDING
    response_code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def live(self) -> bool:
        """Whether it may still change."""
        return self.status in _LIVE

    def end(self, status: str, now: datetime, details: str = "") -> None:
        """The last thing that happens to it."""
        self.status, self.details, self.ended = status, details or _DETAILS.get(status, status), now


@dataclass
class Command:
    """A script on its way to one or more machines."""

    script: str
    instance_ids: Sequence[str]
    requested: datetime
    delivery_s: int
    execution_s: int
    document: str = "AWS-RunPowerShellScript"
    max_concurrency: str = "50"
    max_errors: str = "0"
    comment: str = ""
    parameters: Mapping[str, list[str]] = field(default_factory=dict)
    targets: Sequence[Mapping[str, Any]] = ()
    command_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocations: dict[str, Invocation] = field(init=False)

    def __post_init__(self) -> None:
        self.invocations = {each: Invocation(each) for each in self.instance_ids}

    def settle(self, now: datetime) -> None:
        """Ends what took too long: to be fetched by its machine, or to run on it."""
        for each in self.invocations.values():
            if each.status == _PENDING and now >= self.requested + timedelta(seconds=self.delivery_s):
                each.end("TimedOut", now, "DeliveryTimedOut")
            elif each.started and each.live and now >= each.started + timedelta(seconds=self.execution_s):
                each.end("TimedOut", now)
        if self._errors > threshold(self.max_errors, len(self.invocations), up=False):
            for each in self.invocations.values():
                if each.status == _PENDING:
                    each.end("Cancelled", now, "Terminated")

    @property
    def _errors(self) -> int:
        return sum(each.status in ("Failed", "TimedOut") for each in self.invocations.values())

    def mismatch(self, instance_id: str, now: datetime) -> None:
        """The document is for another platform than this machine's: it is not sent there."""
        self.invocations[instance_id].end("Failed", now, "InvalidPlatform")

    def fetch(self, instance_id: str, now: datetime) -> bool:
        """A machine asks for work: whether this command is some, and its turn has come."""
        found = self.invocations.get(instance_id)
        if found is None or found.status != _PENDING:
            return False
        at_work = sum(each.status in (_RUNNING, "Cancelling") for each in self.invocations.values())
        if at_work >= max(1, threshold(self.max_concurrency, len(self.invocations), up=True)):
            return False
        found.status, found.details, found.started = _RUNNING, _RUNNING, now
        return True

    def report(self, instance_id: str, status: str, exit_code: int, stdout: str, stderr: str, now: datetime) -> None:
        """A machine tells how it went. Raises `CommandError`; what comes too late changes nothing."""
        found = self.invocations.get(instance_id)
        if found is None or found.started is None:
            raise CommandError(f"{instance_id} was not given the command {self.command_id}")
        if status not in _RESULTS:
            raise CommandError(f"{status} is no result: it is one of {', '.join(_RESULTS)}")
        if not found.live:
            return
        found.response_code, found.stdout, found.stderr = exit_code, stdout, stderr
        found.end(status, now)

    def cancel(self, instance_ids: Sequence[str], now: datetime) -> None:
        """Takes it back where it has not begun; where it runs, its machine may stop it."""
        for each in self.invocations.values():
            if instance_ids and each.instance_id not in instance_ids:
                continue
            if each.status == _PENDING:
                each.end("Cancelled", now)
            elif each.status == _RUNNING:
                each.status = each.details = "Cancelling"

    @property
    def status(self) -> str:
        """What became of it as a whole."""
        states = [each.status for each in self.invocations.values()]
        if not states:
            return "Success"
        for state in ("Cancelling", _RUNNING):
            if state in states:
                return state
        if _PENDING in states:
            return _PENDING if set(states) == {_PENDING} else _RUNNING
        return next((state for state in ("Failed", "TimedOut", "Cancelled") if state in states), "Success")

    def describe(self) -> dict[str, Any]:
        """The command as SendCommand and ListCommands tell it."""
        ended = [each for each in self.invocations.values() if not each.live]
        return {
            "CommandId": self.command_id,
            "DocumentName": self.document,
            "Comment": self.comment,
            "ExpiresAfter": self.requested + timedelta(seconds=self.delivery_s),
            "Parameters": self.parameters,
            "InstanceIds": [] if self.targets else list(self.instance_ids),
            "Targets": list(self.targets),
            "RequestedDateTime": self.requested,
            "Status": self.status,
            "StatusDetails": self.status,
            "TargetCount": len(self.invocations),
            "CompletedCount": len(ended),
            "ErrorCount": self._errors,
            "DeliveryTimedOutCount": sum(each.details == "DeliveryTimedOut" for each in ended),
            "TimeoutSeconds": self.delivery_s,
            "MaxConcurrency": self.max_concurrency,
            "MaxErrors": self.max_errors,
        }

    def describe_invocation(self, instance_id: str) -> dict[str, Any]:
        """A machine's part as ListCommandInvocations tells it."""
        found = self.invocations[instance_id]
        return {
            "CommandId": self.command_id,
            "InstanceId": instance_id,
            "Comment": self.comment,
            "DocumentName": self.document,
            "RequestedDateTime": self.requested,
            "Status": found.status,
            "StatusDetails": found.details,
        }

    def tell(self, instance_id: str) -> dict[str, Any]:
        """A machine's part as GetCommandInvocation tells it, with what the script wrote."""
        found = self.invocations[instance_id]
        return {
            "CommandId": self.command_id,
            "InstanceId": instance_id,
            "Comment": self.comment,
            "DocumentName": self.document,
            "PluginName": DOCUMENTS[self.document][0],
            "ResponseCode": found.response_code,
            "ExecutionStartDateTime": _time(found.started),
            "ExecutionEndDateTime": _time(found.ended) if found.started else "",
            "Status": found.status,
            "StatusDetails": found.details,
            "StandardOutputContent": found.stdout[:MOST_OUTPUT],
            "StandardErrorContent": found.stderr[:MOST_OUTPUT],
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
        }


def _time(at: datetime | None) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else ""
