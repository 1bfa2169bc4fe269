"""An encryption key of one's own, with the name that people look for in the console."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

_LAUNCH_RIGHTS: Final = (
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)
"""Amazon EC2 Auto Scaling User Guide, "Required AWS KMS key policy for use with encrypted volumes"."""


@dataclass(frozen=True, kw_only=True)
class DataKeyArgs:
    """What the key is for, its alias without ``alias/``, and how long a deleted key can be brought back."""

    description: str
    alias: str
    deletion_days: int
    protect: bool
    policy: pulumi.Input[str] | None = None
    """The key's own policy; left out, it is KMS's default."""


class DataKey(pulumi.ComponentResource):
    """A symmetric KMS key that rotates every year. Unless it has a policy, IAM alone decides who uses it."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: DataKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:keys:DataKey", name, None, opts)
        key = aws.kms.Key(
            f"{name}-key",
            description=args.description,
            enable_key_rotation=True,
            deletion_window_in_days=args.deletion_days,
            policy=args.policy,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        aws.kms.Alias(
            f"{name}-alias",
            name=f"alias/{args.alias}",
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})


def launch_grant(
    name: str, key_arn: pulumi.Input[str], account: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> aws.kms.Grant:
    """Lets Auto Scaling launch machines whose disks have this key. Its role must exist: `opts` name a group."""
    return aws.kms.Grant(
        name,
        key_id=key_arn,
        grantee_principal=pulumi.Output.concat(
            *("arn:aws:iam::", account),
            ":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
        ),
        operations=list(_LAUNCH_RIGHTS),
        opts=opts,
    )
