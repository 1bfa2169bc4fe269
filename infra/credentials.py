"""What the cluster keeps secret: a key, and secrets without a value, which bootstrap puts when there is none."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.keys import DataKey, DataKeyArgs

_SECRETS: Final = {
    "administrator": "The nodes' local administrator (JSON: username, password)",
    "node-certificate": "The nodes' certificate and its private key (PFX, binary)",
    "client-certificate": "The certificate of whoever manages the cluster (JSON: certificate, key, authority, names)",
}


@dataclass(frozen=True, kw_only=True)
class CredentialsArgs:
    """The key's alias, and how long what was deleted can be brought back."""

    key_alias: str
    key_deletion_days: int
    secret_recovery_days: int
    protect: bool


class Credentials(pulumi.ComponentResource):
    """The fleet's key, which encrypts disks and scripts too, and three secrets.

    A value in the program would be in the stack's state, so there is none: a team puts its own certificate first.
    """

    key_arn: pulumi.Output[str]
    administrator_arn: pulumi.Output[str]
    node_certificate_arn: pulumi.Output[str]
    client_certificate_arn: pulumi.Output[str]

    def __init__(self, name: str, args: CredentialsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:credentials:Credentials", name, None, opts)
        key = DataKey(
            name,
            DataKeyArgs(
                description="The fleet's disks, scripts and secrets",
                alias=args.key_alias,
                deletion_days=args.key_deletion_days,
                protect=args.protect,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.key_arn = key.arn
        secrets = {
            role: aws.secretsmanager.Secret(
                f"{name}-{role}",
                description=about,
                kms_key_id=key.arn,
                recovery_window_in_days=args.secret_recovery_days,
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
            )
            for role, about in _SECRETS.items()
        }
        self.administrator_arn = secrets["administrator"].arn
        self.node_certificate_arn = secrets["node-certificate"].arn
        self.client_certificate_arn = secrets["client-certificate"].arn
        self.register_outputs(
            {
                "key_arn": self.key_arn,
                "administrator_arn": self.administrator_arn,
                "node_certificate_arn": self.node_certificate_arn,
                "client_certificate_arn": self.client_certificate_arn,
            }
        )
