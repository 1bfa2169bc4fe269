"""Function artifacts: the same bytes everywhere, what a handler needs and no more, nothing for another machine."""

import shutil
import struct
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.packaging import ROOT, PackagingError, check_platform, package, sources

HANDLER = "services.ingestion.archive_gate.handler.handle"
GROUP = "function-archive-gate"


def packaged(build: Path, root: Path = ROOT) -> Path:
    return package("gate", HANDLER, GROUP, root=root, build=build).path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's sources and lock in another place, with other times and modes."""
    root = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "services", root / "services", copy_function=shutil.copy)
    for name in ("pyproject.toml", "uv.lock", "README.md"):
        shutil.copy(ROOT / name, root)
    for file in root.rglob("*.py"):
        file.chmod(0o700)
    return root


def test_the_same_bytes_in_another_place(tmp_path: Path, copy: Path) -> None:
    first, second = packaged(tmp_path / "one"), packaged(tmp_path / "two", root=copy)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_an_artifact_is_made_once(tmp_path: Path) -> None:
    made = packaged(tmp_path).stat()
    again = packaged(tmp_path).stat()
    assert (made.st_ino, made.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)


def test_two_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: packaged(tmp_path), range(4)))
    assert len(paths) == 1
    assert sorted(path.suffix for path in (tmp_path / "functions").iterdir() if path.is_file()) == ["", ".zip"]


def test_what_a_cut_off_run_left_is_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "functions"
    (folder / ".making-site" / "site").mkdir(parents=True)
    (folder / ".making-zip").write_bytes(b"half")
    packaged(tmp_path)
    assert not list(folder.glob(".making-*"))


def test_changed_source_makes_another_artifact(tmp_path: Path, copy: Path) -> None:
    before = packaged(tmp_path, root=copy)
    with (copy / "services" / "contract.py").open("a") as file:
        file.write("# changed\n")
    assert packaged(tmp_path, root=copy).name != before.name


def test_an_artifact_carries_what_the_handler_imports_and_no_more(tmp_path: Path) -> None:
    names = zipfile.ZipFile(packaged(tmp_path)).namelist()
    ours = [name for name in names if name.startswith("services/")]
    assert set(ours) >= {
        "services/__init__.py",
        "services/contract.py",
        "services/ingestion/archive_gate/handler.py",
        "services/ingestion/archive_gate/gate.py",
    }
    assert not any(name.startswith(("services/simulator", "services/consumer")) for name in ours)
    assert any(name.startswith("aws_lambda_powertools/") for name in names)
    assert not any(name.endswith((".pyc", "RECORD", "direct_url.json")) or "__pycache__" in name for name in names)
    assert names == sorted(names)


def test_the_artifact_runs_by_itself(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(packaged(tmp_path))!r})\n"
        "from services.ingestion.archive_gate.handler import handle\n"
        "print(handle({'records': []}, None))\n"
    )
    # -S and -I: nothing of this virtual environment helps.
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "{'records': []}", ran.stderr


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / "services" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_are_followed_in_every_form(tmp_path: Path) -> None:
    forms = {
        "__init__": "",
        "a": "import services.b\nfrom services import c\nfrom . import d\nfrom .e import E\n\n\ndef handle(): ...",
        "b": "def late():\n    from services.f import F",
        **dict.fromkeys("cdefg", ""),
    }
    write(tmp_path, **forms)
    found = [path.stem for path in sources("services.a.handle", tmp_path)]
    assert found == ["__init__", "a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    ("handler", "told"),
    [("services.nowhere.handle", "no module services.nowhere"), ("services.contract.nothing", "defines no nothing")],
)
def test_a_handler_that_is_not_there(tmp_path: Path, handler: str, told: str) -> None:
    with pytest.raises(PackagingError, match=told):
        package("x", handler, GROUP, build=tmp_path)


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match="function-nothing"):
        package("x", HANDLER, "function-nothing", build=tmp_path)


def test_a_file_in_place_of_the_build_folder(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("in the way")
    with pytest.raises(PackagingError, match="folder that you can write to"):
        packaged(tmp_path / "build")


def wheel(site: Path, name: str, *tags: str) -> None:
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    folder.joinpath("WHEEL").write_text("Wheel-Version: 1.0\n" + "".join(f"Tag: {tag}\n" for tag in tags))


def library(path: Path, machine: int, bits: int = 2) -> None:
    path.write_bytes(b"\x7fELF" + bytes([bits, 1]) + bytes(12) + struct.pack("<H", machine))


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any",
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp39-abi3-manylinux2014_x86_64",
        "py3-none-manylinux1_x86_64",
        "cp311-none-any",
    ],
)
def test_wheels_that_fit(tmp_path: Path, tag: str) -> None:
    wheel(tmp_path, "fitting", "py2-none-any", tag)
    check_platform(tmp_path)


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
        "cp311-cp311-macosx_11_0_arm64",
        "cp311-cp311-win_amd64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "py2-none-any",
    ],
)
def test_wheels_that_do_not_fit_are_named(tmp_path: Path, tag: str) -> None:
    wheel(tmp_path, "foreign", tag)
    wheel(tmp_path, "fitting", "py3-none-any")
    with pytest.raises(PackagingError, match=rf"foreign-1\.0 \({tag}\)") as caught:
        check_platform(tmp_path)
    assert "fitting" not in str(caught.value)


@pytest.mark.parametrize(("machine", "bits"), [(183, 2), (3, 1), (62, 1)])
def test_libraries_for_another_machine_are_named(tmp_path: Path, machine: int, bits: int) -> None:
    library(tmp_path / "good.so", 62)
    library(tmp_path / "_foreign.cpython-311.so", machine, bits)
    with pytest.raises(PackagingError, match=r"_foreign\.cpython-311\.so") as caught:
        check_platform(tmp_path)
    assert "good.so" not in str(caught.value)
