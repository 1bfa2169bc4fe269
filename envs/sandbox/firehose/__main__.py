"""Entry of a delivery stream's process: ``python -m envs.sandbox.firehose --state-dir DIR --stream NAME``."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import KafkaException

from envs.errors import FleetstreamError
from envs.sandbox import account
from envs.sandbox.aws.sts_client import service_session
from envs.sandbox.firehose import rights
from envs.sandbox.firehose.delivery import Delivery
from envs.sandbox.firehose.destination import Destination
from envs.sandbox.firehose.errors import StreamError, StreamGoneError
from envs.sandbox.firehose.reporting import Reporter
from envs.sandbox.firehose.settings import Settings, from_description
from envs.sandbox.firehose.source import Source
from envs.sandbox.firehose.transform import LambdaTransformation, pass_through
from services import kafka
from services.errors import ServiceError
from services.priority import step_back

log = logging.getLogger("firehose")

_PRINCIPAL: Final = "firehose.amazonaws.com"
_LOOK_AGAIN_S: Final = 10.0
_QUICK: Final = Config(connect_timeout=3, read_timeout=60, retries={"total_max_attempts": 2, "mode": "standard"})
# Firehose waits up to five minutes for a function, and counts the attempts itself.
_PATIENT: Final = Config(connect_timeout=3, read_timeout=300, retries={"total_max_attempts": 1, "mode": "standard"})


def main(argv: list[str] | None = None) -> int:
    """Delivers until SIGTERM. Exit code 0 when everything read was delivered, 1 with one line on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m envs.sandbox.firehose", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's directory, with account.json")
    parser.add_argument("--stream", required=True, help="the delivery stream's name")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3", "urllib3", "aws_msk_iam_sasl_signer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # On AWS this work is done on other machines: here it steps back behind whatever is being measured.
    step_back()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        os.environ.update(account.environment(arguments.state_dir))
        execute(arguments.stream, stop)
    except (FleetstreamError, ServiceError, KafkaException, ClientError, BotoCoreError) as error:
        print(f"error: delivery stream {arguments.stream}: {error}", file=sys.stderr)
        return 1
    return 0


def execute(stream: str, stop: threading.Event) -> None:
    """Executes the stream, with new settings whenever it was updated, until `stop` is set."""
    firehose = boto3.client("firehose", config=_QUICK)
    while not stop.is_set():
        settings = describe(firehose, stream)
        log.info("version %s of %s: %s -> s3://%s", settings.version, stream, settings.topic, settings.bucket)
        deliver(settings, firehose, stop)


def describe(firehose: Any, stream: str) -> Settings:
    """The stream's settings as they are deployed now. Raises `StreamGoneError` when there is no such stream."""
    try:
        answer = firehose.describe_delivery_stream(DeliveryStreamName=stream)
    except firehose.exceptions.ResourceNotFoundException as error:
        raise StreamGoneError(f"delivery stream {stream} does not exist") from error
    return from_description(answer["DeliveryStreamDescription"])


def deliver(settings: Settings, firehose: Any, stop: threading.Event) -> None:
    """Executes one version of the stream, until `stop` is set or there is a newer version."""
    session = cache(lambda role: service_session(role, _PRINCIPAL))
    give_up = threading.Event()

    def pause(seconds: float) -> None:
        give_up.wait(seconds)

    role, reader = session(settings.role_arn), session(settings.source_role_arn)
    rights.check_destination(settings, role, _QUICK)
    rights.check_source(settings, reader, _PRINCIPAL, _QUICK)
    reporter = Reporter(settings, boto3.client("cloudwatch", config=_QUICK), role.client("logs", config=_QUICK))
    destination = Destination(settings, role.client("s3", config=_QUICK), reporter, give_up)
    transform = pass_through
    if settings.transformation is not None:
        invoker = session(settings.transformation.role_arn)
        rights.check_transformation(settings.transformation.function_arn, invoker, _QUICK)
        transform = LambdaTransformation(
            settings,
            settings.transformation,
            invoker.client("lambda", config=_PATIENT),
            cancelled=give_up.is_set,
            verify=lambda: describe(firehose, settings.name),
            report=reporter.error,
            sleep=pause,
        )
    config = kafka.client_config(
        kafka.bootstrap_servers(settings.cluster_arn, reader), settings.region, session=reader
    )
    source = Source(settings, config)
    changed = _watch(firehose, settings)
    try:
        Delivery(settings, source, transform, destination, reporter, stop, give_up, changed).run()
    finally:
        source.close()


def _watch(firehose: Any, settings: Settings) -> Callable[[], bool]:
    """Tells, looking every few seconds, whether the stream has a newer version or is being deleted."""
    looked = time.monotonic()

    def changed() -> bool:
        nonlocal looked
        if time.monotonic() - looked < _LOOK_AGAIN_S:
            return False
        looked = time.monotonic()
        # Whatever cannot be asked now is asked again; what the stream needs shows its own errors.
        with contextlib.suppress(ClientError, BotoCoreError, StreamError):
            return describe(firehose, settings.name).version != settings.version
        return False

    return changed


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stderr.flush()
    # Not sys.exit: that would wait for an invocation whose outcome is no longer wanted.
    os._exit(code)
