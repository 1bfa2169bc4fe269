"""How workers leave cleanly: what Auto Scaling tells of them goes to a queue, and a function works that off."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.functions import Function, FunctionArgs
from infra.inside import Inside, InsideArgs
from infra.nodes import WORKER
from infra.packaging import Artifact
from infra.policies import Statement, document, tls_only
from infra.sections import GATEWAY_PORT
from infra.sections import ScaleIn as ScaleInSettings
from infra.sections.fleet import VISIBILITY

HANDLER: Final = "services.fabric.scale_in.handler.handle"
SERVICE: Final = "scale-in"
"""The dimension `service` of the function's metrics."""

_BATCH: Final = 10
_RECEIVES: Final = 20
"""Until a message is given up. Those that meet the function at work count as well, as only one call runs at once."""
_DEAD_LETTER_SECONDS: Final = 14 * 24 * 3600
"""SQS keeps a message no longer."""


@dataclass(frozen=True, kw_only=True)
class ScaleInArgs:
    """The function's code and place, the group it serves, and how it reaches the cluster."""

    settings: ScaleInSettings
    cluster: str
    worker_group: str
    """The group's name, which is fixed: the group needs all this before it exists."""
    function_name: str
    artifact: Artifact
    place: InsideArgs
    management_group_id: pulumi.Input[str]
    management_address: pulumi.Input[str]
    client_secret_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    log_retention_days: int


class ScaleIn(pulumi.ComponentResource):
    """Rule -> queue -> function, and a second rule that has the whole cluster swept now and then."""

    function: Function
    queue_url: pulumi.Output[str]
    queue_name: pulumi.Output[str]
    dead_letters_url: pulumi.Output[str]
    dead_letters_name: pulumi.Output[str]

    def __init__(self, name: str, args: ScaleInArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:scale_in:ScaleIn", name, None, opts)
        self._name = name
        self._args = args
        inside = self._place()
        dead_letters = aws.sqs.Queue(
            f"{name}-undone",
            sqs_managed_sse_enabled=True,
            message_retention_seconds=_DEAD_LETTER_SECONDS,
            opts=self._child(),
        )
        self._admit(f"{name}-undone", dead_letters, [])
        queue = aws.sqs.Queue(
            f"{name}-queue",
            # With a key of ours EventBridge would have to be let in by the key's policy; SQS's own needs nothing.
            sqs_managed_sse_enabled=True,
            visibility_timeout_seconds=VISIBILITY * args.settings.timeout_seconds,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": _RECEIVES}
            ),
            opts=self._child(),
        )
        rules = [self._leaving(), self._sweep()]
        policy = self._admit(f"{name}-queue", queue, rules)
        self.function = self._function(queue, inside)
        aws.lambda_.EventSourceMapping(
            f"{name}-work",
            event_source_arn=queue.arn,
            function_name=self.function.arn,
            batch_size=_BATCH,
            function_response_types=["ReportBatchItemFailures"],
            # Lambda looks at once whether the role may read the queue.
            opts=self._child([self.function]),
        )
        for label, rule in zip(("leaving", "sweep"), rules, strict=True):
            aws.cloudwatch.EventTarget(
                f"{name}-{label}", rule=rule.name, arn=queue.arn, opts=self._child([policy, self.function])
            )
        self.queue_url, self.queue_name = queue.url, queue.name
        self.dead_letters_url, self.dead_letters_name = dead_letters.url, dead_letters.name
        self.register_outputs({"queue_url": self.queue_url, "dead_letters_url": self.dead_letters_url})

    def _child(self, depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _place(self) -> Inside:
        """In the VPC, with a way to the cluster through the management load balancer."""
        name, balancer = self._name, self._args.management_group_id
        inside = Inside(name, self._args.place, opts=self._child())
        about = {"ip_protocol": "tcp", "from_port": GATEWAY_PORT, "to_port": GATEWAY_PORT}
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-to-management",
            security_group_id=inside.group_id,
            description="To the cluster's HTTP gateway",
            referenced_security_group_id=balancer,
            **about,
            opts=self._child(),
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-into-management",
            security_group_id=balancer,
            description="From the function that removes workers",
            referenced_security_group_id=inside.group_id,
            **about,
            opts=self._child(),
        )
        return inside

    def _leaving(self) -> aws.cloudwatch.EventRule:
        return aws.cloudwatch.EventRule(
            f"{self._name}-leaving",
            description="A worker leaves its group",
            event_pattern=json.dumps(
                {
                    "source": ["aws.autoscaling"],
                    "detail-type": ["EC2 Instance-terminate Lifecycle Action"],
                    "detail": {"AutoScalingGroupName": [self._args.worker_group]},
                }
            ),
            opts=self._child(),
        )

    def _sweep(self) -> aws.cloudwatch.EventRule:
        minutes = self._args.settings.sweep_minutes
        return aws.cloudwatch.EventRule(
            f"{self._name}-sweep",
            description="Events can be lost: the cluster is searched for nodes without machines",
            # EventBridge refuses "1 minutes".
            schedule_expression=f"rate({minutes} minute{'s' if minutes > 1 else ''})",
            opts=self._child(),
        )

    def _admit(self, name: str, queue: aws.sqs.Queue, rules: Sequence[aws.cloudwatch.EventRule]) -> pulumi.Resource:
        """Over TLS only; EventBridge puts messages for the rules (Amazon EventBridge User Guide, "Using
        resource-based policies for Amazon EventBridge")."""
        statements = [tls_only("sqs", [queue.arn])]
        if rules:
            statements.append(
                Statement(
                    sid="Events",
                    principals={"Service": "events.amazonaws.com"},
                    actions=["sqs:SendMessage"],
                    resources=[queue.arn],
                    conditions={"ArnEquals": {"aws:SourceArn": [rule.arn for rule in rules]}},
                )
            )
        return aws.sqs.QueuePolicy(
            f"{name}-policy", queue_url=queue.url, policy=document(*statements), opts=self._child()
        )

    def _function(self, queue: aws.sqs.Queue, inside: Inside) -> Function:
        args = self._args
        return Function(
            self._name,
            FunctionArgs(
                function_name=args.function_name,
                description="Takes workers out of the cluster before their machines go",
                artifact=args.artifact,
                handler=HANDLER,
                memory_mb=args.settings.memory_mb,
                timeout_seconds=args.settings.timeout_seconds,
                # On EC2 there is no durability tier: never more than one removal at a time.
                reserved_concurrency=1,
                log_retention_days=args.log_retention_days,
                environment={
                    "FLEETSTREAM_CLUSTER": args.cluster,
                    "FLEETSTREAM_GATEWAY": pulumi.Output.concat(
                        "https://", args.management_address, f":{GATEWAY_PORT}"
                    ),
                    "FLEETSTREAM_CLIENT_SECRET": args.client_secret_arn,
                    "FLEETSTREAM_QUEUE_URL": queue.url,
                    "FLEETSTREAM_POLL_SECONDS": str(args.settings.poll_seconds),
                    "POWERTOOLS_SERVICE_NAME": SERVICE,
                    "POWERTOOLS_METRICS_NAMESPACE": args.cluster,
                },
                statements=self._statements(queue),
                inside=inside,
            ),
            opts=self._child(),
        )

    def _statements(self, queue: aws.sqs.Queue) -> tuple[Statement, ...]:
        args = self._args
        here = (args.place.region, ":", args.place.account)
        group = pulumi.Output.concat(
            "arn:aws:autoscaling:", *here, f":autoScalingGroup:*:autoScalingGroupName/{args.worker_group}"
        )
        return (
            Statement(
                sid="WorkQueue",
                actions=[
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:ReceiveMessage",
                    # What is not done yet is a new message: one handed back would count towards the dead letters.
                    "sqs:SendMessage",
                ],
                resources=[queue.arn],
            ),
            Statement(
                sid="KnowMachines",
                actions=[
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeAutoScalingInstances",
                    "autoscaling:DescribeLifecycleHooks",
                    "ec2:DescribeInstances",
                ],
                resources=["*"],
            ),
            Statement(
                sid="AnswerHook",
                actions=["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"],
                resources=[group],
            ),
            Statement(
                sid="StopWorkers",
                actions=["ec2:StopInstances"],
                resources=[pulumi.Output.concat("arn:aws:ec2:", *here, ":instance/*")],
                conditions={
                    "StringEquals": {"aws:ResourceTag/cluster": args.cluster, "aws:ResourceTag/role": WORKER}
                },
            ),
            Statement(
                sid="FetchCertificate", actions=["secretsmanager:GetSecretValue"], resources=[args.client_secret_arn]
            ),
            Statement(
                sid="OpenCertificate",
                actions=["kms:Decrypt"],
                resources=[args.key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"secretsmanager.{args.place.region}.amazonaws.com"}},
            ),
        )
