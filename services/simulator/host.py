"""What runs on one of several hosts: its part of a load, from a task in S3 to a report in S3.

``python -m services.simulator.host s3://BUCKET/simulations/RUN`` as the instance that ``AWS_SSM_INSTANCE_ID`` names,
which the SSM agent sets for the commands that it runs (amazon-ssm-agent, agent/executers/executers.go).
"""

import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from services import chrony
from services.clock import Clock
from services.consumer.measure import Consume, ConsumeResult
from services.errors import ServiceError
from services.kafka import end_offsets
from services.simulator.hosts import (
    AGREE_S,
    PROGRESS,
    READY,
    REPORT,
    START,
    STOP,
    TASK,
    HostProgress,
    HostReport,
    HostTask,
    Measured,
    ranges,
)
from services.simulator.load import Load, LoadSpec
from services.simulator.result import LoadProgress, LoadResult
from services.simulator.source import ReplaySource

SHARED: Final = "FLEETSTREAM_SHARED"
"""Names the folder that all hosts share, where they have one."""
INSTANCE: Final = "AWS_SSM_INSTANCE_ID"
_PLACE: Final = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<prefix>.+?)/?")
_EVERY_S: Final = 2.0
_LOOK_S: Final = 0.25
_PEERS_S: Final = 60.0
"""How long after its own load's end the measuring host waits for the others to end theirs."""
_ABSENT: Final = ("404", "NoSuchKey")


class Place:
    """The run's folder in the simulators' bucket, as one host sees it. `instance` is the host's own folder in it."""

    def __init__(self, s3: Any, url: str, instance: str) -> None:
        found = _PLACE.fullmatch(url)
        if found is None:
            raise ServiceError(f"{url} is no place for a run: give s3://BUCKET/PREFIX")
        self._s3 = s3
        self._bucket, self.prefix = found["bucket"], found["prefix"]
        self.instance = instance

    def read(self, name: str) -> bytes:
        """An object of this host. Raises `ServiceError`."""
        return self.read_shared(f"{self.instance}/{name}")

    def read_shared(self, name: str) -> bytes:
        """An object of the run, named from its folder on. Raises `ServiceError`."""
        key = f"{self.prefix}/{name}"
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"s3://{self._bucket}/{key}: {error}") from error

    def write(self, name: str, content: str) -> None:
        """Writes an object of this host. Raises `ServiceError`."""
        key = f"{self.prefix}/{self.instance}/{name}"
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content.encode(), ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"s3://{self._bucket}/{key}: {error}") from error

    def has(self, name: str) -> bool:
        """Whether the run has this object, named from its folder on. Raises `ServiceError`."""
        try:
            self._s3.head_object(Bucket=self._bucket, Key=f"{self.prefix}/{name}")
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                return False
            raise ServiceError(f"s3://{self._bucket}/{self.prefix}/{name}: {error}") from error
        except BotoCoreError as error:
            raise ServiceError(f"s3://{self._bucket}/{self.prefix}/{name}: {error}") from error
        return True

    def fetch(self, paths: Iterable[Path], folder: Path) -> tuple[Path, ...]:
        """Copies objects of the bucket, named by their keys, to a folder that may be shared: what is there already is
        taken as it is, and nothing is there before it is whole. Raises `ServiceError`."""
        copied = []
        for path in paths:
            target = folder / path.name
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    part = folder / f".{self.instance}-{path.name}"
                    self._s3.download_file(self._bucket, str(path), str(part))
                    part.replace(target)
            except (ClientError, BotoCoreError) as error:
                raise ServiceError(f"s3://{self._bucket}/{path}: {error}") from error
            except OSError as error:
                raise ServiceError(f"{target} cannot be written: {error.strerror}") from error
            copied.append(target)
        return tuple(copied)

    @property
    def shared(self) -> Path | None:
        """The run's folder on the file system that all hosts share, where they have one."""
        root = os.environ.get(SHARED)
        return Path(root) / self.prefix if root else None


class _Word:
    """Tells the run how far this host is, and hears when it shall end; in a thread, S3 takes its time."""

    def __init__(self, place: Place, load: Load) -> None:
        self._place = place
        self._load = load
        self._latest = HostProgress(phase="connect")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="word", daemon=True)

    def __enter__(self) -> "_Word":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_EVERY_S)

    def hear(self, progress: LoadProgress) -> None:
        """The load's progress."""
        counts = {name: getattr(progress, name) for name in ("attempted", "acked", "rejected", "unknown", "rate")}
        self._latest = HostProgress(phase=progress.phase, **counts)

    def _run(self) -> None:
        while True:
            try:
                self._place.write(PROGRESS, self._latest.model_dump_json())
                if self._place.has(STOP):
                    self._load.stop()
            except ServiceError as error:
                # The load goes on: what it did is told in its report.
                print(f"no word to the run: {error}", file=sys.stderr, flush=True)
            if self._over.wait(_EVERY_S):
                return


def run(place: Place) -> HostReport:
    """Does this host's part and returns its report. Raises `ServiceError` when it could not begin."""
    try:
        task = HostTask.model_validate_json(place.read(TASK))
    except ValidationError as error:
        raise ServiceError(f"the task of {place.instance} cannot be read: {error}") from error
    clock_check = chrony.check()
    with tempfile.TemporaryDirectory(prefix="fleetstream-load-") as scratch:
        folder = Path(scratch)
        # Anchored after the check: what chrony said of the wall clock holds for this one.
        clock = Clock.anchored()
        spec = _local(task.load, place, folder)
        load = Load(spec, folder / "load", clock)
        with ExitStack() as consuming:
            consume = None
            if task.measure is not None:
                consume = consuming.enter_context(Consume(task.measure, folder / "load", clock))
                consume.start()
                consume.ready()
            with _Word(place, load) as word:
                result = load.run(word.hear, agree=lambda: _agreed(place, load))
            measured = None
            if consume is not None:
                _wait_for(place, task.peers)
                measured = _measured(consume.finish())
        _share(place, folder / "load")
        return _report(result, clock_check, clock.drift_us(), measured)


def _agreed(place: Place, load: Load) -> int:
    """Says that this host is ready, and waits for the start that all are given; 0 when it is told to end instead.

    Raises `ServiceError` when no start comes.
    """
    place.write(READY, "")
    deadline = time.monotonic() + AGREE_S
    while not load.stopping:
        if place.has(START):
            return int(place.read_shared(START))
        if time.monotonic() > deadline:
            raise ServiceError(f"no start was given within {AGREE_S:g} s: are the other hosts not ready?")
        time.sleep(_LOOK_S)
    return 0


def _local(spec: LoadSpec, place: Place, folder: Path) -> LoadSpec:
    """The load with what only the host can say: the topic's partitions, and where its recordings are."""
    changes: dict[str, Any] = {"partitions": len(end_offsets(spec.connection.settings(), spec.topic))}
    if isinstance(spec.source, ReplaySource):
        # With the raw results of the run, for whoever looks at them later.
        recordings = place.shared / "recordings" if place.shared is not None else folder
        changes["source"] = spec.source.model_copy(update={"paths": place.fetch(spec.source.paths, recordings)})
    return spec.model_copy(update=changes)


def _share(place: Place, raw: Path) -> None:
    """Puts the journals and logs behind a report where all hosts see them, in the run's folder."""
    if place.shared is not None:
        target = place.shared / place.instance
        try:
            shutil.copytree(raw, target, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            # What is reported is right without them.
            print(f"raw results are not in {target}: {error}", file=sys.stderr)


def _wait_for(place: Place, peers: Iterable[str]) -> None:
    """Until the other hosts have sent everything; one that has died is not waited for longer than the others may
    take."""
    deadline = time.monotonic() + _PEERS_S
    waiting = set(peers)
    while waiting and time.monotonic() < deadline:
        waiting = {peer for peer in waiting if not place.has(f"{peer}/{REPORT}")}
        if waiting:
            time.sleep(0.5)


def _measured(found: ConsumeResult) -> Measured:
    return Measured(
        received=ranges(found.received),
        duplicates=found.duplicates,
        unreadable=found.unreadable,
        drained=found.drained,
        legs={leg: made.encode() for leg, made in {**found.legs, "end_to_end": found.end_to_end}.items()},
        negative=found.negative,
    )


def _report(
    result: LoadResult, clock: chrony.ClockCheck, clock_drift_us: int, measured: Measured | None
) -> HostReport:
    return HostReport(
        run_id=result.run_id,
        clock=clock,
        clock_drift_us=clock_drift_us,
        planned=result.planned,
        attempted={name: one.attempted for name, one in result.by_producer.items()},
        acked=ranges(result.ids("acked")),
        rejected=ranges(result.ids("rejected")),
        unknown=ranges(result.ids("unknown")),
        complete=result.complete,
        interrupted=result.interrupted,
        target_rate=result.target_rate,
        produced_rate=result.produced_rate,
        late_max_us=result.late_max_us,
        started_us=result.started_us,
        ended_us=result.ended_us,
        ended={name: one.ended for name, one in result.by_producer.items()},
        priority=next((one.priority for one in result.by_producer.values()), ""),
        troubles=result.troubles,
        measured=measured,
    )


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong is one line in the command's output."""
    try:
        yield
    except ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def main(argv: list[str] | None = None) -> int:
    """Does this host's part. Exit code 0 when it is done and reported, 1 when it could not be, 2 for wrong use."""
    arguments = sys.argv[1:] if argv is None else argv
    instance = os.environ.get(INSTANCE, "")
    if len(arguments) != 1 or not instance:
        print(f"usage: {INSTANCE}=i-... python -m services.simulator.host s3://BUCKET/PREFIX", file=sys.stderr)
        return 2
    with _told():
        place = Place(boto3.client("s3"), arguments[0], instance)
        report = run(place)
        place.write(REPORT, report.model_dump_json())
    attempted = sum(report.attempted.values())
    print(f"{report.run_id}: {attempted:,} of {report.planned:,} messages attempted, clock {report.clock.source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
