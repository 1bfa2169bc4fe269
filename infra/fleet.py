"""The Windows machines of the Service Fabric cluster: seeds keep address and data, workers come and go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra import hooks
from infra.boot import PACKAGES_PREFIX, Boot, BootArgs
from infra.hooks import Hook
from infra.keys import launch_grant
from infra.nodes import SEED, SEED_DATA, SNAPSHOTS_TAG, WORKER, Entrance, Nodes, NodesArgs
from infra.policies import Statement
from infra.sections import Fleet as FleetSettings
from infra.templates import TemplateArgs, launch_template, newest

SEED_HOOK: Final = "seed-launch"
WORKER_LAUNCH_HOOK: Final = "worker-launch"
WORKER_TERMINATE_HOOK: Final = "worker-terminate"
ADDRESS_HOOK: Final = "second-address"
"""Who completes them: the function that attaches a seed's disk, the worker itself once its node is Up, the function
that removes workers, and the one that attaches a worker's second interface."""

_SCRIPTS: Final = {
    SEED: ("common.ps1", "fabric.ps1", "elevated.ps1", "form.ps1", "seed.ps1"),
    WORKER: ("common.ps1", "fabric.ps1", "worker.ps1"),
}
_CPU: Final = aws.autoscaling.PolicyTargetTrackingConfigurationPredefinedMetricSpecificationArgs(
    predefined_metric_type="ASGAverageCPUUtilization"
)
_GRACE_SECONDS: Final = 900
"""Windows takes minutes to start, and Service Fabric more."""


@dataclass(frozen=True, kw_only=True)
class FleetArgs:
    """Where the machines stand, who reaches them, and how their disks are kept."""

    settings: FleetSettings
    cluster: str
    """The cluster's name: the tag by which machines, disks and scripts find each other."""
    worker_group: str
    """The workers' group's name, fixed as the seeds' are: rules and rights name groups before they exist."""
    tags: Mapping[str, str]
    """On machines and disks that Auto Scaling makes: the provider's default tags do not reach them."""
    region: str
    account: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Mapping[str, pulumi.Input[str]]
    """A private subnet of each zone."""
    endpoint_group_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    worker_statements: Sequence[Statement] = ()
    """What the services on workers may do."""
    client_group_ids: Sequence[pulumi.Input[str]] = ()
    """Groups that let their members use something, such as the brokers."""
    entrances: Sequence[Entrance] = ()
    seed_target_group_arns: Sequence[pulumi.Input[str]] = ()
    worker_target_group_arns: Sequence[pulumi.Input[str]] = ()
    key_arn: pulumi.Input[str]
    administrator_arn: pulumi.Input[str]
    certificate_arn: pulumi.Input[str]
    after: Sequence[pulumi.Resource] = ()
    """What answers for hooks: without it the first machines would wait in vain."""
    disposable: bool
    protect: bool


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A seed node as the cluster's configuration names it."""

    zone: str
    address: pulumi.Output[str]
    group_name: pulumi.Output[str]


class Fleet(pulumi.ComponentResource):
    """One group of exactly one machine for each seed, and one group of workers over all zones."""

    seeds: dict[str, Seed]
    worker_group_name: pulumi.Output[str]
    node_group_id: pulumi.Output[str]
    """Security group of all nodes."""
    bucket_name: pulumi.Output[str]
    """Where the boot scripts are, Service Fabric's packages, and the cluster's configuration."""

    def __init__(self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:fleet:Fleet", name, None, opts)
        self._name = name
        self._args = args
        self._boot = Boot(
            f"{name}-boot",
            BootArgs(
                key_arn=args.key_arn,
                settings={
                    "cluster": args.cluster,
                    "region": args.region,
                    "administrator": args.administrator_arn,
                    "certificate": args.certificate_arn,
                    "version": args.settings.service_fabric_version,
                    "packages": PACKAGES_PREFIX,
                },
                scripts=_SCRIPTS,
                disposable=args.disposable,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        self.bucket_name = self._boot.bucket_name
        self._nodes = Nodes(
            f"{name}-nodes",
            NodesArgs(
                cluster=args.cluster,
                region=args.region,
                account=args.account,
                vpc_id=args.vpc_id,
                endpoint_group_id=args.endpoint_group_id,
                s3_prefix_list_id=args.s3_prefix_list_id,
                entrances=args.entrances,
                key_arn=args.key_arn,
                bucket_arn=self._boot.bucket_arn,
                secret_arns=[args.administrator_arn, args.certificate_arn],
                worker_group=args.worker_group,
                worker_statements=args.worker_statements,
            ),
            opts=self._child(),
        )
        self._before = [*self._nodes.ready, *self._boot.ready, *args.after]
        self.node_group_id = self._nodes.group_id
        self._groups = [self.node_group_id, *args.client_group_ids]
        workers = self._workers()
        self.worker_group_name = workers.name
        # Auto Scaling makes its role with the first group of an account, and this group launches nothing yet.
        grant = launch_grant(f"{name}-launches", args.key_arn, args.account, self._child(depends_on=[workers]))
        zones = list(args.subnet_ids)
        self.seeds = {
            f"{SEED}-{number}": self._seed(f"{SEED}-{number}", zones[number % len(zones)], grant)
            for number in range(args.settings.seeds)
        }
        self.register_outputs({"worker_group_name": self.worker_group_name, "node_group_id": self.node_group_id})

    def _child(
        self, depends_on: Sequence[pulumi.Resource] = (), protect: bool | None = None
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on), protect=protect)

    def _seed(self, node: str, zone: str, grant: pulumi.Resource) -> Seed:
        args, settings = self._args, self._args.settings
        name = f"{self._name}-{node}"
        tags = {"Name": name, "cluster": args.cluster, "node": node}
        interface = aws.ec2.NetworkInterface(
            name,
            description=f"The address of {node}",
            subnet_id=args.subnet_ids[zone],
            security_groups=self._groups,
            tags={**tags, "role": SEED},
            opts=self._child(protect=args.protect),
        )
        disk = aws.ebs.Volume(
            f"{name}-data",
            availability_zone=zone,
            type="gp3",
            size=settings.seed_data_gb,
            encrypted=True,
            kms_key_id=args.key_arn,
            tags={**tags, "role": SEED_DATA, SNAPSHOTS_TAG: args.cluster},
            opts=self._child(protect=args.protect),
        )
        template = self._template(
            name,
            SEED,
            settings.seed_instance_type,
            tags={"node": node},
            told={"node": node},
            interface_id=interface.id,
        )
        waits = [Hook(name=SEED_HOOK, moment="launch", seconds=settings.hooks.seed_launch_seconds)]
        group = aws.autoscaling.Group(
            name,
            name=seed_group(args.cluster, node),
            min_size=1,
            max_size=1,
            desired_capacity=1,
            # The interface brings its subnet: Auto Scaling takes the zone alone.
            availability_zones=[zone],
            launch_template=newest(template),
            target_group_arns=args.seed_target_group_arns,
            health_check_type="EC2",
            health_check_grace_period=_GRACE_SECONDS,
            # Nobody but the group itself ends a seed, and taking the environment down asks no leave of it.
            protect_from_scale_in=True,
            force_delete=True,
            initial_lifecycle_hooks=hooks.inline(waits),
            tags=_group_tags({**tags, "role": SEED}),
            opts=self._group_options([*self._before, grant, disk]),
        )
        hooks.keep(name, group, waits, self._child())
        return Seed(zone=zone, address=interface.private_ip, group_name=group.name)

    def _workers(self) -> aws.autoscaling.Group:
        args, settings = self._args, self._args.settings
        name = f"{self._name}-workers"
        template = self._template(
            name,
            WORKER,
            settings.worker_instance_type,
            # A worker's node name is known when it joins: it adds the tag itself.
            tags={},
            told={"hook": WORKER_LAUNCH_HOOK, "group": args.worker_group},
            data_gb=settings.worker_data_gb,
        )
        waits = [
            Hook(name=WORKER_LAUNCH_HOOK, moment="launch", seconds=settings.hooks.worker_launch_seconds),
            *(
                [Hook(name=ADDRESS_HOOK, moment="launch", seconds=settings.hooks.worker_launch_seconds)]
                if settings.second_address
                else []
            ),
            Hook(name=WORKER_TERMINATE_HOOK, moment="terminate", seconds=settings.hooks.worker_terminate_seconds),
        ]
        group = aws.autoscaling.Group(
            name,
            name=args.worker_group,
            min_size=0,
            max_size=settings.workers_max,
            # A worker is ready when its node is Up, which takes a cluster: that is formed after this, and then the
            # group is raised. From there on the number belongs to whoever scales.
            desired_capacity=0,
            vpc_zone_identifiers=list(args.subnet_ids.values()),
            launch_template=newest(template),
            target_group_arns=args.worker_target_group_arns,
            health_check_type="EC2",
            health_check_grace_period=_GRACE_SECONDS,
            # Taking the environment down would wait for every worker to leave the cluster.
            force_delete=True,
            initial_lifecycle_hooks=hooks.inline(waits),
            # A worker whose node could not be removed is kept: without this, ABANDON ends it all the same (Amazon EC2
            # Auto Scaling API Reference, RetentionTriggers).
            instance_lifecycle_policy=aws.autoscaling.GroupInstanceLifecyclePolicyArgs(
                retention_triggers=aws.autoscaling.GroupInstanceLifecyclePolicyRetentionTriggersArgs(
                    terminate_hook_abandon="retain"
                )
            ),
            tags=_group_tags({"Name": name, "cluster": args.cluster, "role": WORKER}),
            opts=self._group_options(self._before, "desiredCapacity"),
        )
        hooks.keep(name, group, waits, self._child())
        aws.autoscaling.Policy(
            f"{name}-busy",
            autoscaling_group_name=group.name,
            policy_type="TargetTrackingScaling",
            target_tracking_configuration=aws.autoscaling.PolicyTargetTrackingConfigurationArgs(
                predefined_metric_specification=_CPU, target_value=settings.worker_cpu_percent
            ),
            opts=self._child(),
        )
        return group

    def _template(
        self,
        name: str,
        kind: str,
        instance_type: str,
        *,
        tags: Mapping[str, str],
        told: Mapping[str, str],
        interface_id: pulumi.Input[str] | None = None,
        data_gb: int | None = None,
    ) -> aws.ec2.LaunchTemplate:
        args = self._args
        return launch_template(
            name,
            TemplateArgs(
                kind=kind,
                instance_type=instance_type,
                user_data=self._boot.user_data(kind, **{"node": "", "hook": "", "group": "", **told}),
                profile_arn=self._nodes.profile_arns[kind],
                group_ids=self._groups,
                interface_id=interface_id,
                key_arn=args.key_arn,
                root_gb=args.settings.root_gb,
                data_gb=data_gb,
                tags={**args.tags, "Name": name, "cluster": args.cluster, **tags},
            ),
            opts=self._child(),
        )

    def _group_options(self, depends_on: Sequence[pulumi.Resource], *others: str) -> pulumi.ResourceOptions:
        """Hooks inside a group act at its creation only: a change of them is made to the hooks beside it."""
        return pulumi.ResourceOptions.merge(
            self._child(depends_on=depends_on),
            pulumi.ResourceOptions(ignore_changes=["initialLifecycleHooks", *others]),
        )


def seed_group(cluster: str, node: str) -> str:
    """The name of a seed's group."""
    return f"{cluster}-{node}"


def _group_tags(tags: Mapping[str, str]) -> list[aws.autoscaling.GroupTagArgs]:
    """Machines get theirs from the template."""
    return [
        aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=False) for key, value in tags.items()
    ]
