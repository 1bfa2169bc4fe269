"""The platform of one environment: settings -> components -> exports. Read it as the architecture diagram."""

from datetime import UTC, datetime
from pathlib import Path

import pulumi

from infra import environment, exits, settings, waivers
from infra.archive import Archive, ArchiveArgs
from infra.environment import Environment
from infra.errors import InfraError
from infra.functions import Function, FunctionArgs
from infra.guardrails import Guardrails
from infra.network import Network, NetworkArgs
from infra.packaging import package
from infra.sections import ZONES
from infra.streaming import Streaming, StreamingArgs
from services.contract import ARCHIVE_PREFIX, CANARY_TOPIC, DEAD_LETTER_PREFIX, TELEMETRY_TOPIC


def declare(here: Environment) -> dict[str, pulumi.Input]:
    """Declares the whole platform and returns what people and tools need to know of it."""
    chosen, keep = here.settings, here.settings.operations

    network = Network(
        "network",
        NetworkArgs(
            region=here.region,
            cidr=chosen.network.cidr,
            zones=chosen.network.zones,
            interface_endpoints=chosen.network.interface_endpoints,
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

    return {
        "region": here.region,
        "account": here.account,
        "vpc_id": network.vpc_id,
        "private_subnet_ids": network.private_subnet_ids,
        "kafka_cluster_arn": streaming.cluster_arn,
        "topics": {name: topic.name for name, topic in streaming.topics.items()},
        "archive_bucket": archive.bucket_name,
        "archive_prefix": ARCHIVE_PREFIX,
        "archive_error_prefix": DEAD_LETTER_PREFIX,
        "delivery_stream": archive.stream_name,
        "functions": {"archive-gate": archive_gate.arn},
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
