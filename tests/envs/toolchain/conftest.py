"""A pretended machine for every test of the toolchain that asks for one."""

import shutil
from pathlib import Path

import pytest
from fake_machine import GO, IVY, Lines, Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with the usual small tools, but without Java, Go and Pulumi."""
    machine = Machine(tmp_path)
    machine.bin.mkdir()
    for tool in ("sh", "env", "cat", "mkdir", "sleep", "cp", "chmod", "dirname", "touch"):
        found = shutil.which(tool)
        assert found is not None
        machine.link(Path(found), tool)
    for name, value in machine.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("JAVA_HOME", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    return machine


@pytest.fixture
def whole_machine(machine: Machine) -> Machine:
    """The machine with a Java that plays Ivy, and a Go that plays a compiler: all that an installation needs."""
    machine.link(machine.java("17.0.1", otherwise=IVY), "java")
    machine.script("go", GO)
    return machine


@pytest.fixture
def lines() -> Lines:
    """Where an installation in this process reports to."""
    return Lines()
