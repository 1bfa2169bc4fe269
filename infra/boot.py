"""How the cluster's machines start: scripts in a bucket, and a loader as user data that runs nothing else."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.bucket import DataBucket, DataBucketArgs
from infra.errors import InfraError

SCRIPTS_PREFIX: Final = "boot/"
PACKAGES_PREFIX: Final = "packages/"
"""Service Fabric as Microsoft offers it, put there once a version: Microsoft's links change, and old ones end."""
CONFIGURATION_PREFIX: Final = "cluster/"
CONFIGURATION_KEY: Final = f"{CONFIGURATION_PREFIX}ClusterConfig.json"

_SCRIPTS: Final = Path(__file__).with_name("user_data")
_LOADER: Final = "loader.ps1"
_USER_DATA_LIMIT: Final = 16 * 1024
"""Bytes (EC2 User Guide, "Run commands when you launch an EC2 instance with user data input")."""


@dataclass(frozen=True, kw_only=True)
class BootArgs:
    """The key for the scripts, what all nodes are told, and what each kind of them runs."""

    key_arn: pulumi.Input[str]
    settings: Mapping[str, pulumi.Input[str]]
    """For the loader and the scripts; nothing secret, as whoever may describe the templates reads it."""
    scripts: Mapping[str, tuple[str, ...]]
    """The scripts that each kind of node fetches, the one that it starts with last."""
    disposable: bool
    protect: bool


class Boot(pulumi.ComponentResource):
    """The bucket and the published scripts; `user_data` is what a launch template takes."""

    bucket_arn: pulumi.Output[str]
    bucket_name: pulumi.Output[str]
    ready: list[pulumi.Resource]
    """What must be there before a node starts."""

    def __init__(self, name: str, args: BootArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:boot:Boot", name, None, opts)
        self._name = name
        self._args = args
        self._bucket = DataBucket(
            f"{name}-scripts",
            DataBucketArgs(key_arn=args.key_arn, disposable=args.disposable, protect=args.protect),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._scripts = {path.name: path.read_text() for path in sorted(_SCRIPTS.glob("*.ps1"))}
        self.bucket_arn, self.bucket_name = self._bucket.arn, self._bucket.bucket_name
        self.ready = [self._publish(script) for script in self._scripts if script != _LOADER]
        self.register_outputs({"bucket_name": self.bucket_name})

    def user_data(self, kind: str, **settings: pulumi.Input[str]) -> pulumi.Output[str]:
        """The loader with what a node of this kind has to fetch and to know, as EC2 takes it."""
        scripts = self._args.scripts[kind]
        told = pulumi.Output.json_dumps(
            {
                **self._args.settings,
                **settings,
                "bucket": self.bucket_name,
                "start": scripts[-1],
                "scripts": [
                    {"name": script, "key": self._key(script), "sha256": self._hash(script)} for script in scripts
                ],
            }
        )
        return told.apply(lambda text: _encoded(self._scripts[_LOADER], text))

    def _hash(self, script: str) -> str:
        return hashlib.sha256(self._scripts[script].encode()).hexdigest()

    def _key(self, script: str) -> str:
        """A changed script is another object: machines that start meanwhile find the one they were promised."""
        return f"{SCRIPTS_PREFIX}{self._hash(script)[:16]}/{script}"

    def _publish(self, script: str) -> pulumi.Resource:
        return aws.s3.BucketObjectv2(
            f"{self._name}-{script}",
            bucket=self.bucket_name,
            key=self._key(script),
            content=self._scripts[script],
            content_type="text/plain; charset=utf-8",
            # Encryption is the bucket's, which has to be set before.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._bucket]),
        )


def _encoded(loader: str, settings: str) -> str:
    if "'" in settings:
        raise InfraError(f"the nodes' settings cannot be quoted in PowerShell: {json.dumps(settings)}")
    script = f"<powershell>\n{loader.replace('{{settings}}', settings)}</powershell>\n".encode()
    if len(script) > _USER_DATA_LIMIT:
        raise InfraError(f"infra/user_data/loader.ps1 is {len(script)} bytes: EC2 takes {_USER_DATA_LIMIT}")
    return base64.b64encode(script).decode()
