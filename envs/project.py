"""Where things are: the project's root, its stack files and the folder that takes what is made."""

import os
from pathlib import Path
from typing import Final

import yaml

from envs.errors import FleetstreamError, UsageError

ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "fleetstream"
STACK_FILES: Final = ROOT / "envs"
SANDBOX: Final = "sandbox"
"""The environment that is emulated always; every other one only when asked."""


def build_path() -> Path:
    """Where all that this project makes is put: ``build/``, or what ``FLEETSTREAM_BUILD_DIR`` names."""
    return Path(os.environ.get("FLEETSTREAM_BUILD_DIR") or ROOT / "build").absolute()


def build_dir() -> Path:
    """The same folder, made and tried out. Raises `FleetstreamError` when it cannot be written."""
    folder = build_path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise FleetstreamError(
            f"cannot write into {folder}: {error.strerror}. It must be a folder that you can write to, on a disk "
            "with space left: move away what stands in its place, or free space, and try again"
        ) from error
    return folder


def environments() -> list[str]:
    """The environments that have a stack file, in alphabetical order."""
    return sorted(
        path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in STACK_FILES.glob("Pulumi.*.yaml")
    )


def stack_file(environment: str) -> Path:
    """The tracked settings of an environment. Raises `UsageError` for one that does not exist."""
    if environment not in environments():
        raise UsageError(
            f"there is no environment {environment!r}: choose one of {', '.join(environments())}, "
            f"or add envs/Pulumi.{environment}.yaml"
        )
    return STACK_FILES / f"Pulumi.{environment}.yaml"


def confirms_down(environment: str) -> bool:
    """Whether an environment's settings want its name said before it is taken down (`operations.confirm_down`).

    Settings that cannot be read are no reason to leave something standing: the engine refuses them itself.
    """
    try:
        content = yaml.safe_load(stack_file(environment).read_text())
        return content["config"][f"{NAME}:settings"]["operations"]["confirm_down"] is True
    except (yaml.YAMLError, KeyError, TypeError):
        return False


def region(environment: str) -> str:
    """The AWS region in an environment's settings. Raises `FleetstreamError` when they name none."""
    path = stack_file(environment)
    try:
        content = yaml.safe_load(path.read_text()) or {}
        return str(content["config"]["aws:region"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise FleetstreamError(
            f"{path.relative_to(ROOT)}: no region ({error}). It must be YAML with `config:` and `aws:region:` in it"
        ) from error
