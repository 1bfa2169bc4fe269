"""What the cluster's machines have in common: who may speak to them, and what they may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.boot import CONFIGURATION_PREFIX, PACKAGES_PREFIX, SCRIPTS_PREFIX
from infra.network import ANYWHERE, HTTPS
from infra.policies import Statement, document, trust

SEED: Final = "seed"
WORKER: Final = "worker"
SEED_DATA: Final = "seed-data"
"""The tag `role` of a seed's data disk."""
SNAPSHOTS_TAG: Final = "snapshots"
"""On a seed's data disk, with the cluster's name: Data Lifecycle Manager finds it by this."""

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
    bucket_arn: pulumi.Input[str]
    """Where scripts, packages and the cluster's configuration are."""
    secret_arns: Sequence[pulumi.Input[str]]
    """The administrator and the certificate."""
    worker_group: str
    """The name of the workers' Auto Scaling group."""
    worker_statements: Sequence[Statement] = ()
    """What the services on workers may do."""


def managed(region: str, account: pulumi.Input[str]) -> list[Statement]:
    """What a machine's role needs so that Systems Manager can send it commands."""
    instances = pulumi.Output.concat("arn:aws:ec2:", region, ":", account, ":instance/*")
    return [
        Statement(sid="BeManaged", actions=["ssm:UpdateInstanceInformation"], resources=[instances]),
        Statement(sid="OpenChannels", actions=_SSM_CHANNELS, resources=["*"]),
    ]


class Nodes(pulumi.ComponentResource):
    """The nodes' security group, and a role for each kind."""

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
        self.ready = []
        self.profile_arns = {kind: self._profile(kind) for kind in (SEED, WORKER)}
        self.register_outputs({"group_id": self.group_id})

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
        own = self._seed_statements() if kind == SEED else self._worker_statements()
        statements = [*self._statements(), *own]
        rights = aws.iam.RolePolicy(name, role=role.id, policy=document(*statements), opts=self._child())
        profile = aws.iam.InstanceProfile(name, role=role.name, opts=self._child())
        self.ready.append(rights)
        return profile.arn

    def _arn(self, resource: str) -> pulumi.Output[str]:
        return pulumi.Output.concat("arn:aws:ec2:", self._args.region, ":", self._args.account, ":", resource)

    def _through(self, service: str) -> dict[str, dict[str, str]]:
        return {"StringEquals": {"kms:ViaService": f"{service}.{self._args.region}.amazonaws.com"}}

    def _objects(self, *prefixes: str) -> list[pulumi.Output[str]]:
        return [pulumi.Output.concat(self._args.bucket_arn, "/", prefix, "*") for prefix in prefixes]

    def _statements(self) -> list[Statement]:
        args = self._args
        return [
            *managed(args.region, args.account),
            # Its own tags, and the seeds' addresses.
            Statement(sid="FindNodes", actions=["ec2:DescribeInstances", "ec2:DescribeTags"], resources=["*"]),
            Statement(
                sid="FetchScripts",
                actions=["s3:GetObject"],
                resources=self._objects(SCRIPTS_PREFIX, PACKAGES_PREFIX),
            ),
            Statement(
                sid="ReadScripts", actions=["kms:Decrypt"], resources=[args.key_arn], conditions=self._through("s3")
            ),
            Statement(
                sid="FetchSecrets", actions=["secretsmanager:GetSecretValue"], resources=list(args.secret_arns)
            ),
            Statement(
                sid="OpenSecrets",
                actions=["kms:Decrypt"],
                resources=[args.key_arn],
                conditions=self._through("secretsmanager"),
            ),
        ]

    def _seed_statements(self) -> list[Statement]:
        """A seed finds its disk, which others attach, and forms the cluster from its configuration."""
        return [
            Statement(sid="FindDisk", actions=["ec2:DescribeVolumes"], resources=["*"]),
            Statement(
                sid="FetchConfiguration",
                actions=["s3:GetObject", "s3:GetObjectVersion"],
                resources=self._objects(CONFIGURATION_PREFIX),
            ),
        ]

    def _worker_statements(self) -> list[Statement]:
        """A worker says which node it is, and answers for its launch."""
        args = self._args
        group = pulumi.Output.concat(
            *("arn:aws:autoscaling:", args.region, ":", args.account),
            f":autoScalingGroup:*:autoScalingGroupName/{args.worker_group}",
        )
        own = {"aws:ResourceTag/cluster": args.cluster, "aws:ResourceTag/role": WORKER}
        return [
            Statement(
                sid="AnswerHook",
                actions=["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"],
                resources=[group],
            ),
            Statement(
                sid="NameItself",
                actions=["ec2:CreateTags"],
                resources=[self._arn("instance/*")],
                conditions={
                    "StringEquals": own,
                    # Credentials of an instance profile say which machine they were given to; what is tagged has to
                    # be that one (Service Authorization Reference, "Condition keys for Amazon EC2").
                    "ArnEquals": {"ec2:SourceInstanceARN": self._arn("instance/${ec2:InstanceID}")},
                    "ForAllValues:StringEquals": {"aws:TagKeys": ["node"]},
                },
            ),
            *args.worker_statements,
        ]
