"""The hosts of an environment's simulator group: raised, given tasks by Run Command, followed, lowered again."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError
from pydantic import ValidationError

from envs.errors import FleetstreamError, UsageError
from envs.progress import Step, console, step
from services.simulator.hosts import (
    AGREE_S,
    PROGRESS,
    READY,
    REPORT,
    START,
    STOP,
    TASK,
    HostProgress,
    HostReport,
    HostTask,
)
from services.simulator.load import LoadSpec

DOCUMENT: Final = "AWS-RunShellScript"
_READY: Final = (
    # The user data makes it last.
    "until command -v fleetstream-host > /dev/null; do sleep 1; done",
    # Without arguments it says how it is used: then its Python and all that it imports are there.
    "fleetstream-host || test $? = 2",
)
_GOING: Final = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})
_LAUNCH_S: Final = 900.0
_DELIVERY_S: Final = 60
"""How long a host that is managed may take to begin; Run Command takes 30 s at least."""
_LEAD_S: Final = 3.0
"""Between the word to start and the start, by the clocks that chrony keeps: time for every host to read it."""
_WARM_UPS: Final = 4
"""A warm-up is done up to three times, and takes a moment more each time."""
_TAIL_S: Final = 180.0
_STOP_S: Final = 45.0
"""How long hosts that were told to stop may take to report."""
_LOOK_S: Final = 1.0
_Found = TypeVar("_Found")


class Hosts:
    """One run on the hosts. `failures` says how the command ended where it did not end well."""

    def __init__(self, session: Any, facts: dict[str, Any] | None, run_id: str) -> None:
        """`facts` are the stack's output `simulators`. Raises `UsageError` when the environment has none."""
        if facts is None:
            raise UsageError(
                "this environment has no simulator hosts: add `simulators: {}` to its settings and bring it up"
            )
        self._facts = facts
        self._bucket: str = facts["bucket"]
        self._folder = f"{facts['prefix']}{run_id}"
        self._run_id = run_id
        self._scaling, self._ssm, self._s3 = (session.client(name) for name in ("autoscaling", "ssm", "s3"))
        self.failures: list[str] = []
        self._started = False

    def check(self, count: int) -> None:
        """Raises `UsageError` when the group does not take so many."""
        if count > self._facts["hosts_max"]:
            raise UsageError(f"--hosts {count}: simulators.hosts_max is {self._facts['hosts_max']}: raise that first")

    # The group

    @contextlib.contextmanager
    def lowered_afterwards(self, keep: bool) -> Iterator[None]:
        """The hosts cost money while they stand: whatever happens inside, the group is empty afterwards."""
        try:
            yield
        finally:
            if not keep:
                self._set(0)
                console.print(f"group {self._facts['group']}: lowered to 0")

    def raise_to(self, count: int) -> list[str]:
        """The ids of so many hosts that can run the load, once they can. Raises `FleetstreamError`."""
        with step(f"{count} hosts of group {self._facts['group']}") as current:
            if len(self._in_service()) < count:
                self._set(count)
            found = _until(
                current, "hosts in service", _LAUNCH_S, lambda: self._some(self._in_service(), count, "in service")
            )
            ready = _until(
                current,
                "managed by SSM",
                _LAUNCH_S,
                lambda: self._some(self._managed(found), count, "managed by SSM"),
            )
            command = self._send(ready, _READY, _LAUNCH_S, "prepare")
            self._follow(command, ready, current, _LAUNCH_S, lambda _: "fetching the simulator")
            if self.failures:
                raise FleetstreamError(f"hosts are not ready: {'; '.join(self.failures)}")
            current.detail = ", ".join(ready)
        return ready

    def _set(self, count: int) -> None:
        self._scaling.set_desired_capacity(AutoScalingGroupName=self._facts["group"], DesiredCapacity=count)

    def _in_service(self) -> list[str]:
        told = self._scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._facts["group"]])
        (group,) = told["AutoScalingGroups"]
        return sorted(one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService")

    def _managed(self, instances: Sequence[str]) -> list[str]:
        pages = self._ssm.get_paginator("describe_instance_information").paginate(
            Filters=[{"Key": "InstanceIds", "Values": list(instances)}]
        )
        known = [one for page in pages for one in page["InstanceInformationList"]]
        return sorted(one["InstanceId"] for one in known if one["PingStatus"] == "Online")

    @staticmethod
    def _some(found: list[str], count: int, what: str) -> tuple[list[str] | None, str]:
        return (found[:count] if len(found) >= count else None), f"{len(found)} of {count} {what}"

    # The run

    def upload(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Puts recordings where the hosts find them; returns their keys. Names that are alike stay apart."""
        keys = []
        with step("recordings") as current:
            for number, path in enumerate(paths):
                # A recording's name is its device's: the number stands in front, in a folder of its own.
                key = f"{self._folder}/recordings/{number:03d}/{path.name}"
                self._s3.upload_file(str(path), self._bucket, key)
                keys.append(Path(key))
                current.update(f"{number + 1} of {len(paths)}")
        return tuple(keys)

    def carry_out(self, tasks: Mapping[str, HostTask], spec: LoadSpec) -> bool:
        """Has every host do its part. Returns whether Ctrl-C ended that early: what was done is reported all the
        same."""
        instances = list(tasks)
        for instance, task in tasks.items():
            self._put(f"{instance}/{TASK}", task.model_dump_json())
        limit = AGREE_S + _WARM_UPS * spec.warmup_seconds + spec.seconds + spec.delivery_timeout_s + _TAIL_S
        with step(f"load on {len(instances)} hosts for {spec.seconds:g} s") as current:
            command = self._send(instances, [f"fleetstream-host s3://{self._bucket}/{self._folder}"], limit, "load")
            try:
                self._follow(
                    command, instances, current, limit + _DELIVERY_S, lambda all_go: self._lead(instances, all_go)
                )
            except KeyboardInterrupt:
                console.print("the hosts are told to stop; once more to cancel their command at once")
                self._stop(command, instances, current)
                return True
            current.detail = self._progress(instances)
        return False

    def _lead(self, instances: Sequence[str], all_go: bool) -> str:
        """Gives the start once every host is ready, or lets them all end when one has ended before; says how far
        they are."""
        if not self._started:
            ready = [one for one in instances if self._get(f"{one}/{READY}") is not None]
            if len(ready) < len(instances) and all_go:
                return f"{len(ready)} of {len(instances)} ready"
            self._started = True
            if len(ready) == len(instances):
                self._put(START, str(round((time.time() + _LEAD_S) * 1e6)))
            else:
                self._put(STOP, "")
        return self._progress(instances)

    def reports(self, instances: Sequence[str]) -> dict[str, HostReport]:
        """What the hosts reported, of those that did."""
        found = {}
        for instance in instances:
            if (content := self._get(f"{instance}/{REPORT}")) is not None:
                try:
                    found[instance] = HostReport.model_validate_json(content)
                except ValidationError as error:
                    raise FleetstreamError(f"the report of {instance} cannot be read: {error}") from error
        return found

    def _stop(self, command: str, instances: Sequence[str], current: Step) -> None:
        """Asks the hosts to end and to report; those that do not are cut off."""
        try:
            self._put(STOP, "")
            self._follow(command, instances, current, _STOP_S, lambda _: "stopping")
        except (KeyboardInterrupt, FleetstreamError):
            self._ssm.cancel_command(CommandId=command)

    def _send(self, instances: Sequence[str], script: Sequence[str], seconds: float, what: str) -> str:
        """To all of them at once, as they begin together; once one has failed, to no more of them."""
        answer = self._ssm.send_command(
            InstanceIds=list(instances),
            DocumentName=DOCUMENT,
            Comment=f"fleetstream simulate {self._run_id}: {what}",
            TimeoutSeconds=_DELIVERY_S,
            MaxConcurrency="100%",
            MaxErrors="0",
            Parameters={"commands": list(script), "executionTimeout": [str(round(seconds))]},
        )
        return answer["Command"]["CommandId"]

    def _follow(
        self, command: str, instances: Sequence[str], current: Step, seconds: float, tell: Callable[[bool], str]
    ) -> None:
        """Until the command has ended on every host; notes where that was not well. `tell` says how far they are,
        told whether all of them still go."""

        def look() -> tuple[list[dict[str, Any]] | None, str]:
            found = [self._invocation(command, instance) for instance in instances]
            going = [one for one in found if one["Status"] in _GOING]
            return (
                None if going else found
            ), f"{tell(len(going) == len(found))}, {len(found) - len(going)} of {len(found)} done"

        for one in _until(current, f"command {command}", seconds, look):
            if one["Status"] != "Success":
                complaint = (one.get("StandardErrorContent") or "").strip().splitlines()[-3:]
                details = one.get("StatusDetails") or one["Status"]
                self.failures.append(f"{one['InstanceId']}: {details}: {' / '.join(complaint) or 'it wrote nothing'}")

    def _invocation(self, command: str, instance: str) -> dict[str, Any]:
        try:
            return self._ssm.get_command_invocation(CommandId=command, InstanceId=instance)
        except self._ssm.exceptions.InvocationDoesNotExist:
            # A moment after it was sent, a command has no invocations yet.
            return {"InstanceId": instance, "Status": "Pending"}

    def _progress(self, instances: Sequence[str]) -> str:
        found = [self._get(f"{instance}/{PROGRESS}") for instance in instances]
        told = [HostProgress.model_validate_json(one) for one in found if one is not None]
        phases = ", ".join(sorted({one.phase for one in told})) or "starting"
        rate = sum(one.rate for one in told)
        return f"{phases}: {sum(one.acked for one in told):,} acked, {rate:,.0f} messages/s"

    def _put(self, name: str, content: str) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=f"{self._folder}/{name}", Body=content.encode())

    def _get(self, name: str) -> bytes | None:
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=f"{self._folder}/{name}")["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise


def _until(current: Step, what: str, seconds: float, look: Callable[[], tuple[_Found | None, str]]) -> _Found:
    """Looks until there is an answer; what else was seen is shown. Raises `FleetstreamError` when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found, seen = look()
        if found is not None:
            return found
        current.update(seen)
        if time.monotonic() > deadline:
            raise FleetstreamError(f"{what}: not within {seconds:g} s ({seen})")
        time.sleep(_LOOK_S)
