"""What a module needs of this project: its imports, in every form and transitively."""

from pathlib import Path

import pytest

from artifacts.errors import PackagingError
from artifacts.sources import of_handler, of_module


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
    found = [path.stem for path in of_handler("services.a.handle", tmp_path)]
    assert found == ["__init__", "a", "b", "c", "d", "e", "f"]


def test_a_module_that_runs_by_itself_needs_no_function(tmp_path: Path) -> None:
    write(tmp_path, __init__="", a="import services.b", b="")
    assert [path.stem for path in of_module("services.a", tmp_path)] == ["__init__", "a", "b"]
    with pytest.raises(PackagingError, match=r"no module services\.c"):
        of_module("services.c", tmp_path)
