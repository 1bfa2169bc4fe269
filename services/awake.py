"""Keeps the processors of a virtual machine at work while a latency is measured.

A virtual processor with nothing to do is given to others by its host, and whoever it is wanted for next waits until
the host gives it back: up to tens of milliseconds on a busy host. One process a processor that runs only when nothing
else wants to (SCHED_IDLE, sched(7)) keeps it. On a machine of its own a processor wakes up in microseconds.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROC: Final = Path("/proc")
_IDLER: Final = Path(__file__).with_name("idler.py")


@dataclass
class Kept:
    """What is done about idle processors, in words, and the processor time in seconds that it took in the end."""

    words: str
    seconds: float = 0.0


@contextlib.contextmanager
def awake(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Iterator[Kept]:
    """Keeps the processors that this process may use from idling, for the time of the block.

    Nothing is done on a machine that does not say that it is virtual, nor where processor time is limited: there it
    would be taken from what is measured.
    """
    if not _virtual(proc):
        yield Kept("left to sleep (no virtual machine)")
        return
    if _limited(proc, cgroups):
        yield Kept("left to sleep (processor time is limited here)")
        return
    kept = Kept("kept awake")
    with contextlib.ExitStack() as running:
        idlers = [running.enter_context(_idler(processor, kept)) for processor in sorted(os.sched_getaffinity(0))]
        for idler in idlers:
            assert idler.stdout is not None  # noqa: S101 - opened as a pipe below
            idler.stdout.readline()
        yield kept


@contextlib.contextmanager
def _idler(processor: int, kept: Kept) -> Iterator[subprocess.Popen[bytes]]:
    # A session of its own: Ctrl-C in a terminal reaches the parent alone, which then ends it.
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", _IDLER, str(os.getpid()), str(processor)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                kept.seconds += psutil.Process(process.pid).cpu_times().user
            process.kill()


def _virtual(proc: Path) -> bool:
    """Whether the processor says that there is a host below it (x86's CPUID does; others stay unasked)."""
    try:
        described = (proc / "cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line for line in described.splitlines() if line.startswith("flags")), "")
    return "hypervisor" in flags.split()


def _limited(proc: Path, cgroups: Path) -> bool:
    """Whether a control group of this process, or one above it, has a quota of processor time (cgroups(7))."""
    try:
        memberships = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return False
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers
        group = root / path.lstrip("/")
        while True:
            if _quota(group):
                return True
            if group == root:
                break
            group = group.parent
    return False


def _quota(group: Path) -> bool:
    for file, unlimited in (("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")):
        with contextlib.suppress(OSError):
            if (group / file).read_text().split()[0] != unlimited:
                return True
    return False
