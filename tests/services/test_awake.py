"""A virtual machine's processors do not idle while a latency is measured, and do again afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from services.awake import awake


@pytest.fixture
def virtual(tmp_path: Path) -> Path:
    """A /proc of a virtual machine, without control groups."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n")
    (proc / "self/cgroup").write_text("0::/\n")
    return proc


def idlers(parent: int | None = None) -> list[psutil.Process]:
    """Idlers among the children; other tests of this process have children as well."""
    return [each for each in psutil.Process(parent).children() if any("idler.py" in part for part in _command(each))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_every_processor_has_an_idler_that_runs_only_when_nothing_else_does(virtual: Path, tmp_path: Path) -> None:
    with awake(virtual, tmp_path) as kept:
        assert kept.words == "kept awake"
        assert sorted(tuple(os.sched_getaffinity(idler.pid)) for idler in idlers()) == [
            (processor,) for processor in sorted(os.sched_getaffinity(0))
        ]
        assert {os.sched_getscheduler(idler.pid) for idler in idlers()} == {os.SCHED_IDLE}
        # Where the kernel schedules by session, the policy alone would leave each of them a full share.
        groups = [Path(f"/proc/{idler.pid}/autogroup") for idler in idlers()]
        assert all(group.read_text().split()[-1] == "19" for group in groups if group.exists())
    assert not idlers()
    assert kept.seconds > 0


def test_they_end_with_an_error_in_the_block_as_well(virtual: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), awake(virtual, tmp_path):
        raise KeyboardInterrupt
    assert not idlers()


def test_they_end_with_a_parent_that_is_killed(virtual: Path, tmp_path: Path) -> None:
    program = (
        "import time\n"
        "from pathlib import Path\n"
        "from services.awake import awake\n"
        f"with awake(Path({str(virtual)!r}), Path({str(tmp_path)!r})):\n"
        "    print(flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        left = idlers(parent.pid)
        assert left
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive


@pytest.mark.parametrize("described", ["flags\t\t: fpu vme\n", "Features\t: fp asimd\n", None])
def test_a_machine_that_does_not_say_that_it_is_virtual_is_left_alone(
    virtual: Path, tmp_path: Path, described: str | None
) -> None:
    (virtual / "cpuinfo").unlink()
    if described is not None:
        (virtual / "cpuinfo").write_text(described)
    with awake(virtual, tmp_path) as kept:
        assert kept.words == "left to sleep (no virtual machine)"
        assert not idlers()


@pytest.mark.parametrize(
    ("membership", "file", "limit"),
    [
        ("0::/pod/container", "pod/cpu.max", "150000 100000"),
        ("0::/", "cpu.max", "50000 100000"),
        ("4:memory:/x\n3:cpu,cpuacct:/pod", "cpu,cpuacct/pod/cpu.cfs_quota_us", "50000"),
        # A container that sees the host's path and its own files.
        ("1:cpu:/host/pod", "cpu/cpu.cfs_quota_us", "50000"),
    ],
)
def test_limited_processor_time_is_not_spent_on_it(
    virtual: Path, tmp_path: Path, membership: str, file: str, limit: str
) -> None:
    (virtual / "self/cgroup").write_text(membership + "\n")
    quota = tmp_path / "cgroups" / file
    quota.parent.mkdir(parents=True)
    quota.write_text(limit + "\n")
    with awake(virtual, tmp_path / "cgroups") as kept:
        assert kept.words == "left to sleep (processor time is limited here)"
    quota.write_text({"cpu.max": "max 100000", "cpu.cfs_quota_us": "-1"}[quota.name])
    with awake(virtual, tmp_path / "cgroups") as kept:
        assert kept.words == "kept awake"
