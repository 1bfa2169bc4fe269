"""Function artifacts: the same bytes everywhere, what a handler needs and no more, nothing for another machine."""

import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.packaging import ROOT, PackagingError, package

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
