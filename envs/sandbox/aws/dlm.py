"""Data Lifecycle Manager, which moto lacks: snapshot policies that run at their times, with their role.

Amazon Data Lifecycle Manager API Reference; EBS User Guide ("IAM service roles for Amazon Data Lifecycle Manager",
"How Amazon Data Lifecycle Manager works": the tags that it adds). Hours do not pass in a sandbox: a policy can be run
by hand as well (`routes.table`), and the clock be put forward.
"""

import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import orjson
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_block_store import Snapshot, Volume
from werkzeug.wrappers import Request, Response

from envs.sandbox.account import Account
from envs.sandbox.aws import dlm_rules, permissions, policy, sts
from envs.sandbox.aws.clock import CLOCK
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.permission_needs import Need

_PRINCIPAL: Final = "dlm.amazonaws.com"
_COMPLETE: Final = frozenset({"aws:resourcetag/*", "ec2:resourcetag/*"})
"""The condition keys of which everything is known."""
_POLICY_TAG: Final = "aws:dlm:lifecycle-policy-id"
_SCHEDULE_TAG: Final = "aws:dlm:lifecycle-schedule-name"
_LOOK_S: Final = 1.0


@dataclass
class SnapshotPolicy:
    """A policy and when each of its schedules is due."""

    id: str
    arn: str
    about: dict[str, Any]
    tags: dict[str, str]
    created: datetime = field(default_factory=CLOCK.date)
    modified: datetime = field(default_factory=CLOCK.date)
    trouble: str = ""
    due: dict[str, datetime] = field(default_factory=dict)

    def change(self, about: Mapping[str, Any]) -> None:
        """Takes over what is said; schedules begin anew."""
        self.about |= about
        self.modified, self.trouble = CLOCK.date(), ""
        self.due = {each["Name"]: dlm_rules.following(each, self.modified) for each in self.schedules}

    @property
    def schedules(self) -> list[dict[str, Any]]:
        return self.about["PolicyDetails"]["Schedules"]

    @property
    def state(self) -> str:
        return "ERROR" if self.trouble else self.about["State"]

    def told(self) -> dict[str, Any]:
        """As GetLifecyclePolicy shows it."""
        details = {"PolicyType": "EBS_SNAPSHOT_MANAGEMENT", **self.about["PolicyDetails"]}
        return {
            "PolicyId": self.id,
            "PolicyArn": self.arn,
            "Description": self.about["Description"],
            "ExecutionRoleArn": self.about["ExecutionRoleArn"],
            "State": self.state,
            "StatusMessage": self.trouble or self.state,
            "DateCreated": _stamp(self.created),
            "DateModified": _stamp(self.modified),
            "PolicyDetails": details,
            "Tags": self.tags,
        }


class Manager:
    """All policies of the account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._policies: dict[str, SnapshotPolicy] = {}
        self._lock = threading.RLock()

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        if "DefaultPolicy" in request:
            raise NotImplementedError("default policies")
        dlm_rules.check(request)
        tags = request.pop("Tags", None) or {}
        identifier = f"policy-0{secrets.token_hex(8)}"
        arn = f"arn:aws:dlm:{self._account.region}:{self._account.account_id}:policy/{identifier}"
        made = SnapshotPolicy(identifier, arn, request, tags)
        made.change({})
        self._policies[identifier] = made
        return {"PolicyId": identifier}

    def update(self, identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        dlm_rules.check(request)
        self.find(identifier).change(request)
        return {}

    def delete(self, identifier: str) -> dict[str, Any]:
        """Takes a policy away; its snapshots stay."""
        self.find(identifier)
        del self._policies[identifier]
        return {}

    def find(self, identifier: str) -> SnapshotPolicy:
        """Raises `LookupError`."""
        if identifier not in self._policies:
            raise LookupError(f"Policy {identifier} does not exist")
        return self._policies[identifier]

    def summaries(self, states: list[str]) -> dict[str, Any]:
        names = ("PolicyId", "Description", "State", "Tags")
        told = [each.told() for each in self._policies.values() if not states or each.state in states]
        kind = {"PolicyType": "EBS_SNAPSHOT_MANAGEMENT", "DefaultPolicy": False}
        return {"Policies": [{**{name: each[name] for name in names}, **kind} for each in told]}

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a policy, to be read or changed."""
        return self.find(arn.rpartition("/")[2]).tags

    def step(self) -> None:
        """Runs the schedules that are due."""
        now = CLOCK.date()
        for each in list(self._policies.values()):
            for schedule in each.schedules:
                if each.due[schedule["Name"]] <= now:
                    each.due[schedule["Name"]] = dlm_rules.following(schedule, now)
                    if each.state != "DISABLED":
                        self._run(each, schedule)

    def run(self, identifier: str) -> list[str]:
        """Runs all schedules of a policy now. The snapshots that they took."""
        found = self.find(identifier)
        return [snapshot for schedule in found.schedules for snapshot in self._run(found, schedule)]

    def _run(self, found: SnapshotPolicy, schedule: dict[str, Any]) -> list[str]:
        with self._lock:
            found.trouble = ""
            try:
                return [self._take(found, schedule, volume) for volume in self._volumes(found)]
            except (sts.TrustError, permissions.AccessDeniedError, policy.PolicyError) as error:
                found.trouble = str(error)
                return []

    @property
    def _ec2(self) -> Any:
        return ec2_backends[self._account.account_id][self._account.region]

    def _volumes(self, found: SnapshotPolicy) -> list[Volume]:
        self._demand(found, "DescribeVolumes", "*")
        details = found.about["PolicyDetails"]
        return [each for each in list(self._ec2.volumes.values()) if dlm_rules.targets(details, _tags(each))]

    def _take(self, found: SnapshotPolicy, schedule: dict[str, Any], volume: Volume) -> str:
        region, account = self._account.region, self._account.account_id
        self._demand(found, "CreateSnapshot", f"arn:aws:ec2:{region}:{account}:volume/{volume.id}", volume)
        for action in ("CreateSnapshot", "CreateTags"):
            self._demand(found, action, f"arn:aws:ec2:{region}::snapshot/*")
        made = self._ec2.create_snapshot(volume.id, f"Created for policy: {found.id} schedule: {schedule['Name']}")
        made.start_time = CLOCK.date().replace(tzinfo=None)
        copied = (
            {k: v for k, v in _tags(volume).items() if not k.startswith("aws:")} if schedule.get("CopyTags") else {}
        )
        added = {each["Key"]: each["Value"] for each in schedule.get("TagsToAdd") or []}
        own = {_POLICY_TAG: found.id, _SCHEDULE_TAG: schedule["Name"], "dlm:managed": "true"}
        made.add_tags({**copied, **added, **own})
        self._forget_surplus(found, schedule, volume)
        return made.id

    def _forget_surplus(self, found: SnapshotPolicy, schedule: dict[str, Any], volume: Volume) -> None:
        def is_ours(snapshot: Snapshot) -> bool:
            tags = _tags(snapshot)
            ours = (tags.get(_POLICY_TAG), tags.get(_SCHEDULE_TAG)) == (found.id, schedule["Name"])
            return ours and snapshot.volume_id == volume.id

        taken = [(each.start_time, each.id) for each in list(self._ec2.snapshots.values()) if is_ours(each)]
        for snapshot in dlm_rules.surplus(schedule, taken, CLOCK.date().replace(tzinfo=None)):
            arn = f"arn:aws:ec2:{self._account.region}::snapshot/{snapshot}"
            self._demand(found, "DeleteSnapshot", arn, self._ec2.snapshots[snapshot])
            self._ec2.delete_snapshot(snapshot)

    def _demand(
        self, found: SnapshotPolicy, action: str, resource: str, tagged: Volume | Snapshot | None = None
    ) -> None:
        role = sts.trusted_role(self._account, found.about["ExecutionRoleArn"], _PRINCIPAL)
        who = permissions.role_caller(self._account, role, _PRINCIPAL)
        tags = {} if tagged is None else _tags(tagged)
        context = {f"{prefix}:ResourceTag/{key}": tags[key] for prefix in ("aws", "ec2") for key in tags}
        permissions.demand(self._account, who, Need(f"ec2:{action}", resource, context=context, complete=_COMPLETE))


_manager: Manager | None = None


def manager() -> Manager:
    """The one of this process."""
    assert _manager is not None  # noqa: S101 (for the type checker; `install` sees to it)
    return _manager


def install(host: Host) -> None:
    """Begins without policies, and looks after those that come."""
    global _manager
    _manager = Manager(host.account)
    CLOCK.every(_LOOK_S, _manager.step)


def answer(request: Request) -> Response:
    """The REST API of the service."""
    for (method, pattern), operation in _OPERATIONS.items():
        named = re.fullmatch(pattern, request.environ.get("RAW_URI", request.path).partition("?")[0])
        if named and request.method == method:
            return _answered(operation, request, unquote(named[1]) if named.groups() else "")
    return _refusal(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", f"{request.method} {request.path}")


Operation = Callable[[Request, str], dict[str, Any]]


def _answered(operation: Operation, request: Request, name: str) -> Response:
    try:
        return Response(orjson.dumps(operation(request, name)), content_type="application/json")
    except dlm_rules.InvalidRequestError as error:
        return _refusal(HTTPStatus.BAD_REQUEST, "InvalidRequestException", str(error))
    except LookupError as error:
        return _refusal(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", str(error.args[0]))
    except NotImplementedError as error:
        text = f"the emulated Data Lifecycle Manager does not implement {error}"
        return _refusal(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", text)


def _refusal(status: HTTPStatus, code: str, text: str) -> Response:
    body = orjson.dumps({"Code": code, "Message": text})
    return Response(body, status, {"x-amzn-ErrorType": code}, content_type="application/json")


def _body(request: Request) -> dict[str, Any]:
    return orjson.loads(request.get_data())


def _tag(request: Request, arn: str) -> dict[str, Any]:
    manager().tags(arn).update(_body(request)["Tags"])
    return {}


def _untag(request: Request, arn: str) -> dict[str, Any]:
    for key in request.args.getlist("tagKeys"):
        manager().tags(arn).pop(key, None)
    return {}


_POLICY: Final = r"/policies/([^/]+)/?"
_TAGGED: Final = r"/tags/(.+)"
_OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/policies"): lambda request, _: manager().create(_body(request)),
    ("GET", "/policies"): lambda request, _: manager().summaries(request.args.getlist("state")),
    ("GET", _POLICY): lambda _, name: {"Policy": manager().find(name).told()},
    ("PATCH", _POLICY): lambda request, name: manager().update(name, _body(request)),
    ("DELETE", _POLICY): lambda _, name: manager().delete(name),
    ("GET", _TAGGED): lambda _, arn: {"Tags": manager().tags(arn)},
    ("POST", _TAGGED): _tag,
    ("DELETE", _TAGGED): _untag,
}


def _tags(thing: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in thing.get_tags()}


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
