"""Nothing counts as installed before all of it is there: interruptions, neighbours, damage, full disks."""

import errno
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from fake_machine import Lines, Machine

from envs.toolchain import store
from envs.toolchain.errors import ToolchainError
from envs.toolchain.installer import Installer
from envs.toolchain.progress import Step
from envs.toolchain.store import Item

ITEM = Item("thing", "1.0", recipe="as it is made")


def fill(scratch: Path, step: Step) -> None:
    (scratch / "part").mkdir()
    (scratch / "part" / "file").write_text("whole")


def test_an_item_is_made_once(machine: Machine, lines: Lines) -> None:
    installer = Installer(lines)
    path = installer.install(ITEM, "Thing 1.0", fill)
    assert path == machine.cache / "thing-1.0"
    assert (path / "part" / "file").read_text() == "whole"
    assert any(line.startswith("Thing 1.0: installed, 0.0 MB in ") for line in lines.kept)

    def never(scratch: Path, step: Step) -> None:
        raise AssertionError("made a second time")

    assert installer.install(ITEM, "Thing 1.0", never) == path


@pytest.mark.parametrize("error", [ToolchainError("no"), KeyboardInterrupt(), RuntimeError("bug")])
def test_what_fails_half_way_leaves_nothing(machine: Machine, lines: Lines, error: BaseException) -> None:
    def half(scratch: Path, step: Step) -> None:
        (scratch / "file").write_text("half")
        raise error

    with pytest.raises(type(error)):
        Installer(lines).install(ITEM, "Thing 1.0", half)

    assert store.installed(ITEM) is None
    assert [path.name for path in machine.cache.iterdir()] == ["locks"]


def test_what_a_killed_process_left_is_removed(machine: Machine, lines: Lines) -> None:
    left = store.scratch_path(ITEM)
    left.mkdir(parents=True)
    (left / "half").write_text("half")

    path = Installer(lines).install(ITEM, "Thing 1.0", fill)

    assert not left.exists()
    assert not (path / "half").exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "other recipe", "no manifest"])
def test_a_damaged_item_is_made_again(machine: Machine, lines: Lines, damage: str) -> None:
    installer = Installer(lines)
    path = installer.install(Item("thing", "1.0", "older") if damage == "other recipe" else ITEM, "Thing 1.0", fill)
    file = path / "part" / "file"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_text("who")
    elif damage == "no manifest":
        (path / "installed.json").unlink()
    assert store.installed(ITEM) is None

    installer.install(ITEM, "Thing 1.0", fill)

    assert store.installed(ITEM) == path
    assert file.read_text() == "whole"
    assert sorted(entry.name for entry in machine.cache.iterdir()) == ["locks", "thing-1.0"]


def test_a_neighbour_that_installs_is_waited_for(machine: Machine, lines: Lines) -> None:
    made: list[str] = []
    entered, release = threading.Event(), threading.Event()

    def slow(scratch: Path, step: Step) -> None:
        made.append("first")
        entered.set()
        assert release.wait(60)
        fill(scratch, step)

    def second(scratch: Path, step: Step) -> None:
        made.append("second")
        fill(scratch, step)

    first_thread = threading.Thread(target=lambda: Installer(lines).install(ITEM, "Thing 1.0", slow))
    first_thread.start()
    assert entered.wait(60)
    second_thread = threading.Thread(target=lambda: Installer(lines).install(ITEM, "Thing 1.0", second))
    second_thread.start()
    while "thing: another process is installing it, waiting for that one" not in lines.kept:
        assert second_thread.is_alive()
        time.sleep(0.05)
    release.set()
    first_thread.join(60)
    second_thread.join(60)

    assert made == ["first"]


def test_a_stopped_installer_ends_its_children_and_theirs(machine: Machine, lines: Lines) -> None:
    machine.script("parent", 'sh -c \'echo $$ >> "$EVENTS"; sleep 300\' & echo $$ >> "$EVENTS"; wait')
    installer = Installer(lines)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            installer.run("a long work", [machine.bin / "parent"], remedy="none")
        except ToolchainError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while len(machine.happened()) < 2:
        assert thread.is_alive()
        time.sleep(0.02)
    pids = [int(line) for line in machine.happened()]
    installer.stop()
    thread.join(60)

    assert "interrupted" in str(caught[0])
    gone = [pid for pid in pids if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE]
    assert gone == pids
    with pytest.raises(ToolchainError, match="interrupted"):
        installer.run("another", [machine.bin / "true"], remedy="none")


def test_a_failed_child_is_quoted_with_the_remedy(machine: Machine, lines: Lines) -> None:
    script = machine.script("tool", "echo first; echo 'the reason' >&2; exit 7")
    with pytest.raises(ToolchainError) as caught:
        Installer(lines).run("fetching the thing", [script], remedy="Check the network.")
    assert str(caught.value) == "fetching the thing failed (exit code 7):\n  first\n  the reason\nCheck the network."


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("write /x: no space left on device", "free some space"),
        ("java.io.IOException: File too large", "ulimit -f"),
    ],
)
def test_a_child_that_cannot_write_gets_the_storage_remedy(
    machine: Machine, lines: Lines, said: str, remedy: str
) -> None:
    script = machine.script("tool", f"echo '{said}'; exit 1")
    with pytest.raises(ToolchainError, match=remedy):
        Installer(lines).run("compiling", [script], remedy="Check the network.")


def test_a_child_that_is_not_there_is_named(machine: Machine, lines: Lines) -> None:
    with pytest.raises(ToolchainError, match=r"/nowhere/java cannot be started: No such file"):
        Installer(lines).run("fetching", ["/nowhere/java"], remedy="none")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EFBIG, "ulimit -f"), (errno.EACCES, "XDG_CACHE_HOME")],
)
def test_a_disk_that_refuses_is_explained(machine: Machine, lines: Lines, number: int, remedy: str) -> None:
    def refused(scratch: Path, step: Step) -> None:
        raise OSError(number, os.strerror(number), str(scratch / "file"))

    with pytest.raises(ToolchainError, match=remedy) as caught:
        Installer(lines).install(ITEM, "Thing 1.0", refused)
    assert str(machine.cache) in str(caught.value)


def test_a_file_in_the_place_of_the_cache_is_explained(machine: Machine, lines: Lines) -> None:
    machine.cache.parent.mkdir()
    machine.cache.write_text("a file")
    with pytest.raises(ToolchainError, match="make it a directory of yours, or set XDG_CACHE_HOME to one"):
        Installer(lines).install(ITEM, "Thing 1.0", fill)


def test_a_size_limit_is_explained(machine: Machine) -> None:
    """The shell's limit on file sizes, at work on a real process."""
    code = (
        "import resource\n"
        "from rich.console import Console\n"
        "from envs.toolchain.installer import Installer\n"
        "from envs.toolchain.progress import PlainReport\n"
        "from envs.toolchain.store import Item\n"
        # After the imports: Python would cut its own .pyc files to this size.
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "Installer(PlainReport(Console())).install(Item('big', '1'), 'Big 1', lambda scratch, step: "
        "(scratch / 'file').write_bytes(bytes(10_000)))\n"
    )
    process = machine.start("-B", "-c", code)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Big 1: cannot write in" in output
    assert "ulimit -f" in output
    assert [path.name for path in machine.cache.iterdir()] == ["locks"]


def test_a_killed_process_leaves_the_lock_free(machine: Machine, lines: Lines) -> None:
    code = (
        "import os, time\n"
        "from rich.console import Console\n"
        "from envs.toolchain.installer import Installer\n"
        "from envs.toolchain.progress import PlainReport\n"
        "from envs.toolchain.store import Item\n"
        "def fill(scratch, step):\n"
        "    (scratch / 'half').write_text('half'); open(os.environ['EVENTS'], 'w').write('here'); time.sleep(300)\n"
        "Installer(PlainReport(Console())).install(Item('thing', '1.0', 'as it is made'), 'Thing 1.0', fill)\n"
    )
    process = machine.start("-c", code)
    while not machine.happened():
        assert process.poll() is None
        time.sleep(0.05)
    assert store.installed(ITEM) is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)

    path = Installer(lines).install(ITEM, "Thing 1.0", fill)

    assert not (path / "half").exists()
    assert sorted(entry.name for entry in machine.cache.iterdir()) == ["locks", "thing-1.0"]
