"""The image store: what was uploaded, by its path. Of files that nothing here reads only the size is kept."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from envs.sandbox.fabric.errors import FabricError

_FOLDER_MARK: Final = "_.dir"
"""A client that has uploaded a folder puts an empty file of this name there (`sfctl application upload`)."""
_READ: Final = "manifest.xml"
"""How the names of files end that are read; packages carry whole runtimes beside them."""


@dataclass(frozen=True)
class _File:
    size: int
    at: datetime
    content: bytes
    members: tuple[str, ...]
    """What is in it, when it is an archive."""


class ImageStore:
    """Files by path; a folder is there as long as something is in it."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}

    def put(self, path: str, content: bytes, at: float) -> None:
        """Stores a file, in place of what was there."""
        name = _clean(path)
        kept = content if name.lower().endswith(_READ) else b""
        self._files[name] = _File(len(content), datetime.fromtimestamp(at, UTC), kept, _members(name, content))

    def folder(self, path: str) -> dict[str, bytes]:
        """The files below a folder, by their path in it; only manifests have content.

        An archive stands for the folder that it was made from (`sfctl application upload --compress`). Raises
        `FabricError` when there is no such folder.
        """
        inside = _clean(path) + "/"
        found = {
            name.removeprefix(inside): file.content for name, file in self._files.items() if name.startswith(inside)
        }
        if not found:
            raise FabricError("FABRIC_E_FILE_NOT_FOUND", f"the image store has no folder {path}")
        for name in list(found):
            found |= {f"{name[:-4]}/{member}": b"" for member in self._files[inside + name].members}
        return {name: content for name, content in found.items() if name.rpartition("/")[2] != _FOLDER_MARK}

    def delete(self, path: str) -> None:
        """Deletes a file or a folder with all that is in it. Raises `FabricError` when there is neither."""
        name = _clean(path)
        gone = [found for found in self._files if found == name or found.startswith(name + "/")]
        if not gone:
            raise FabricError("FABRIC_E_FILE_NOT_FOUND", f"the image store has no {path}")
        for found in gone:
            del self._files[found]

    def content(self, path: str = "") -> dict[str, Any]:
        """ImageStoreContent of the REST API: the files and folders directly below a path, or that file."""
        inside = _clean(path) + "/" if path else ""
        names = [name for name in sorted(self._files) if name == path or name.startswith(inside)]
        if path and not names:
            raise FabricError("FABRIC_E_FILE_NOT_FOUND", f"the image store has no {path}")
        direct = [name for name in names if name == path or "/" not in name.removeprefix(inside)]
        folders = sorted({inside + name.removeprefix(inside).split("/")[0] for name in names if name not in direct})
        return {
            "StoreFiles": list(self._describe(direct)),
            "StoreFolders": [
                {"StoreRelativePath": folder, "FileCount": str(sum(name.startswith(folder + "/") for name in names))}
                for folder in folders
            ],
        }

    def _describe(self, names: list[str]) -> Iterator[dict[str, Any]]:
        for name in names:
            file = self._files[name]
            yield {
                "StoreRelativePath": name,
                "FileSize": str(file.size),
                "FileVersion": {"VersionNumber": "1", "EpochDataLossNumber": "1", "EpochConfigurationNumber": "1"},
                "ModifiedDate": file.at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            }


def _members(name: str, content: bytes) -> tuple[str, ...]:
    if not name.lower().endswith(".zip"):
        return ()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return tuple(archive.namelist())
    except zipfile.BadZipFile:
        return ()


def _clean(path: str) -> str:
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise FabricError("E_INVALIDARG", f"{path!r} is no path of the image store")
    return "/".join(parts)
