"""Programs about what makes functions run: rules and queues, and the secrets that functions use."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws
from provider_programs import ACCOUNT, REGION, allow, provider

_HANDLER = "def handler(event, _): return event\n"


def calls(
    batch: int = 10, window: int = 0, minutes: int = 5, owner: str = "one", service: str = "events.amazonaws.com"
) -> None:
    """A rule and a schedule that send to an encrypted queue and a function, and a mapping between the two."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Owner": owner}))
    owner_of_key = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    key = aws.kms.Key("key", policy=allow("kms:*", "*", Principal=owner_of_key), opts=by)
    dead = aws.sqs.Queue("dead", opts=by)
    queue = aws.sqs.Queue(
        "queue",
        visibility_timeout_seconds=60,
        kms_master_key_id=key.arn,
        redrive_policy=dead.arn.apply(
            lambda arn: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": minutes})
        ),
        opts=by,
    )
    vpc = aws.ec2.Vpc("net", cidr_block="10.6.0.0/16", opts=by)
    subnets = [
        aws.ec2.Subnet(f"subnet-{at}", vpc_id=vpc.id, cidr_block=f"10.6.{at}.0/24", opts=by).id for at in range(2)
    ]
    group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, opts=by)
    role = aws.iam.Role(
        "role", assume_role_policy=allow("sts:AssumeRole", "", Principal={"Service": "lambda.amazonaws.com"}), opts=by
    )
    reading = aws.iam.RolePolicy("reading", role=role.name, policy=queue.arn.apply(_reading), opts=by)
    function = aws.lambda_.Function(
        "function",
        role=role.arn,
        runtime="python3.11",
        handler="main.handler",
        timeout=10,
        reserved_concurrent_executions=1,
        code=pulumi.AssetArchive({"main.py": pulumi.StringAsset(_HANDLER)}),
        vpc_config={"subnet_ids": subnets, "security_group_ids": [group.id]},
        opts=pulumi.ResourceOptions.merge(by, pulumi.ResourceOptions(depends_on=[reading])),
    )
    aws.lambda_.EventSourceMapping(
        "mapping",
        function_name=function.name,
        event_source_arn=queue.arn,
        batch_size=batch,
        maximum_batching_window_in_seconds=window,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config={"maximum_concurrency": 2} if window else None,
        opts=by,
    )
    rule = aws.cloudwatch.EventRule(
        "rule",
        description=owner,
        event_pattern=json.dumps({"source": ["aws.autoscaling"], "detail": {"Minutes": [minutes]}}),
        opts=by,
    )
    aws.cloudwatch.EventTarget(
        "to-queue",
        rule=rule.name,
        arn=queue.arn,
        dead_letter_config={"arn": dead.arn},
        retry_policy={"maximum_retry_attempts": batch, "maximum_event_age_in_seconds": 3600},
        opts=by,
    )
    aws.cloudwatch.EventTarget("to-function", rule=rule.name, target_id="f", arn=function.arn, opts=by)
    aws.lambda_.Permission(
        "permission",
        action="lambda:InvokeFunction",
        function=function.name,
        principal=service,
        source_arn=rule.arn,
        opts=by,
    )
    sweep = aws.cloudwatch.EventRule("sweep", schedule_expression=f"rate({minutes} minutes)", opts=by)
    aws.cloudwatch.EventTarget("sweeping", rule=sweep.name, arn=queue.arn, input='{"sweep": true}', opts=by)
    secret = aws.secretsmanager.Secret(
        "secret", description=owner, kms_key_id=key.arn, recovery_window_in_days=7, opts=by
    )
    reader = {"AWS": role.arn}
    aws.secretsmanager.SecretPolicy(
        "secret-policy",
        secret_arn=secret.arn,
        policy=pulumi.Output.json_dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "secretsmanager:GetSecretValue",
                        "Resource": "*",
                        "Principal": reader,
                    }
                ],
            }
        ),
        opts=by,
    )


def _reading(queue: str) -> str:
    network = ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"]
    reading = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": network, "Resource": "*"},
        {"Effect": "Allow", "Action": reading, "Resource": queue},
        {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
