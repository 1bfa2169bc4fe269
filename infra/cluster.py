"""The Service Fabric cluster as a whole: what it keeps secret, who answers for its machines, and the machines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from infra import launches
from infra.boot import CONFIGURATION_KEY
from infra.credentials import Credentials, CredentialsArgs
from infra.file_server import FileServer, FileServerArgs
from infra.fleet import ADDRESS_HOOK, SEED_HOOK, Fleet, FleetArgs, seed_group
from infra.functions import Function
from infra.inside import InsideArgs
from infra.launches import Launches, LaunchesArgs
from infra.nodes import SEED, Entrance
from infra.packaging import package
from infra.policies import Statement
from infra.scale_in import HANDLER as SCALE_IN_HANDLER
from infra.scale_in import ScaleIn, ScaleInArgs
from infra.sections import Fleet as FleetSettings
from infra.sections import Operations
from infra.snapshots import Snapshots, SnapshotsArgs

CLUSTER: Final = "fleet"
"""Its role in fixed names: the tag `cluster`, and the namespace of its metrics."""


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """Where it stands, who reaches it, and how things are kept."""

    settings: FleetSettings
    operations: Operations
    names: Callable[[str], str]
    """Fixed names by their role: groups, functions and key must be known before they exist."""
    tags: Mapping[str, str]
    region: str
    account: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Mapping[str, pulumi.Input[str]]
    """A private subnet of each zone."""
    endpoint_group_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    apis_inside: bool
    """Whether every API that the functions call has an endpoint inside, so that they need no NAT."""
    client_group_ids: Sequence[pulumi.Input[str]]
    worker_statements: Sequence[Statement]
    """What the services on workers may do."""
    entrances: Sequence[Entrance]
    seed_target_group_arns: Sequence[pulumi.Input[str]]
    worker_target_group_arns: Sequence[pulumi.Input[str]]
    management_group_id: pulumi.Input[str]
    management_address: pulumi.Input[str]


class Cluster(pulumi.ComponentResource):
    """Secrets -> functions that answer for machines -> machines -> snapshots of their disks."""

    scale_in: ScaleIn
    snapshots: Snapshots
    functions: dict[str, Function]
    facts: dict[str, Any]
    """What commands need to know to form the cluster and to keep it."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:cluster:Cluster", name, None, opts)
        self._args = args
        self._cluster = args.names(CLUSTER)
        self._workers = args.names("workers")
        self._credentials = Credentials(
            "credentials",
            CredentialsArgs(
                key_alias=self._cluster,
                key_deletion_days=args.operations.key_deletion_days,
                secret_recovery_days=args.operations.secret_recovery_days,
                protect=args.operations.protect_data,
            ),
            opts=self._child(),
        )
        self.scale_in = self._scale_in()
        launchers = {"seed-launch": self._seed_launch()}
        if args.settings.second_address:
            launchers["second-address"] = self._second_address()
        file_server = self._file_server()
        fleet = self._fleet(file_server, after=[self.scale_in, *launchers.values()])
        self.snapshots = Snapshots(
            "snapshots",
            SnapshotsArgs(
                settings=args.settings.snapshots,
                cluster=self._cluster,
                region=args.region,
                account=args.account,
            ),
            opts=self._child(),
        )
        self.functions = {
            "scale-in": self.scale_in.function,
            **{role: launcher.function for role, launcher in launchers.items()},
        }
        self.facts = self._facts(fleet, file_server)
        self.register_outputs({})

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _place(self, description: str) -> InsideArgs:
        args = self._args
        return InsideArgs(
            description=description,
            region=args.region,
            account=args.account,
            vpc_id=args.vpc_id,
            subnet_ids=list(args.subnet_ids.values()),
            endpoint_group_id=args.endpoint_group_id,
            s3_prefix_list_id=args.s3_prefix_list_id,
            internet=not args.apis_inside,
        )

    def _scale_in(self) -> ScaleIn:
        args = self._args
        return ScaleIn(
            "scale-in",
            ScaleInArgs(
                settings=args.settings.scale_in,
                cluster=self._cluster,
                worker_group=self._workers,
                function_name=args.names("scale-in"),
                artifact=package("scale-in", SCALE_IN_HANDLER, "function-scale-in"),
                place=self._place("The function that removes workers"),
                management_group_id=args.management_group_id,
                management_address=args.management_address,
                client_secret_arn=self._credentials.client_certificate_arn,
                key_arn=self._credentials.key_arn,
                log_retention_days=args.operations.log_retention_days,
            ),
            opts=self._child(),
        )

    def _seed_launch(self) -> Launches:
        args, key_arn = self._args, self._credentials.key_arn
        return Launches(
            "seed-launch",
            LaunchesArgs(
                cluster=self._cluster,
                groups=[seed_group(self._cluster, f"{SEED}-{number}") for number in range(args.settings.seeds)],
                hook=SEED_HOOK,
                function_name=args.names("seed-launch"),
                description="Gives a seed that starts its data disk",
                artifact=package("seed-launch", launches.SEED_LAUNCH_HANDLER, "function-seed-launch"),
                handler=launches.SEED_LAUNCH_HANDLER,
                service="seed-launch",
                environment={"FLEETSTREAM_KEY_ARN": key_arn},
                statements=launches.seed_rights(self._cluster, args.region, args.account, key_arn),
                place=self._place("The function that gives seeds their disks"),
                log_retention_days=args.operations.log_retention_days,
            ),
            opts=self._child(),
        )

    def _second_address(self) -> Launches:
        args = self._args
        return Launches(
            "second-address",
            LaunchesArgs(
                cluster=self._cluster,
                groups=[self._workers],
                hook=ADDRESS_HOOK,
                function_name=args.names("second-address"),
                description="Gives a worker that starts its second interface",
                artifact=package("second-address", launches.SECOND_ADDRESS_HANDLER, "function-second-address"),
                handler=launches.SECOND_ADDRESS_HANDLER,
                service="second-address",
                environment={},
                statements=launches.address_rights(self._cluster, args.region, args.account),
                place=self._place("The function that gives workers second interfaces"),
                log_retention_days=args.operations.log_retention_days,
            ),
            opts=self._child(),
        )

    def _file_server(self) -> FileServer | None:
        args = self._args
        if args.settings.file_server.directory_id is None:
            return None
        return FileServer(
            "file-server",
            FileServerArgs(
                settings=args.settings.file_server,
                vpc_id=args.vpc_id,
                subnet_ids=list(args.subnet_ids.values()),
                key_arn=self._credentials.key_arn,
                protect=args.operations.protect_data,
            ),
            opts=self._child(),
        )

    def _fleet(self, file_server: FileServer | None, after: Sequence[pulumi.Resource]) -> Fleet:
        args = self._args
        shares = [] if file_server is None else [file_server.client_group_id]
        return Fleet(
            "fleet",
            FleetArgs(
                settings=args.settings,
                cluster=self._cluster,
                worker_group=self._workers,
                tags=args.tags,
                region=args.region,
                account=args.account,
                vpc_id=args.vpc_id,
                subnet_ids=args.subnet_ids,
                endpoint_group_id=args.endpoint_group_id,
                s3_prefix_list_id=args.s3_prefix_list_id,
                client_group_ids=[*args.client_group_ids, *shares],
                worker_statements=args.worker_statements,
                entrances=args.entrances,
                seed_target_group_arns=args.seed_target_group_arns,
                worker_target_group_arns=args.worker_target_group_arns,
                key_arn=self._credentials.key_arn,
                administrator_arn=self._credentials.administrator_arn,
                certificate_arn=self._credentials.node_certificate_arn,
                after=after,
                disposable=args.operations.disposable,
                protect=args.operations.protect_data,
            ),
            opts=self._child(),
        )

    def _facts(self, fleet: Fleet, file_server: FileServer | None) -> dict[str, Any]:
        settings = self._args.settings
        return {
            "cluster": self._cluster,
            "seeds": {
                node: {"address": seed.address, "zone": seed.zone, "group": seed.group_name}
                for node, seed in fleet.seeds.items()
            },
            "worker_group": fleet.worker_group_name,
            "workers_max": settings.workers_max,
            "service_fabric_version": settings.service_fabric_version,
            "configuration_bucket": fleet.bucket_name,
            "configuration_key": CONFIGURATION_KEY,
            "administrator_secret": self._credentials.administrator_arn,
            "node_certificate_secret": self._credentials.node_certificate_arn,
            "client_certificate_secret": self._credentials.client_certificate_arn,
            "scale_in_queue": self.scale_in.queue_url,
            "scale_in_dead_letters": self.scale_in.dead_letters_url,
            "diagnostics_share": None if file_server is None else file_server.share,
        }
