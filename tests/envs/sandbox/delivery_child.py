"""A delivery stream in a process of its own, which can kill itself at a chosen moment of a write to S3.

``python -m tests.envs.sandbox.delivery_child STATE_DIR STREAM after-call:2`` dies when its second object is written.
"""

import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from envs.sandbox.firehose.buffer import Outcome, Record
from services.ingestion.archive_gate.gate import Origin, admit
from tests.envs.sandbox.delivery_stage import Stage, execute, stream_settings


def gated(batch: list[Record]) -> list[Outcome]:
    """What the archive gate makes of a batch of good messages."""
    return [
        Outcome(
            entry, admit(entry.value, Origin(entry.partition, entry.offset, entry.broker_ms, entry.arrival_ms), 1)
        )
        for entry in batch
    ]


def main(state_dir: Path, stream: str, kill: str) -> None:
    """Executes the stream until everything is committed, or until it kills itself."""
    stage = Stage(state_dir).attach()
    s3 = stage.client("s3")
    moment, _, number = kill.partition(":")
    calls = itertools.count(1)

    def die(**_: Any) -> None:
        if next(calls) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    if number:
        s3.meta.events.register(f"{moment}.s3.PutObject", die)
    running = execute(stage, stream_settings(stream, size_bytes=60_000, interval_s=0.5), gated, s3)
    while running.thread.is_alive() and stage.committed(stream) != stage.ends(stream):
        time.sleep(0.1)
    running.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
