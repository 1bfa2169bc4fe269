"""A Lambda function with everything it needs around it: its role, its log, and a queue for what it could not do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.errors import InfraError
from infra.inside import Inside
from infra.packaging import ARCHITECTURE, RUNTIME, Artifact
from infra.policies import Statement, document, tls_only, trust

_NAME_LIMIT: Final = 64
"""Of function and role names."""
_DEAD_LETTER_SECONDS: Final = 14 * 24 * 3600
"""SQS keeps a message no longer."""


@dataclass(frozen=True, kw_only=True)
class FunctionArgs:
    """The code, its size, and what it may do beyond writing its own log."""

    function_name: str
    description: str
    artifact: Artifact
    handler: str
    memory_mb: int
    timeout_seconds: int
    log_retention_days: int
    reserved_concurrency: int | None = None
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    inside: Inside | None = None
    """Its place in the VPC; None: it is outside, and reaches AWS's public addresses only."""


class Function(pulumi.ComponentResource):
    """One function on Python 3.11, x86-64."""

    arn: pulumi.Output[str]
    function_name: pulumi.Output[str]
    dead_letter_arn: pulumi.Output[str]

    def __init__(self, name: str, args: FunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:functions:Function", name, None, opts)
        if len(args.function_name) > _NAME_LIMIT:
            raise InfraError(
                f"function name {args.function_name} has over {_NAME_LIMIT} characters: give the stack a shorter name"
            )
        self._name = name
        logs = aws.cloudwatch.LogGroup(
            f"{name}-log",
            # Lambda writes here; if the group were missing, Lambda would make one that is kept for ever.
            name=f"/aws/lambda/{args.function_name}",
            retention_in_days=args.log_retention_days,
            opts=self._child(),
        )
        queue = self._dead_letters()
        role = aws.iam.Role(f"{name}-role", assume_role_policy=trust("lambda.amazonaws.com"), opts=self._child())
        rights = aws.iam.RolePolicy(
            f"{name}-rights",
            role=role.id,
            policy=document(
                Statement(
                    sid="OwnLog",
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[pulumi.Output.concat(logs.arn, ":*")],
                ),
                Statement(sid="OwnDeadLetters", actions=["sqs:SendMessage"], resources=[queue.arn]),
                *args.statements,
                *(args.inside.statements if args.inside else ()),
            ),
            opts=self._child(),
        )
        function = aws.lambda_.Function(
            f"{name}-function",
            name=args.function_name,
            description=args.description,
            role=role.arn,
            runtime=RUNTIME,
            architectures=[ARCHITECTURE],
            handler=args.handler,
            code=pulumi.FileArchive(str(args.artifact.path)),
            memory_size=args.memory_mb,
            timeout=args.timeout_seconds,
            reserved_concurrent_executions=args.reserved_concurrency,
            environment=aws.lambda_.FunctionEnvironmentArgs(variables=args.environment) if args.environment else None,
            vpc_config=aws.lambda_.FunctionVpcConfigArgs(
                subnet_ids=args.inside.subnet_ids, security_group_ids=[args.inside.group_id]
            )
            if args.inside
            else None,
            opts=self._child(depends_on=[logs, rights]),
        )
        aws.lambda_.FunctionEventInvokeConfig(
            f"{name}-failures",
            function_name=function.name,
            maximum_retry_attempts=2,
            destination_config=aws.lambda_.FunctionEventInvokeConfigDestinationConfigArgs(
                on_failure=aws.lambda_.FunctionEventInvokeConfigDestinationConfigOnFailureArgs(destination=queue.arn)
            ),
            # Lambda checks the role's right to the queue when this is made.
            opts=self._child(depends_on=[rights]),
        )
        self.arn = function.arn
        self.function_name = function.name
        self.dead_letter_arn = queue.arn
        self.register_outputs({"arn": self.arn, "dead_letter_arn": self.dead_letter_arn})

    def _child(self, depends_on: list[pulumi.Resource] | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=depends_on)

    def _dead_letters(self) -> aws.sqs.Queue:
        """Where events go that failed every attempt; synchronous callers see the error themselves."""
        queue = aws.sqs.Queue(
            f"{self._name}-dead-letters",
            sqs_managed_sse_enabled=True,
            message_retention_seconds=_DEAD_LETTER_SECONDS,
            opts=self._child(),
        )
        aws.sqs.QueuePolicy(
            f"{self._name}-dead-letters-policy",
            queue_url=queue.url,
            policy=document(tls_only("sqs", [queue.arn])),
            opts=self._child(),
        )
        return queue
