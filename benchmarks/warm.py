"""Warm brokers: before anything is measured their Java has compiled what a load needs, and its compilers rest."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil

from benchmarks.brokers import Cluster, cluster
from benchmarks.measure import Shape, Tell, carried
from envs.toolchain import Toolchain

SHAPE: Final = Shape(rate=60_000, seconds=6, partitions=6, warmup_seconds=0.5, real_time=False)
"""Many requests rather than many messages: a method is compiled after so many calls. At ordinary priority, or the
compilers would get no processor."""
_RESTS: Final = 0.03
"""Compilers that take less of a processor than this have nothing left that matters."""
_LONGEST_S: Final = 120.0
_COMPILERS: Final = ("C1 Compiler", "C2 Compiler")
"""How HotSpot's compiler threads are named (compileBroker.cpp); the kernel keeps 15 letters."""


def compile_seconds(pids: Iterable[int]) -> float:
    """The processor time in seconds that the compilers of these Java processes have taken."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            for thread in psutil.Process(pid).threads():
                with contextlib.suppress(OSError):
                    name = Path(f"/proc/{pid}/task/{thread.id}/comm").read_text()
                    total += thread.user_time + thread.system_time if name.startswith(_COMPILERS) else 0.0
    return total


def warm_up(brokers: Cluster, folder: Path, tell: Tell, load: Callable[[], None] | None = None) -> str:
    """Loads the brokers until their compilers rest, or for two minutes; says in words how long that took.

    Not for a fixed time: how long a compiler needs is a matter of the machine.
    """
    load = load or (lambda: carried(brokers, SHAPE, folder, tell))
    began = time.monotonic()
    while True:
        before, at = compile_seconds(brokers.pids), time.monotonic()
        load()
        now = time.monotonic()
        # A compiler thread that has ended takes its time with it.
        share = max(0.0, compile_seconds(brokers.pids) - before) / (now - at)
        if share < _RESTS or now - began > _LONGEST_S:
            rests = "rest" if share < _RESTS else f"still take {share:.0%} of a processor"
            return f"brokers warmed up for {now - began:.0f} s, their compilers {rests}"


class WarmBrokers:
    """Brokers of one kind at a time, kept for all rounds that ask for the same kind, which thus find them alike."""

    def __init__(self, toolchain: Toolchain, folder: Path) -> None:
        self._toolchain = toolchain
        self._folder = folder
        self._running = ExitStack()
        self._kind: tuple[object, ...] | None = None
        self._cluster: Cluster | None = None
        self._number = 0
        self.words = ""
        """How the present ones were warmed up."""

    def get(self, brokers: int, secure: bool, jvm: Sequence[str], warm: bool, tell: Tell) -> Cluster:
        """Brokers of this kind that run. Those that are not to be warm are new each time.

        Raises `FleetstreamError` with a broker's last words.
        """
        kind = (brokers, secure, tuple(jvm))
        if self._cluster is None or kind != self._kind or not warm:
            self.end()
            self._number += 1
            home = self._folder / f"kafka-{self._number}"
            self._cluster = self._running.enter_context(
                cluster(self._toolchain, home, brokers, secure=secure, jvm=jvm)
            )
            self.words = warm_up(self._cluster, home / "warm", tell) if warm else "brokers new, not warmed up"
            self._kind = kind if warm else None
        return self._cluster

    def end(self) -> None:
        """Ends those that run, if any."""
        self._running.close()
        self._cluster = self._kind = None


@contextlib.contextmanager
def warm_brokers(toolchain: Toolchain, folder: Path) -> Iterator[WarmBrokers]:
    """For the time of the block."""
    brokers = WarmBrokers(toolchain, folder)
    try:
        yield brokers
    finally:
        brokers.end()
