"""Faults on purpose, which only a sandbox has: on AWS nobody can lose an event or kill a function at will."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import boto3
import urllib3

from envs.environment import Environment
from envs.errors import FleetstreamError, UsageError
from envs.sandbox import account
from envs.sandbox.fabric.faults import FILE

_ANSWER_S: Final = 15.0


class Faults:
    """The faults of one sandbox. Each holds until `off`, or until its time is over."""

    def __init__(self, environment: Environment, outputs: Mapping[str, Any]) -> None:
        """Raises `UsageError` for an environment on AWS."""
        if environment.sandbox is None:
            raise UsageError(
                f"this drill needs faults that only a sandbox has, and {environment.name} is on AWS: add --emulated. "
                "scale-in, scale-out, seed-loss and all-at-once run everywhere"
            )
        state = environment.sandbox.state_dir
        self._aws = account.load(state).endpoint
        self._gateway = (state / FILE).read_text().strip()
        self._session: boto3.Session = environment.session()
        self._function = str(outputs["functions"]["scale-in"]).rpartition(":")[2]
        self._queue = str(outputs["fleet"]["scale_in_queue"])

    def off(self) -> None:
        """All is well again."""
        self._ask("events/faults")
        self._ask("functions/kills", function=self._function, spare="true")
        self._gateway_asks("DELETE")

    # Events

    def leaving_events(self, copies: int) -> None:
        """From now on an event that a worker leaves comes so often; 0: it is lost."""
        self._ask("events/faults", copies=copies, rule=self._rule(scheduled=False))

    def sweep(self) -> None:
        """The scheduled sweep comes now."""
        self._ask("events/fire", rule=self._rule(scheduled=True))

    def _rule(self, *, scheduled: bool) -> str:
        """The one or the other of the two rules that fill the function's queue; their names are the engine's."""
        sqs, events = self._session.client("sqs"), self._session.client("events")
        found = sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = found["Attributes"]["QueueArn"]
        for name in events.list_rule_names_by_target(TargetArn=arn)["RuleNames"]:
            if bool(events.describe_rule(Name=name).get("ScheduleExpression")) == scheduled:
                return name
        raise FleetstreamError(
            f"no {'scheduled ' * scheduled}rule has the queue {arn} as its target: is it deployed?"
        )

    # The function that removes workers

    def kill_after_call(self, operation: str) -> None:
        """Its process is killed once AWS has carried out this call of it: ``service:Operation``."""
        self._ask("functions/kill", function=self._function, after=operation)

    def kill_after_request(self, path: str) -> None:
        """The same for what it asks of the cluster's gateway: POSTs whose path ends so."""
        url = f"{self._aws}/fleetstream/functions/kill?{urlencode({'function': self._function})}"
        self._gateway_asks("POST", {"kind": "call", "method": "POST", "path": path, "url": url})

    def kills_to_come(self) -> list[str]:
        """Which of them did not happen yet."""
        calls = self._gateway_asks("GET").get("calls", [])
        coming = self._ask("functions/kills", function=self._function)["coming"]
        return [*coming, *(call["path"] for call in calls)]

    # The cluster's gateway

    def gateway_fails(self, seconds: float, status: int = 503) -> None:
        """It answers with an error for so long."""
        self._gateway_asks("POST", {"kind": "error", "seconds": seconds, "status": status})

    def gateway_hangs(self, seconds: float) -> None:
        """It does not answer for so long."""
        self._gateway_asks("POST", {"kind": "hang", "seconds": seconds})

    # Snapshots

    def snapshots(self) -> list[str]:
        """The snapshots that the policy makes of the seeds' disks are made now."""
        dlm = self._session.client("dlm")
        policies = dlm.get_lifecycle_policies()["Policies"]
        if len(policies) != 1:
            raise FleetstreamError(f"{len(policies)} snapshot policies are deployed, and one was expected")
        found = self._ask("dlm/run", policy=policies[0]["PolicyId"])["snapshots"]
        return [str(each) for each in found]

    # How it is asked

    def _ask(self, route: str, **parameters: Any) -> dict[str, Any]:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._request("GET", f"{self._aws}/fleetstream/{route}{query}")

    def _gateway_asks(self, method: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._request(method, self._gateway, body)

    def _request(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        try:
            answer = urllib3.request(method, url, body=content, timeout=_ANSWER_S, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise FleetstreamError(f"{url} does not answer: {error}: see `fleetstream status`") from error
        if answer.status != 200:
            raise FleetstreamError(f"{method} {url}: {answer.status} {answer.data.decode(errors='replace')[:300]}")
        return answer.json()
