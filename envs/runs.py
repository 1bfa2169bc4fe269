"""The folders that runs leave behind: ``build/runs/<stamp>`` each, and ``build/runs/latest``."""

import contextlib
import secrets
from datetime import UTC, datetime
from pathlib import Path

from envs import project
from envs.errors import FleetstreamError


def create() -> Path:
    """A new folder for a run, named by time and made unique. Raises `FleetstreamError` when it cannot be made."""
    parent = project.build_dir() / "runs"
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = parent / f"{stamp}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise FleetstreamError(
            f"cannot make {folder}: {error.strerror}. Move away what stands in its place"
        ) from error
    return folder


def publish(folder: Path) -> Path:
    """Points ``build/runs/latest`` at this run, in one step."""
    latest = folder.parent / "latest"
    scratch = folder.parent / f".latest-{folder.name}"
    with contextlib.suppress(FileNotFoundError):
        scratch.unlink()
    scratch.symlink_to(folder.name)
    scratch.replace(latest)
    return latest
