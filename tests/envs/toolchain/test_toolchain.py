"""The toolchain as a whole: what `make install`, `fleetstream doctor` and the environments see of it."""

import io
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import psutil
import pytest
from fake_machine import PROJECT, Lines, Machine
from rich.console import Console

from envs import toolchain
from envs.doctor import doctor
from envs.toolchain import jars, java, pulumi, versions
from envs.toolchain.errors import ToolchainError

LOCK = tomllib.loads((PROJECT / "uv.lock").read_text())
INSTALLED = sorted(
    [
        *(jar_set.item.path.name for jar_set in jars.ALL),
        f"pulumi-{versions.PULUMI}",
        "locks",
    ]
)


@pytest.fixture(autouse=True)
def unreachable_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of an installation asks the real site."""
    monkeypatch.setattr(pulumi, "INSTALLER_URL", "http://127.0.0.1:1/install.sh")


def locked(package: str) -> str:
    """The version of a package in uv.lock."""
    [version] = [entry["version"] for entry in LOCK["package"] if entry["name"] == package]
    return version


def start(machine: Machine, **variables: str) -> subprocess.Popen[str]:
    """`python -m envs.toolchain` on the machine, without a way to the official site."""
    code = (
        "import os, sys\n"
        f"os.environ.update({variables!r})\n"
        "from envs.toolchain import pulumi\n"
        "pulumi.INSTALLER_URL = 'http://127.0.0.1:1/install.sh'\n"
        "from envs.toolchain.__main__ import main\n"
        "sys.exit(main())\n"
    )
    return machine.start("-c", code)


def entries(machine: Machine) -> list[str]:
    """What is in the cache."""
    return sorted(path.name for path in machine.cache.iterdir())


def test_versions_that_must_agree_with_the_lock_file_do() -> None:
    spark_minor = locked("pyspark").rsplit(".", 1)[0]
    assert spark_minor == "4.0", "the accepted Java releases and Hadoop's version below are Spark 4.0's"
    spec = next(Path(jars._pyspark_jars()).glob("hadoop-client-api-*.jar"))
    assert spec.name == f"hadoop-client-api-{versions.HADOOP_AWS}.jar"
    scala = next(Path(jars._pyspark_jars()).glob("scala-library-*.jar"))
    assert scala.name.startswith(f"scala-library-{versions.KAFKA_SCALA}.")
    assert versions.JAVA_WHEEL.version.split(".")[0] in {str(release) for release in versions.JAVA}


def test_everything_is_installed_then_found_then_left_alone(whole_machine: Machine, lines: Lines) -> None:
    installed = toolchain.ensure(lines)

    assert toolchain.find() == installed
    assert entries(whole_machine) == INSTALLED
    assert {path.name for path in installed.s3a_jars} == {f"{m.name}-{m.version}.jar" for m in jars.S3A.modules}
    assert all(
        path.exists() for path in (installed.java, installed.kafka_jars, installed.compiler_jar, installed.pulumi)
    )
    done = whole_machine.happened()
    assert sorted(done) == sorted(["ivy"] * 3 + [f"build {pulumi.HOST}", "build pulumi"])
    assert toolchain.ensure(lines) == installed
    assert whole_machine.happened() == done


def test_what_is_missing_is_named_with_the_remedy(machine: Machine) -> None:
    with pytest.raises(ToolchainError) as caught:
        toolchain.find()
    for name in ("Apache Kafka", "S3A", "Eclipse compiler", "Java 17 to 22", "Pulumi", "`make install`"):
        assert name in str(caught.value)


def test_all_that_failed_is_said_at_once_and_the_rest_is_installed(whole_machine: Machine, lines: Lines) -> None:
    refuses = 'echo "Server access error: repo1.maven.org: unknown host"; exit 1'
    whole_machine.link(whole_machine.java("17.0.2", otherwise=refuses), "java")

    with pytest.raises(ToolchainError) as caught:
        toolchain.ensure(lines)

    for jar_set in jars.ALL:
        assert f"fetching {jar_set.title} from {jars.REPOSITORY} failed" in str(caught.value)
    assert "unknown host" in str(caught.value)
    assert "can be reached from here, then `make install` again" in str(caught.value)
    assert pulumi.search().found is not None
    assert entries(whole_machine) == sorted(["locks", f"pulumi-{versions.PULUMI}"])


def test_jars_that_do_not_arrive_are_an_error(whole_machine: Machine, lines: Lines) -> None:
    whole_machine.link(whole_machine.java("17.0.2", otherwise="exit 0"), "java")
    with pytest.raises(ToolchainError, match=rf"kafka_2\.13-{versions.KAFKA}\.jar did not arrive"):
        toolchain.ensure(lines)
    assert all(jar_set.find() is None for jar_set in jars.ALL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["GO_WAITS", "IVY_WAITS"])
def test_an_interrupted_installation_is_taken_up_again(
    whole_machine: Machine, lines: Lines, stage: str, number: signal.Signals
) -> None:
    reached = whole_machine.root / "reached"
    process = start(whole_machine, **{stage: str(reached)})
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    if stage == "IVY_WAITS":
        assert all(jar_set.find() is None for jar_set in jars.ALL)
    else:
        assert pulumi.search().found is None
    assert not [name for name in entries(whole_machine) if name.startswith(".partial")]

    toolchain.ensure(lines)
    assert entries(whole_machine) == INSTALLED


def test_a_killed_installation_is_taken_up_again(whole_machine: Machine, lines: Lines) -> None:
    reached = whole_machine.root / "reached"
    process = start(whole_machine, GO_WAITS=str(reached))
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    for child in children:  # Nobody is left to end them; the real ones end with their build.
        child.kill()

    toolchain.ensure(lines)

    assert entries(whole_machine) == INSTALLED


def test_two_installations_at_once_install_everything_once(whole_machine: Machine) -> None:
    both = [start(whole_machine), start(whole_machine)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted(whole_machine.happened()) == sorted(["ivy"] * 3 + [f"build {pulumi.HOST}", "build pulumi"])
    assert entries(whole_machine) == INSTALLED


def test_an_error_ends_the_command_with_the_remedy_and_no_traceback(machine: Machine) -> None:
    machine.cache.parent.mkdir()
    machine.cache.write_text("a file")
    machine.link(machine.java("17.0.1"), "java")
    process = start(machine)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "make it a directory of yours, or set XDG_CACHE_HOME to one" in output
    assert "Traceback" not in output


def test_the_environment_puts_the_tools_first(
    whole_machine: Machine, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = toolchain.ensure(lines)
    variables = toolchain.environment(found)
    folders = variables["PATH"].split(":")
    assert folders.index(str(found.pulumi.parent)) < folders.index(str(whole_machine.bin))
    assert variables["JAVA_HOME"] == str(whole_machine.root / "jdk-17.0.1")
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in variables
    monkeypatch.setenv("PATH", variables["PATH"])
    assert toolchain.environment(found)["PATH"] == variables["PATH"], "PATH grows with every nesting"
    assert (
        toolchain.environment(found, acquire_plugins=False)["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    )


def shown(terminal_width: int | None = None) -> tuple[bool, str]:
    """What `doctor` says on a terminal of this width, or in a log."""
    out = io.StringIO()
    terminal = terminal_width is not None
    verdict = doctor(Console(file=out, width=terminal_width, force_terminal=terminal, color_system=None))
    return verdict, out.getvalue()


def test_doctor_says_what_to_do_without_java(machine: Machine) -> None:
    machine.link(machine.java("11.0.2"), "java")
    machine.pulumi("3.260.1")

    verdict, said = shown()

    assert not verdict
    [java_line] = [line for line in said.splitlines() if line.startswith("Java ")]
    assert "missing" in java_line
    assert "`make install` brings one, or install Java 17 to 22" in java_line
    assert f"Java: passed over {machine.bin / 'java'} (PATH): version 11.0.2" in said
    assert "To be put right: Java, Apache Kafka, Spark's S3A connector, Eclipse compiler for Java." in said


def test_doctor_cuts_nothing_on_a_narrow_terminal(machine: Machine) -> None:
    _, said = shown(60)
    assert "…" not in said
    assert said.count("missing") == 5
    assert "".join(java.REMEDY.split()) in "".join(said.split())


def test_doctor_is_content_when_everything_is_there(whole_machine: Machine, lines: Lines) -> None:
    found = toolchain.ensure(lines)
    verdict, said = shown()
    assert verdict
    assert str(found.pulumi) in said
    assert "Everything is there." in said


def test_doctor_sees_a_cache_that_cannot_be_written(whole_machine: Machine, lines: Lines) -> None:
    toolchain.ensure(lines)
    whole_machine.cache.rename(whole_machine.root / "elsewhere")
    whole_machine.cache.write_text("a file")
    verdict, said = shown()
    assert not verdict
    assert f"{whole_machine.cache} cannot be written" in said


def test_the_real_toolchain_is_complete_and_runs() -> None:
    """On this machine as it is: what `make install` left is found, and the programs start."""
    found = toolchain.find()
    assert (found.kafka_jars / f"kafka_{versions.KAFKA_SCALA}-{versions.KAFKA}.jar").is_file()
    assert len(found.s3a_jars) == 49
    assert not [jar for jar in found.s3a_jars if jar.name.startswith("bundle-")], "the SDK's 600 MB bundle came along"
    run = [found.java, "-cp", f"{found.kafka_jars}/*", "kafka.tools.StorageTool", "random-uuid"]
    assert len(subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()) == 22
    compiler = subprocess.run(
        [found.java, "-jar", found.compiler_jar, "-version"], capture_output=True, text=True, check=True
    )
    assert "Eclipse Compiler for Java" in compiler.stdout + compiler.stderr
    about = subprocess.run(
        [found.pulumi, "version"], capture_output=True, text=True, check=True, env=toolchain.environment(found)
    )
    assert about.stdout.startswith("v3.")
