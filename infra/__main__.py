"""The platform of one environment: settings -> components -> exports. Read it as the architecture diagram."""

from datetime import UTC, datetime
from pathlib import Path

import pulumi

from artifacts.runtime import LINUX
from infra import alarms, environment, exits, flows, settings, simulators, waivers
from infra.archive import Archive, ArchiveArgs
from infra.budget import Budget, BudgetArgs
from infra.cluster import CLUSTER, Cluster, ClusterArgs
from infra.environment import Environment
from infra.errors import InfraError
from infra.filesystem import Filesystem, FilesystemArgs
from infra.fleet_alarms import of_fleet
from infra.functions import Function, FunctionArgs
from infra.guardrails import Guardrails
from infra.ingress import Ingress, IngressArgs
from infra.monitoring import Monitoring, MonitoringArgs
from infra.network import Network, NetworkArgs
from infra.nodes import Entrance
from infra.packaging import package
from infra.sections import GATEWAY_PORT, MANAGEMENT_PORTS, NEEDED_INSIDE, ZONES
from infra.simulators import Simulators, SimulatorsArgs
from infra.streaming import Streaming, StreamingArgs
from services.contract import (
    ARCHIVE_PREFIX,
    CANARY_TOPIC,
    CONSUMER_GROUP,
    DEAD_LETTER_PREFIX,
    RUN_GROUP,
    TELEMETRY_TOPIC,
)


def declare(here: Environment) -> dict[str, pulumi.Input]:
    """Declares the whole platform and returns what people and tools need to know of it."""
    chosen, keep = here.settings, here.settings.operations

    network = Network(
        "network",
        NetworkArgs(
            region=here.region,
            account=here.account,
            cidr=chosen.network.cidr,
            zones=chosen.network.zones,
            nat=chosen.network.nat,
            interface_endpoints=chosen.network.interface_endpoints,
            log_retention_days=keep.log_retention_days,
        ),
        opts=here.options,
    )

    ingress = Ingress(
        "ingress",
        IngressArgs(
            settings=chosen.ingress,
            vpc_id=network.vpc_id,
            vpc_cidr=chosen.network.cidr,
            public_subnet_ids=network.public_subnet_ids,
            private_subnet_ids=network.private_subnet_ids,
            after=[network],
            protect=keep.protect_data,
        ),
        opts=here.options,
    )

    streaming = Streaming(
        "streaming",
        StreamingArgs(
            settings=chosen.streaming,
            topics={
                TELEMETRY_TOPIC: chosen.streaming.partitions.telemetry,
                CANARY_TOPIC: chosen.streaming.partitions.canary,
            },
            account=here.account,
            vpc_id=network.vpc_id,
            subnet_ids=network.private_subnet_ids[:ZONES],
            endpoint_group_id=network.endpoint_group_id,
            s3_prefix_list_id=network.s3_prefix_list_id,
            log_retention_days=keep.log_retention_days,
            key_alias=here.name("streaming"),
            key_deletion_days=keep.key_deletion_days,
            protect=keep.protect_data,
        ),
        opts=here.options,
    )

    gate_handler = "services.ingestion.archive_gate.handler.handle"
    archive_gate = Function(
        "archive-gate",
        FunctionArgs(
            function_name=here.name("archive-gate"),
            description="Checks each message on its way into the archive",
            artifact=package("archive-gate", gate_handler, "function-archive-gate"),
            handler=gate_handler,
            memory_mb=chosen.functions.archive_gate.memory_mb,
            timeout_seconds=chosen.functions.archive_gate.timeout_seconds,
            reserved_concurrency=chosen.functions.archive_gate.reserved_concurrency,
            log_retention_days=keep.log_retention_days,
        ),
        opts=here.options,
    )

    telemetry = streaming.topics[TELEMETRY_TOPIC]
    archive = Archive(
        "archive",
        ArchiveArgs(
            settings=chosen.archive,
            cluster_arn=streaming.cluster_arn,
            topic_name=telemetry.name,
            topic_arn=telemetry.arn,
            gate_arn=archive_gate.arn,
            delivery_policy=streaming.delivery_policy,
            region=here.region,
            log_retention_days=keep.log_retention_days,
            key_alias=here.name("archive"),
            key_deletion_days=keep.key_deletion_days,
            disposable=keep.disposable,
            protect=keep.protect_data,
        ),
        opts=here.options,
    )

    cluster = Cluster(
        "cluster",
        ClusterArgs(
            settings=chosen.fleet,
            operations=keep,
            names=here.name,
            tags=environment.tags(here.stack, chosen),
            region=here.region,
            account=here.account,
            vpc_id=network.vpc_id,
            subnet_ids=dict(zip(chosen.network.zones, network.private_subnet_ids, strict=True)),
            endpoint_group_id=network.endpoint_group_id,
            s3_prefix_list_id=network.s3_prefix_list_id,
            apis_inside=set(NEEDED_INSIDE) <= set(chosen.network.interface_endpoints),
            client_group_ids=[streaming.client_group_id],
            worker_statements=streaming.reading(CONSUMER_GROUP, TELEMETRY_TOPIC),
            entrances=[
                Entrance(
                    label="traffic",
                    group_id=ingress.traffic_group_id,
                    ports=sorted({each.target_port for each in chosen.ingress.traffic}),
                ),
                Entrance(label="management", group_id=ingress.management_group_id, ports=MANAGEMENT_PORTS),
                *(
                    [Entrance(label="public", group_id=ingress.public_group_id, ports=[GATEWAY_PORT])]
                    if ingress.public_group_id is not None
                    else []
                ),
            ],
            seed_target_group_arns=ingress.management_target_group_arns,
            worker_target_group_arns=ingress.traffic_target_group_arns,
            management_group_id=ingress.management_group_id,
            management_address=ingress.management_dns_name,
        ),
        opts=here.options,
    )

    filesystem = Filesystem(
        "filesystem",
        FilesystemArgs(
            settings=chosen.filesystem,
            vpc_id=network.vpc_id,
            subnet_ids=dict(zip(chosen.network.zones, network.private_subnet_ids, strict=True)),
            key_alias=here.name("filesystem"),
            key_deletion_days=keep.key_deletion_days,
            protect=keep.protect_data,
        ),
        opts=here.options,
    )

    hosts = None
    if chosen.simulators is not None:
        hosts = Simulators(
            "simulators",
            SimulatorsArgs(
                settings=chosen.simulators,
                group_name=here.name(simulators.GROUP),
                tags=environment.tags(here.stack, chosen),
                artifact=package(
                    "simulator", simulators.HANDLER, "simulator-host", by_name=simulators.BY_NAME, runtime=LINUX
                ),
                region=here.region,
                account=here.account,
                vpc_id=network.vpc_id,
                subnet_ids=network.private_subnet_ids,
                endpoint_group_id=network.endpoint_group_id,
                s3_prefix_list_id=network.s3_prefix_list_id,
                client_group_ids=[streaming.client_group_id, filesystem.client_group_id],
                kafka_statements=[
                    *streaming.reading(f"{RUN_GROUP}*", TELEMETRY_TOPIC, CANARY_TOPIC),
                    *streaming.writing(TELEMETRY_TOPIC, CANARY_TOPIC),
                ],
                file_system_id=filesystem.file_system_id,
                access_point_arn=filesystem.access_point_arn,
                mount_targets=filesystem.mount_targets,
                key_alias=here.name(simulators.GROUP),
                key_deletion_days=keep.key_deletion_days,
                disposable=keep.disposable,
                protect=keep.protect_data,
            ),
            opts=here.options,
        )

    if keep.monthly_budget_usd is not None and keep.budget_email is not None:
        Budget(
            "budget",
            BudgetArgs(monthly_usd=keep.monthly_budget_usd, email=keep.budget_email, environment=here.stack),
            opts=here.options,
        )

    functions = {"archive-gate": archive_gate, **cluster.functions}
    watch = chosen.monitoring
    monitoring = Monitoring(
        "monitoring",
        MonitoringArgs(
            settings=watch,
            alarms=[
                *alarms.of_brokers(streaming.cluster_arn.apply(lambda arn: arn.split("/")[1]), watch),
                *alarms.of_delivery(archive.stream_name, watch),
                *(
                    alarm
                    for role, function in functions.items()
                    for alarm in alarms.of_function(
                        role,
                        function.function_name,
                        function.dead_letter_arn.apply(lambda arn: arn.rpartition(":")[2]),
                        watch,
                    )
                ),
                *of_fleet(
                    here.name(CLUSTER), cluster.scale_in.dead_letters_name, cluster.snapshots.policy_id, chosen.fleet
                ),
            ],
            region=here.region,
            account=here.account,
            dashboard_name=here.name("overview"),
            key_alias=here.name("alarms"),
            key_deletion_days=keep.key_deletion_days,
        ),
        opts=here.options,
    )

    return {
        "region": here.region,
        "account": here.account,
        "vpc_id": network.vpc_id,
        "private_subnet_ids": network.private_subnet_ids,
        "traffic_address": ingress.traffic_dns_name,
        "management_address": ingress.management_dns_name,
        "kafka_cluster_arn": streaming.cluster_arn,
        "topics": {name: topic.name for name, topic in streaming.topics.items()},
        "archive_bucket": archive.bucket_name,
        "archive_prefix": ARCHIVE_PREFIX,
        "archive_error_prefix": DEAD_LETTER_PREFIX,
        "delivery_stream": archive.stream_name,
        "fleet": {
            **cluster.facts,
            "management_address": ingress.management_dns_name,
            "public_address": ingress.public_dns_name,
        },
        "file_system": filesystem.file_system_id,
        "simulators": None if hosts is None else hosts.facts,
        "alarm_topic": monitoring.topic_arn,
        "dashboard": monitoring.dashboard_name,
        "functions": {role: function.arn for role, function in functions.items()},
        "flows": flows.declared(chosen),
    }


def main() -> None:
    """The program, as Pulumi runs it: mistakes are shown without a traceback."""
    exits.end_quietly_on_interrupt()
    try:
        chosen, region = settings.load(pulumi.runtime.get_config_env())
        exceptions = waivers.load(Path(__file__).with_name("waivers.yaml"))
    except (settings.SettingsError, waivers.WaiverError) as error:
        exits.refuse(error.problems)
    guardrails = Guardrails(exceptions, datetime.now(UTC).date())
    guardrails.install()
    try:
        outputs = declare(environment.enter(chosen, region))
    except InfraError as error:
        raise pulumi.RunError(str(error)) from error
    guardrails.close()
    for name, value in outputs.items():
        pulumi.export(name, value)


if __name__ == "__main__":
    main()
