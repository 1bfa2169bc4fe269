"""Archives become the same zip file from the same contents, whatever way they were given."""

import io
import zipfile
from pathlib import Path

import pytest

from envs.sandbox.provider.archives import zipped
from envs.sandbox.provider.codec import Archive, Asset
from envs.sandbox.provider.errors import ProviderError


def _contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _folder(root: Path) -> Path:
    (root / "package").mkdir(parents=True)
    (root / "package" / "main.py").write_text("x = 1\n")
    (root / "top.txt").write_bytes(b"\x00\xff")
    return root


def test_texts_files_folders_and_archives_are_put_together(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "folder")
    inner = tmp_path / "inner.zip"
    inner.write_bytes(zipped(Archive(path=str(folder))))
    archive = Archive(
        assets={
            "text.py": Asset(text="y = 2\n"),
            "file.txt": Asset(path=str(folder / "top.txt")),
            "files": Archive(path=str(folder)),
            "zip": Archive(path=str(inner)),
            "nested": Archive(assets={"empty": Asset(text="")}),
        }
    )
    assert _contents(zipped(archive)) == {
        "text.py": b"y = 2\n",
        "file.txt": b"\x00\xff",
        "files/package/main.py": b"x = 1\n",
        "files/top.txt": b"\x00\xff",
        "zip/package/main.py": b"x = 1\n",
        "zip/top.txt": b"\x00\xff",
        "nested/empty": b"",
    }


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    one, other = _folder(tmp_path / "one"), _folder(tmp_path / "other")
    (other / "top.txt").touch()
    assert zipped(Archive(path=str(one))) == zipped(Archive(path=str(other)))


def test_a_zip_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("z.py", "")
        made.writestr("a.py", "")
    assert zipped(Archive(path=str(path))) == path.read_bytes()


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (Archive(path="./missing"), "no file or folder ./missing: the provider runs elsewhere"),
        (Archive(assets={"a": Asset(path="/missing/file")}), "no file or folder /missing/file$"),
        (Archive(uri="https://example.com/a.zip"), "fetches no remote archives: https://example.com/a.zip"),
        (Archive(assets={"a": Asset(uri="https://example.com/a")}), "fetches no remote assets"),
        (Asset(text="x"), "must be an archive"),
    ],
)
def test_what_cannot_be_packed_is_named(archive: Archive | Asset, words: str) -> None:
    with pytest.raises(ProviderError, match=words):
        zipped(archive)
