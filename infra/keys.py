"""An encryption key of one's own, with the name that people look for in the console."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws


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
