"""Which extensions of moto are installed, in one place."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from envs.sandbox.account import Account
from envs.sandbox.aws import (
    autoscaling,
    budgets,
    cloudwatch,
    dlm,
    ec2,
    ec2_rules,
    efs,
    elbv2_rules,
    events,
    firehose,
    fsx,
    iam,
    images,
    kafka,
    kms,
    lambda_,
    logs,
    s3,
    secretsmanager,
    sns,
    sqs,
    ssm,
    sts,
)
from envs.sandbox.aws.clock import CLOCK
from envs.sandbox.aws.host import Host


@contextlib.contextmanager
def installed(state_dir: Path, account: Account) -> Iterator[None]:
    """Puts every extension into this process's moto, and ends what they run when the block ends.

    Only once a process, and before moto has served a request: its URL maps are read at the first one.
    """
    host = Host(state_dir, account)
    for extension in (
        iam,
        budgets,
        sts,
        kms,
        logs,
        cloudwatch,
        sns,
        sqs,
        s3,
        secretsmanager,
        images,
        ssm,
        ec2,
        ec2_rules,
        autoscaling,
        dlm,
        efs,
        fsx,
        elbv2_rules,
        kafka,
        events,
        lambda_,
        firehose,
    ):
        extension.install(host)
    CLOCK.start()
    try:
        yield
    finally:
        CLOCK.close()
        events.close()
        lambda_.close()
