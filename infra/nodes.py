"""What the cluster's machines have in common: who may speak to them, what they may do, and how they start."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.bucket import DataBucket, DataBucketArgs
from infra.errors import InfraError
from infra.network import ANYWHERE, HTTPS
from infra.policies import Statement, document, trust

SEED: Final = "seed"
WORKER: Final = "worker"
SEED_DATA: Final = "seed-data"
"""The tag `role` of a seed's data disk."""

_SCRIPTS: Final = Path(__file__).with_name("user_data")
_USER_DATA_LIMIT: Final = 16 * 1024
"""Bytes (EC2 User Guide, "Run commands when you launch an EC2 instance with user data input")."""
_PREFIX: Final = "boot/"

_AMONG_NODES: Final[Mapping[str, tuple[str, int, int]]] = {
    "echo": ("icmp", -1, -1),
    "rpc": ("tcp", 135, 135),
    "netbios": ("tcp", 137, 139),
    "files": ("tcp", 445, 445),
    "cluster": ("tcp", 19000, 19003),
    "gateway": ("tcp", 19080, 19081),
    "services": ("tcp", 20001, 20031),
    "ephemeral": ("tcp", 20606, 20861),
}
"""What nodes of a standalone cluster say to each other (Service Fabric documentation, "Plan and prepare your Service
Fabric Standalone cluster deployment"; the last two ranges are those of the cluster's configuration)."""

NODE_PORTS: Final = tuple(
    port for protocol, *ends in _AMONG_NODES.values() if protocol == "tcp" for port in sorted(set(ends))
)
"""The first and the last port of each of these ranges."""

_SSM_CHANNELS: Final = (
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""What Session Manager and Run Command need of a node, beside telling that it is there (Systems Manager User Guide,
"Add Session Manager permissions to an existing IAM role"). The managed policy AmazonSSMManagedInstanceCore would also
let a node read every parameter of the account."""


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """A load balancer in front of the nodes: its security group, and the nodes' ports that it speaks to."""

    label: str
    group_id: pulumi.Input[str]
    ports: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class NodesArgs:
    """Where the nodes are, whom they reach, and the key for their disks and scripts."""

    cluster: str
    region: str
    account: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    endpoint_group_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    entrances: Sequence[Entrance]
    key_arn: pulumi.Input[str]
    certificate_secret_arn: str | None
    disposable: bool
    protect: bool


class Nodes(pulumi.ComponentResource):
    """The nodes' security group, a role for each kind, and the scripts they run when they start."""

    group_id: pulumi.Output[str]
    profile_arns: dict[str, pulumi.Output[str]]
    """The instance profile of each kind of node."""
    ready: list[pulumi.Resource]
    """What must be there before a node starts."""

    def __init__(self, name: str, args: NodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:nodes:Nodes", name, None, opts)
        self._name = name
        self._args = args
        self.group_id = self._group()
        self._bucket = DataBucket(
            f"{name}-scripts",
            DataBucketArgs(key_arn=args.key_arn, disposable=args.disposable, protect=args.protect),
            opts=self._child(),
        )
        self._scripts = {path.name: path.read_text() for path in sorted(_SCRIPTS.glob("*.ps1"))}
        self.ready = [self._publish(script) for script in self._scripts if script != "loader.ps1"]
        self.profile_arns = {kind: self._profile(kind) for kind in (SEED, WORKER)}
        self.register_outputs({"group_id": self.group_id})

    def user_data(self, kind: str, node: str = "") -> pulumi.Output[str]:
        """The loader with what a node of this kind has to fetch, as EC2 takes it."""
        args = self._args
        settings = pulumi.Output.json_dumps(
            {
                "cluster": args.cluster,
                "node": node,
                "region": args.region,
                "bucket": self._bucket.bucket_name,
                "certificate": args.certificate_secret_arn or "",
                "start": f"{kind}.ps1",
                "scripts": [
                    {"name": script, "key": self._key(script), "sha256": self._hash(script)}
                    for script in ("common.ps1", f"{kind}.ps1")
                ],
            }
        )
        return settings.apply(lambda text: _encoded(self._scripts["loader.ps1"], text))

    def _child(self, depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    # Who speaks to whom

    def _group(self) -> pulumi.Output[str]:
        name, args = self._name, self._args
        group = aws.ec2.SecurityGroup(
            name,
            description="Nodes of the Service Fabric cluster",
            vpc_id=args.vpc_id,
            tags={"Name": name},
            opts=self._child(),
        )
        for label, (protocol, first, last) in _AMONG_NODES.items():
            self._enters(group, f"{name}-{label}", "From node to node", group.id, protocol, first, last)
        for entrance in args.entrances:
            for port in entrance.ports:
                about = f"From the {entrance.label} load balancer, health checks too"
                self._enters(group, f"{name}-{entrance.label}-{port}", about, entrance.group_id, "tcp", port, port)
        ways: dict[str, dict[str, Any]] = {
            "nodes": {"referenced_security_group_id": group.id, "ip_protocol": "-1"},
            "endpoints": {"referenced_security_group_id": args.endpoint_group_id},
            "s3": {"prefix_list_id": args.s3_prefix_list_id},
            # Through NAT, where there is any: Windows updates, Service Fabric's packages, and AWS APIs without an
            # endpoint inside. None of them has addresses that could be listed.
            "internet": {"cidr_ipv4": ANYWHERE},
        }
        for label, way in ways.items():
            ports = {} if "ip_protocol" in way else {"ip_protocol": "tcp", "from_port": HTTPS, "to_port": HTTPS}
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-to-{label}",
                security_group_id=group.id,
                description=f"To {label}",
                **way,
                **ports,
                opts=self._child(),
            )
        return group.id

    def _enters(
        self,
        group: aws.ec2.SecurityGroup,
        name: str,
        description: str,
        source: pulumi.Input[str],
        protocol: str,
        first: int,
        last: int,
    ) -> None:
        aws.vpc.SecurityGroupIngressRule(
            name,
            security_group_id=group.id,
            description=description,
            referenced_security_group_id=source,
            ip_protocol=protocol,
            from_port=first,
            to_port=last,
            opts=self._child(),
        )

    # What they may do

    def _profile(self, kind: str) -> pulumi.Output[str]:
        name = f"{self._name}-{kind}"
        role = aws.iam.Role(name, assume_role_policy=trust("ec2.amazonaws.com"), opts=self._child())
        statements = [*self._statements(), *(self._disk_statements() if kind == SEED else ())]
        rights = aws.iam.RolePolicy(name, role=role.id, policy=document(*statements), opts=self._child())
        profile = aws.iam.InstanceProfile(name, role=role.name, opts=self._child())
        self.ready.append(rights)
        return profile.arn

    def _arn(self, resource: str) -> pulumi.Output[str]:
        return pulumi.Output.concat("arn:aws:ec2:", self._args.region, ":", self._args.account, ":", resource)

    def _statements(self) -> list[Statement]:
        args = self._args
        secret = args.certificate_secret_arn
        return [
            Statement(
                sid="BeManaged", actions=["ssm:UpdateInstanceInformation"], resources=[self._arn("instance/*")]
            ),
            Statement(sid="OpenChannels", actions=_SSM_CHANNELS, resources=["*"]),
            Statement(sid="KnowTags", actions=["ec2:DescribeTags"], resources=["*"]),
            Statement(
                sid="FetchScripts",
                actions=["s3:GetObject"],
                resources=[pulumi.Output.concat(self._bucket.arn, "/", _PREFIX, "*")],
            ),
            Statement(
                sid="ReadScripts",
                actions=["kms:Decrypt"],
                resources=[args.key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"s3.{args.region}.amazonaws.com"}},
            ),
            *(
                [Statement(sid="FetchCertificate", actions=["secretsmanager:GetSecretValue"], resources=[secret])]
                if secret
                else []
            ),
        ]

    def _disk_statements(self) -> list[Statement]:
        """A seed attaches data disks of its own cluster, to machines of its own cluster."""
        args = self._args
        own = {"aws:ResourceTag/cluster": args.cluster}
        through_ec2 = {"StringEquals": {"kms:ViaService": f"ec2.{args.region}.amazonaws.com"}}
        return [
            Statement(sid="FindDisk", actions=["ec2:DescribeVolumes"], resources=["*"]),
            Statement(
                sid="AttachDisk",
                actions=["ec2:AttachVolume"],
                resources=[self._arn("volume/*")],
                conditions={"StringEquals": {**own, "aws:ResourceTag/role": SEED_DATA}},
            ),
            Statement(
                sid="AttachToSeed",
                actions=["ec2:AttachVolume"],
                resources=[self._arn("instance/*")],
                conditions={"StringEquals": {**own, "aws:ResourceTag/role": SEED}},
            ),
            # EBS User Guide, "How Amazon EBS encryption works": EBS gets a grant of the one who attaches.
            Statement(
                sid="OpenDisk",
                actions=["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext"],
                resources=[args.key_arn],
                conditions=through_ec2,
            ),
            Statement(
                sid="LetDiskBeRead",
                actions=["kms:CreateGrant"],
                resources=[args.key_arn],
                conditions={**through_ec2, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            ),
        ]

    # How they start

    def _hash(self, script: str) -> str:
        return hashlib.sha256(self._scripts[script].encode()).hexdigest()

    def _key(self, script: str) -> str:
        """A changed script is another object: machines that start meanwhile find the one they were promised."""
        return f"{_PREFIX}{self._hash(script)[:16]}/{script}"

    def _publish(self, script: str) -> pulumi.Resource:
        return aws.s3.BucketObjectv2(
            f"{self._name}-{script}",
            bucket=self._bucket.bucket_name,
            key=self._key(script),
            content=self._scripts[script],
            content_type="text/plain; charset=utf-8",
            # Encryption is the bucket's, which has to be set before.
            opts=self._child(depends_on=[self._bucket]),
        )


def _encoded(loader: str, settings: str) -> str:
    if "'" in settings:
        raise InfraError(f"the nodes' settings cannot be quoted in PowerShell: {json.dumps(settings)}")
    script = f"<powershell>\n{loader.replace('{{settings}}', settings)}</powershell>\n".encode()
    if len(script) > _USER_DATA_LIMIT:
        raise InfraError(f"infra/user_data/loader.ps1 is {len(script)} bytes: EC2 takes {_USER_DATA_LIMIT}")
    return base64.b64encode(script).decode()
