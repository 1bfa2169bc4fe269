"""What is measured runs first for as long as it is measured, and no longer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services import priority


def policies(pid: int) -> set[int]:
    return {os.sched_getscheduler(int(thread.name)) for thread in Path(f"/proc/{pid}/task").iterdir()}


@pytest.mark.skipif(os.geteuid() != 0, reason="raising a priority needs root")
def test_another_process_is_raised_for_the_block_and_what_is_left_out_is_not() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        # A new program has its name a moment after its parent is told that it runs.
        while Path(f"/proc/{other.pid}/comm").read_text() != "sleep\n":
            pass
        try:
            with priority.raised(other.pid, all_but="sle") as got:
                assert (got, policies(other.pid)) == (
                    "normal priority (this user may not raise it)",
                    {os.SCHED_OTHER},
                )
            with priority.raised(other.pid, all_but="x") as got:
                assert (got, policies(other.pid)) == ("real-time priority", {os.SCHED_RR})
            assert policies(other.pid) == {os.SCHED_OTHER}
        finally:
            other.kill()


def test_a_process_that_has_ended_is_no_error() -> None:
    with subprocess.Popen(["true"]) as other:
        other.wait()
    with priority.raised(other.pid, all_but="x"):
        pass


def test_all_threads_run_on_time_or_it_says_that_they_do_not() -> None:
    program = (
        "import os, threading, time\n"
        "from services.priority import run_on_time\n"
        "threading.Thread(target=time.sleep, args=(2,), daemon=True).start()\n"
        "got = run_on_time()\n"
        "print(got, {os.sched_getscheduler(int(t)) for t in os.listdir('/proc/self/task')})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in (
        f"real-time priority {{{os.SCHED_RR}}}",
        f"normal priority (this user may not raise it) {{{os.SCHED_OTHER}}}",
    )
