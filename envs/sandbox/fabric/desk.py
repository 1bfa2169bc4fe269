"""What a machine exchanges with the emulated account outside AWS's own API: its commands, and their results.

On a real machine the SSM agent does this over channels of its own. Routes: `envs.sandbox.aws.routes`.
"""

from dataclasses import dataclass
from typing import Any

import urllib3

from envs.sandbox.fabric.errors import MachineError


@dataclass(frozen=True)
class Command:
    """One command of Run Command for one instance. `timeout_s`: how long its script may run, in seconds."""

    command_id: str
    script: str
    timeout_s: float


class Desk:
    """The routes of one emulated account. Every method raises `MachineError` when it does not answer as it should."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._http = urllib3.PoolManager(
            maxsize=32, timeout=10, retries=urllib3.Retry(connect=2, read=2, backoff_factor=0.2)
        )

    def register(self, instance_id: str) -> None:
        """From now on the instance takes commands."""
        self._ask("GET", "register", 200, fields={"instance": instance_id})

    def next(self, instance_id: str) -> Command | None:
        """The instance's next command; None when there is none."""
        answer = self._ask("GET", "next", 200, 204, fields={"instance": instance_id})
        if answer.status == 204:
            return None
        body = answer.json()
        return Command(body["command_id"], body["script"], float(body["timeout_s"]))

    def status(self, command: Command, instance_id: str) -> str:
        """How the instance's part of a command stands; "Cancelling" asks for its end."""
        asked = {"command_id": command.command_id, "instance": instance_id}
        return str(self._ask("GET", "status", 200, fields=asked).json()["status"])

    def result(
        self, command: Command, instance_id: str, exit_code: int, stdout: str, stderr: str, status: str = ""
    ) -> None:
        """How a command ended; unless `status` says it, by its exit code."""
        body = {
            "command_id": command.command_id,
            "instance": instance_id,
            "status": status or ("Failed" if exit_code else "Success"),
            "exit_code": exit_code,
            "stdout": stdout,
            "stderr": stderr,
        }
        self._ask("POST", "result", 200, json=body)

    def _ask(self, method: str, route: str, *expected: int, **options: Any) -> urllib3.BaseHTTPResponse:
        url = f"{self._endpoint}/fleetstream/ssm/{route}"
        try:
            answer = self._http.request(method, url, **options)
        except urllib3.exceptions.HTTPError as error:
            raise MachineError(f"the emulated account does not answer: {error}") from error
        if answer.status not in expected:
            raise MachineError(f"{method} {url}: {answer.status} {answer.data.decode(errors='replace')[:300]}")
        return answer
