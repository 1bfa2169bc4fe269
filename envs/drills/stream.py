"""Messages that flow while a drill goes on, each of them accounted for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from envs import measurement
from envs.drills.field import Field
from envs.errors import FleetstreamError
from envs.measurement import Measured
from envs.progress import step
from services.clock import Clock
from services.consumer.measure import Consume, ConsumeSpec
from services.errors import ServiceError
from services.kafka import bootstrap_servers, end_offsets
from services.simulator.load import Load, LoadSpec
from services.simulator.result import LoadProgress, LoadResult
from services.simulator.source import GeneratedSource

_DEVICES: Final = 20
_START_S: Final = 120.0


class _Sending:
    """A load in a thread of its own, until it is told to end."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._flows = threading.Event()
        self._result: LoadResult | None = None
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="drill-load", daemon=True)

    def start(self) -> None:
        """Returns when messages flow."""
        self._thread.start()
        if not self._flows.wait(_START_S) or self._failed is not None:
            raise FleetstreamError(f"the load did not begin: {self._failed or f'not within {_START_S:.0f} s'}")

    def stop(self) -> LoadResult | None:
        """Ends it; what became of each message."""
        self._load.stop()
        self._thread.join()
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._load.run(self._heard)
        except (ServiceError, OSError) as error:
            self._failed = error
        finally:
            self._flows.set()

    def _heard(self, progress: LoadProgress) -> None:
        if progress.phase == "load" and progress.acked:
            self._flows.set()


@contextmanager
def streaming(field: Field) -> Iterator[None]:
    """Sends messages on the canary topic and reads them while the block runs, and judges what became of each."""
    if not field.settings.rate:
        field.notes.append("no messages were sent: --rate 0")
        yield
        return
    measured, clock = Measured(), Clock.anchored()
    spec = _spec(field)
    reading = ConsumeSpec(
        connection=spec.connection, topic=spec.topic, group=f"fleetstream-drill-{spec.run_id}", run_id=spec.run_id
    )
    folder = field.folder / "load"
    with Consume(reading, folder, clock) as consume:
        sending = _Sending(Load(spec, folder, clock))
        with step(f"messages, {field.settings.rate:g} a second") as progress:
            consume.start()
            consume.ready()
            sending.start()
            progress.update("flow")
        field.act(f"{field.settings.rate:g} messages/s flow")
        try:
            yield
        finally:
            measured.load = sending.stop()
        with step("messages: to the end of the topic") as progress:
            measured.consumed = consume.finish()
            progress.update(f"{measured.consumed.consumed:,}")
    _judge(field, measured)


def _spec(field: Field) -> LoadSpec:
    outputs = field.outputs
    bootstrap = bootstrap_servers(outputs["kafka_cluster_arn"], field.environment.session())
    connection = measurement.connection(bootstrap, outputs["region"])
    _, canary = measurement.topics(outputs)
    return LoadSpec(
        connection=connection,
        topic=canary,
        warmup_topic=canary,
        run_id=f"drill{field.started:%H%M%S}",
        source=GeneratedSource(devices=_DEVICES),
        # As long as it could ever be needed: it is told to end.
        seconds=2 * field.settings.limit_s,
        rate=field.settings.rate,
        processes=1,
        partitions=len(end_offsets(connection.settings(), canary)),
        warmup_seconds=0,
    )


def _judge(field: Field, measured: Measured) -> None:
    found = measured.account()
    if found is None or found.consumed is None:
        field.require(False, "the messages could not be counted: see the logs in the folder load")
        return
    field.act(f"{found.attempted:,} messages were sent, {found.acked:,} acknowledged, {found.consumed:,} consumed")
    counts = {name: getattr(found, name) for name in ("attempted", "acked", "rejected", "unknown", "consumed")}
    field.figures["messages"] = counts | {"duplicates": found.duplicates, "lost": found.attempted - found.consumed}
    for problem in found.check():
        field.require(False, problem)
    field.require(found.attempted > 0, "no message was sent")
    field.require(
        found.attempted == found.acked == found.consumed,
        f"messages are missing: {found.attempted:,} attempted, {found.acked:,} acknowledged, "
        f"{found.consumed:,} consumed",
    )
