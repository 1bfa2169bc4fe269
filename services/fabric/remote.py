"""Steps of the installation on the machines, through SSM Run Command.

A machine knows one script, ``form.ps1``, and a command is one line that names a step of it. What a step is for
stands in the command's comment, so that an interrupted run finds what it had begun. Output is what SSM keeps of it,
the first 24,000 characters (Systems Manager API Reference, GetCommandInvocation).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.fabric.errors import FabricServiceError
from services.fabric.waiting import NotYet, Progress, until

DOCUMENT: Final = "AWS-RunPowerShellScript"
PREPARE: Final = "prepare"
TEST: Final = "test"
CREATE: Final = "create"

_LINE: Final = (
    "& (Join-Path $env:ProgramData 'fleetstream\\form.ps1') -Step '{step}' -Key '{key}' -Version '{version}'"
)
_GOING: Final = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})
_DONE: Final = "Success"
_DELIVERY_S: Final = 600
"""How long a machine may take to begin."""
_TAIL_LINES: Final = 12


class StepFailedError(FabricServiceError):
    """A step ended badly on some machine; the message says on which, and how its output ends."""


@dataclass(frozen=True)
class Command:
    """A command that was sent before."""

    id: str
    status: str
    instances: tuple[str, ...]

    @property
    def going(self) -> bool:
        """Whether it has not ended."""
        return self.status in _GOING

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.status == _DONE


class Remote:
    """The machines' end of the installation."""

    def __init__(self, ssm: Any, cluster: str, pause_s: float) -> None:
        self._ssm = ssm
        self._cluster = cluster
        self._pause_s = pause_s

    def wait_ready(self, names: Mapping[str, str], limit_s: float, progress: Progress) -> None:
        """Waits until every machine (node by instance id) can be sent commands."""

        def look() -> None:
            online = set(self._online(list(names)))
            if missing := [f"{names[each]} ({each})" for each in names if each not in online]:
                raise NotYet(f"SSM does not see {', '.join(missing)}")

        until(look, "machines that take commands", limit_s, self._pause_s, progress)

    def run(
        self,
        step: str,
        names: Mapping[str, str],
        limit_s: float,
        progress: Progress,
        key: str = "",
        version: str = "",
    ) -> None:
        """Runs a step on machines (node by instance id) at once. Raises `StepFailedError`."""
        answer = self._ssm.send_command(
            InstanceIds=list(names),
            DocumentName=DOCUMENT,
            Comment=self._comment(step),
            TimeoutSeconds=_DELIVERY_S,
            Parameters={
                "commands": [_LINE.format(step=step, key=key, version=version)],
                "executionTimeout": [str(round(max(limit_s, 1)))],
            },
        )
        self.follow(answer["Command"]["CommandId"], step, names, limit_s, progress)

    def follow(self, command: str, step: str, names: Mapping[str, str], limit_s: float, progress: Progress) -> None:
        """Waits for a command that was sent. Raises `StepFailedError` with the end of what failed machines wrote."""

        def look() -> list[Mapping[str, Any]]:
            found = [self._invocation(command, instance) for instance in names]
            going = [names[each["InstanceId"]] for each in found if each["Status"] in _GOING]
            if going:
                raise NotYet(f"{len(names) - len(going)} of {len(names)} done, {', '.join(going)} at it")
            return found

        ended = until(look, f"step {step} (command {command})", limit_s + _DELIVERY_S, self._pause_s, progress)
        failed = [each for each in ended if each["Status"] != _DONE]
        if failed:
            told = "\n".join(_failure(names[each["InstanceId"]], each) for each in failed)
            raise StepFailedError(f"step {step} failed on {len(failed)} of {len(names)} machines:\n{told}")
        progress.update(f"{len(names)} of {len(names)} done")

    def last(self, step: str, instances: Sequence[str]) -> Command | None:
        """The newest command for a step that went to one of these machines; None: there was none."""
        found = [
            (each["RequestedDateTime"], Command(each["CommandId"], each["Status"], tuple(each["InstanceIds"])))
            for page in self._ssm.get_paginator("list_commands").paginate()
            for each in page["Commands"]
            if each.get("Comment") == self._comment(step) and set(each["InstanceIds"]) & set(instances)
        ]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def _comment(self, step: str) -> str:
        return f"fleetstream {self._cluster}: {step}"[:100]

    def _online(self, instances: list[str]) -> Iterator[str]:
        pages = self._ssm.get_paginator("describe_instance_information")
        for page in pages.paginate(Filters=[{"Key": "InstanceIds", "Values": instances}]):
            for each in page["InstanceInformationList"]:
                if each.get("PingStatus") == "Online":
                    yield each["InstanceId"]

    def _invocation(self, command: str, instance: str) -> Mapping[str, Any]:
        try:
            return self._ssm.get_command_invocation(CommandId=command, InstanceId=instance)
        except self._ssm.exceptions.InvocationDoesNotExist:
            # A moment after it was sent, a command has no invocations yet.
            return {"InstanceId": instance, "Status": "Pending"}


def _failure(node: str, invocation: Mapping[str, Any]) -> str:
    """What became of a step on one machine, with the end of its output."""
    status = invocation.get("StatusDetails") or invocation["Status"]
    code = invocation.get("ResponseCode")
    head = f"  {node} ({invocation['InstanceId']}): {status}" + (
        f", exit code {code}" if code not in (None, -1) else ""
    )
    written = "\n".join(invocation.get(name) or "" for name in ("StandardOutputContent", "StandardErrorContent"))
    lines = [line.rstrip() for line in written.splitlines() if line.strip()]
    return "\n".join([head, *(f"    {line}" for line in lines[-_TAIL_LINES:] or ["it wrote nothing"])])
