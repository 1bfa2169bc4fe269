"""Systems Manager: scripts that really go to machines, and machines that are known once they reported.

A machine is managed when its agent has reported, which needs rights of its instance's role (Systems Manager User
Guide, "Configure instance permissions required for Systems Manager"): until then a command to it is refused as
InvalidInstanceId (API Reference, SendCommand). moto calls every command a success. The machines' side is
`machine_routes`.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.iam.models import iam_backends
from moto.ssm import urls
from moto.ssm.models import ssm_backends
from moto.ssm.responses import SimpleSystemManagerResponse

from envs.sandbox.aws import permissions
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.images import ParametersBackend
from envs.sandbox.aws.permission_needs import Need
from envs.sandbox.aws.ssm_commands import DOCUMENTS, Command, threshold

_KNOWN: Final = frozenset(
    {
        *("Comment", "DocumentName", "DocumentVersion", "InstanceIds", "MaxConcurrency", "MaxErrors"),
        *("Parameters", "Targets", "TimeoutSeconds"),
    }
)
_PARAMETERS: Final = frozenset({"commands", "executionTimeout", "workingDirectory"})
_TAG: Final = "tag:"
_CHANNELS: Final = tuple(
    f"ssmmessages:{call}{kind}Channel" for call in ("Create", "Open") for kind in ("Control", "Data")
)
_SECONDS: Final = 3600
_MOST_INSTANCES: Final = 50


class NotManagedError(Exception):
    """A machine whose agent could not report; the text says why."""


class CommandsBackend(ParametersBackend):
    """moto's backend, with commands that machines carry out."""

    host: ClassVar[Host]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._lock = threading.RLock()
        self._sent: dict[str, Command] = {}
        self._registered: dict[str, datetime] = {}

    # The callers' side

    def send(self, request: Mapping[str, Any]) -> Command:
        """Sends a script to machines. Raises AWS's refusals."""
        _check_request(request)
        parameters = request.get("Parameters") or {}
        if targets := request.get("Targets") or []:
            instance_ids = self._targeted(targets)
        else:
            instance_ids = list(dict.fromkeys(request.get("InstanceIds") or []))
            managed = self._managed()
            if missing := [each for each in instance_ids if each not in managed]:
                raise JsonRESTError("InvalidInstanceId", f"Instances {missing} not in a valid state for account")
        made = Command(
            script="\n".join(parameters["commands"]),
            instance_ids=instance_ids,
            requested=datetime.now(UTC),
            delivery_s=request.get("TimeoutSeconds") or _SECONDS,
            execution_s=int((parameters.get("executionTimeout") or [_SECONDS])[0]),
            document=request["DocumentName"].rpartition("/")[2],
            max_concurrency=request.get("MaxConcurrency") or "50",
            max_errors=request.get("MaxErrors") or "0",
            comment=request.get("Comment") or "",
            parameters=parameters,
            targets=targets,
        )
        for each in instance_ids:
            if self._platform(each) != DOCUMENTS[made.document][1]:
                made.mismatch(each, made.requested)
        with self._lock:
            self._sent[made.command_id] = made
        return made

    def commands(self, command_id: str | None, instance_id: str | None) -> list[Command]:
        """The commands that are asked for, newest first, as they stand now."""
        with self._lock:
            if command_id is not None and command_id not in self._sent:
                raise JsonRESTError("InvalidCommandId", "")
            found = [
                each
                for each in reversed(self._sent.values())
                if command_id in (None, each.command_id) and (instance_id is None or instance_id in each.invocations)
            ]
            for each in found:
                each.settle(datetime.now(UTC))
            return found

    def cancel(self, command_id: str, instance_ids: Sequence[str]) -> None:
        """Takes a command back."""
        (command,) = self.commands(command_id, None)
        with self._lock:
            command.cancel(instance_ids, datetime.now(UTC))

    def information(self) -> list[dict[str, Any]]:
        """The machines that reported and still run."""
        return [
            {
                "InstanceId": instance_id,
                "PingStatus": "Online",
                "LastPingDateTime": since,
                "PlatformType": self._platform(instance_id),
                "ResourceType": "EC2Instance",
                "RegistrationDate": since,
                "IPAddress": instance.private_ip,
            }
            for instance_id, since in self._managed().items()
            if (instance := self._instance(instance_id)) is not None
        ]

    # The machines' side

    def register(self, instance_id: str) -> None:
        """A machine's agent reports. Raises `NotManagedError`."""
        instance = self._instance(instance_id)
        if instance is None or instance.state != "running":
            raise NotManagedError(f"there is no running instance {instance_id}")
        self._check_role(instance)
        with self._lock:
            self._registered.setdefault(instance_id, datetime.now(UTC))

    def next(self, instance_id: str) -> Command | None:
        """The oldest command that waits for a machine; it counts as begun."""
        if instance_id not in self._managed():
            raise NotManagedError(f"{instance_id} is not registered")
        now = datetime.now(UTC)
        with self._lock:
            for command in self._sent.values():
                command.settle(now)
                if command.fetch(instance_id, now):
                    return command
        return None

    def result(
        self, command_id: str, instance_id: str, status: str, exit_code: int, stdout: str, stderr: str
    ) -> None:
        """A machine tells how a command went. Raises `CommandError` and, for an unknown one, moto's error."""
        (command,) = self.commands(command_id, None)
        with self._lock:
            command.report(instance_id, status, exit_code, stdout, stderr, datetime.now(UTC))

    def status(self, command_id: str, instance_id: str) -> str:
        """How a machine's part of a command stands, which its agent looks at while it runs."""
        (command,) = self.commands(command_id, None)
        found = command.invocations.get(instance_id)
        if found is None:
            raise JsonRESTError("InvocationDoesNotExist", "")
        return found.status

    def _platform(self, instance_id: str) -> str:
        instance = self._instance(instance_id)
        return "Windows" if instance is not None and instance.platform == "windows" else "Linux"

    def _managed(self) -> dict[str, datetime]:
        with self._lock:
            for instance_id in list(self._registered):
                instance = self._instance(instance_id)
                if instance is None or instance.state != "running":
                    del self._registered[instance_id]
            return dict(self._registered)

    def _targeted(self, targets: Sequence[Mapping[str, Any]]) -> list[str]:
        """The managed machines that have all of these tags. Machines that did not report are not among them."""
        found = []
        for instance_id in self._managed():
            instance = self._instance(instance_id)
            tags = {tag["key"]: tag["value"] for tag in instance.get_tags()} if instance else {}
            if all(tags.get(each["Key"].removeprefix(_TAG)) in each["Values"] for each in targets):
                found.append(instance_id)
        return found

    def _instance(self, instance_id: str) -> Instance | None:
        ec2 = ec2_backends[self.account_id][self.region_name]
        return next((each for each in ec2.all_instances() if each.id == instance_id), None)

    def _check_role(self, instance: Instance) -> None:
        ec2 = ec2_backends[self.account_id][self.region_name]
        association = ec2.iam_instance_profile_associations.get(instance.id)
        roles = association.iam_instance_profile.roles if association else []
        if not roles:
            raise NotManagedError(f"{instance.id} has no instance profile with a role")
        role = iam_backends[self.account_id][self.partition].roles[roles[0].id]
        account = self.host.account
        who = permissions.role_caller(account, role, "ec2.amazonaws.com")
        machine = f"arn:aws:ec2:{self.region_name}:{self.account_id}:instance/{instance.id}"
        wanted = [Need("ssm:UpdateInstanceInformation", machine), *(Need(each, "*") for each in _CHANNELS)]
        if not permissions.may(account, who, wanted):
            raise NotManagedError(f"the role {role.arn} of {instance.id} does not let its agent report")


class _Response(SimpleSystemManagerResponse):
    """moto's responses, with commands as they are."""

    @property
    def _commands(self) -> CommandsBackend:
        return backend_of(self.current_account, self.region)

    def send_command(self) -> ActionResult:
        return ActionResult({"Command": self._commands.send(json.loads(self.body)).describe()})

    def list_commands(self) -> ActionResult:
        found = self._commands.commands(self._get_param("CommandId"), self._get_param("InstanceId"))
        return ActionResult({"Commands": [each.describe() for each in found]})

    def list_command_invocations(self) -> ActionResult:
        instance_id = self._get_param("InstanceId")
        found = self._commands.commands(self._get_param("CommandId"), instance_id)
        told = [
            command.describe_invocation(each)
            for command in found
            for each in command.invocations
            if instance_id in (None, each)
        ]
        return ActionResult({"CommandInvocations": told})

    def get_command_invocation(self) -> ActionResult:
        (command,) = self._commands.commands(self._get_param("CommandId"), None)
        instance_id = self._get_param("InstanceId")
        if instance_id not in command.invocations:
            raise JsonRESTError("InvocationDoesNotExist", "")
        return ActionResult(command.tell(instance_id))

    def cancel_command(self) -> ActionResult:
        self._commands.cancel(self._get_param("CommandId"), self._get_param("InstanceIds") or [])
        return ActionResult({})

    def describe_instance_information(self) -> ActionResult:
        found = self._commands.information()
        for each in self._get_param("Filters") or []:
            if each["Key"] != "InstanceIds":
                raise JsonRESTError(
                    "NotImplemented", f"the emulated Systems Manager does not filter instances by {each['Key']}"
                )
            found = [instance for instance in found if instance["InstanceId"] in each["Values"]]
        return ActionResult({"InstanceInformationList": found})


def backend_of(account_id: str, region: str) -> CommandsBackend:
    """Systems Manager of an account in a region."""
    backend = ssm_backends[account_id][region]
    assert isinstance(backend, CommandsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
    return backend


def install(host: Host) -> None:
    """Puts this backend and its responses in the place of those of `images`."""
    CommandsBackend.host = host
    ssm_backends.backend = CommandsBackend
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)


def _check_request(request: Mapping[str, Any]) -> None:
    document, parameters = request.get("DocumentName", ""), request.get("Parameters") or {}
    if document.rpartition("/")[2] not in DOCUMENTS:
        raise JsonRESTError(
            "NotImplemented",
            f"the emulated Systems Manager runs the documents {', '.join(DOCUMENTS)} only, not {document}",
        )
    for name in ("MaxConcurrency", "MaxErrors"):
        try:
            threshold(request.get(name) or "1", 1, up=True)
        except ValueError as error:
            raise JsonRESTError("ValidationException", f"{name}: {error}") from error
    if unknown := sorted(request.keys() - _KNOWN):
        raise JsonRESTError(
            "NotImplemented", f"the emulated Systems Manager does not implement {', '.join(unknown)} of SendCommand"
        )
    if unknown := sorted(parameters.keys() - _PARAMETERS):
        raise JsonRESTError("InvalidParameters", f"{', '.join(unknown)}: no parameter of {document}")
    if not parameters.get("commands"):
        raise JsonRESTError("InvalidParameters", f"commands: {document} needs this parameter")
    instance_ids, targets = request.get("InstanceIds") or [], request.get("Targets") or []
    if bool(instance_ids) is bool(targets):
        raise JsonRESTError("ValidationException", "Exactly one of InstanceIds and Targets is needed.")
    if len(instance_ids) > _MOST_INSTANCES:
        raise JsonRESTError("ValidationException", f"At most {_MOST_INSTANCES} instance ids; use Targets for more.")
    for each in targets:
        if not each.get("Key", "").startswith(_TAG):
            raise JsonRESTError(
                "NotImplemented", f"the emulated Systems Manager finds targets by tag:... only, not by {each}"
            )
