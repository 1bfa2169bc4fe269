"""Makes the zip file that AWS gets out of the archive that a program gave."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from envs.sandbox.provider.codec import Archive, Asset
from envs.sandbox.provider.errors import ProviderError

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can say: the same files make the same bytes."""


def zipped(archive: Archive | Asset) -> bytes:
    """The archive as a zip file; one that is a zip file already is taken as it is. Raises `ProviderError`."""
    if archive.path is not None and (path := _local(archive.path)).is_file():
        return path.read_bytes()
    if isinstance(archive, Asset):
        raise ProviderError("code must be an archive (FileArchive or AssetArchive), not a single asset")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content, mode in sorted(_entries(archive, "")):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = mode << 16
            target.writestr(entry, content)
    return made.getvalue()


def _entries(archive: Archive, above: str) -> Iterator[tuple[str, bytes, int]]:
    if archive.uri is not None:
        raise ProviderError(f"the sandbox fetches no remote archives: {archive.uri}")
    if archive.path is not None:
        root = _local(archive.path)
        if root.is_file():
            with zipfile.ZipFile(root) as inner:
                yield from ((f"{above}{name}", inner.read(name), 0o644) for name in inner.namelist())
        for path in root.rglob("*"):
            if path.is_file():
                yield f"{above}{path.relative_to(root).as_posix()}", path.read_bytes(), path.stat().st_mode & 0o777
    for name, asset in (archive.assets or {}).items():
        if isinstance(asset, Archive):
            yield from _entries(asset, f"{above}{name}/")
        else:
            yield f"{above}{name}", content(asset), 0o644


def content(asset: Asset) -> bytes:
    """What is in a file that a program gave. Raises `ProviderError`."""
    if asset.uri is not None:
        raise ProviderError(f"the sandbox fetches no remote assets: {asset.uri}")
    return _local(asset.path).read_bytes() if asset.path is not None else (asset.text or "").encode()


def _local(path: str) -> Path:
    found = Path(path)
    if not found.exists():
        why = "" if found.is_absolute() else ": the provider runs elsewhere than the program, give an absolute path"
        raise ProviderError(f"no file or folder {path}{why}")
    return found
