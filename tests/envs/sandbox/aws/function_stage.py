"""Small functions in the emulated account, their roles, and queues around them."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

from tests.envs.sandbox.aws.emulated import Aws

ACCOUNT = "123456789012"
_PATIENCE = 240.0
"""Seconds that a busy machine may take; no test waits for them to pass."""


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"


def artifact(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", source)
    return buffer.getvalue()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Queue:
    """A queue and what arrives in it."""

    def __init__(self, aws: Aws, name: str, **attributes: str) -> None:
        self.sqs, self.name, self.arn = aws.client("sqs"), name, queue_arn(name)
        self.url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def send(self, body: Any, **more: Any) -> str:
        return self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(body), **more)["MessageId"]

    def receive(self, count: int = 1) -> list[dict[str, Any]]:
        """Waits until that many messages have come, takes them off the queue, and tells them."""
        got: list[dict[str, Any]] = []
        deadline = time.monotonic() + _PATIENCE
        while len(got) < count:
            assert time.monotonic() < deadline, f"{self.name} got {got}"
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                WaitTimeSeconds=1,
                MaxNumberOfMessages=10,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            for each in answer.get("Messages", []):
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
                got.append(each)
        return got

    def bodies(self, count: int = 1) -> list[Any]:
        return [json.loads(each["Body"]) for each in self.receive(count)]

    def depth(self) -> int:
        """How many messages there are, visible or not."""
        told = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return int(told["ApproximateNumberOfMessages"]) + int(told["ApproximateNumberOfMessagesNotVisible"])


class Tape:
    """A file to which a function writes a line of JSON for each thing that it tells; quicker than any queue."""

    def __init__(self, aws: Aws, name: str) -> None:
        self.path = aws.state_dir / f"{name}.tape"
        self._read = 0

    @property
    def lines(self) -> list[Any]:
        """All that was told so far."""
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def bodies(self, count: int = 1) -> list[Any]:
        """Waits for the next ones."""
        until(lambda: len(self.lines) >= self._read + count, f"{count} lines more come")
        self._read += count
        return self.lines[self._read - count : self._read]

    def depth(self) -> int:
        """How many were told and not asked for."""
        return len(self.lines) - self._read


class Function:
    """A function of a few lines, with a role of its own."""

    def __init__(self, aws: Aws, name: str, source: str, *statements: dict[str, Any], **settings: Any) -> None:
        self.client, self.name, self.iam = aws.client("lambda"), name, aws.client("iam")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        self.role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
        self.permit(*statements)
        reserved = settings.pop("reserved", None)
        self.arn = self.client.create_function(
            **{
                "FunctionName": name,
                "Role": self.role,
                "Runtime": "python3.11",
                "Handler": "app.handle",
                "Code": {"ZipFile": artifact(source)},
                "Timeout": 20,
                **settings,
            }
        )["FunctionArn"]
        if reserved is not None:
            self.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)

    def permit(self, *statements: dict[str, Any]) -> None:
        if statements:
            self.iam.put_role_policy(RoleName=self.name, PolicyName="own", PolicyDocument=document(*statements))

    def later(self, event: Any) -> int:
        payload = json.dumps(event).encode()
        answer = self.client.invoke(FunctionName=self.name, InvocationType="Event", Payload=payload)
        assert answer["Payload"].read() == b""
        return answer["StatusCode"]

    def reads(self, queue: Queue, **settings: Any) -> str:
        """Maps a queue to the function and waits until it is read."""
        made = self.client.create_event_source_mapping(FunctionName=self.name, EventSourceArn=queue.arn, **settings)[
            "UUID"
        ]
        until(lambda: self.state(made) == "Enabled", "the mapping is enabled")
        return made

    def state(self, mapping: str) -> str:
        try:
            return self.client.get_event_source_mapping(UUID=mapping)["State"]
        except self.client.exceptions.ResourceNotFoundException:
            return "gone"
