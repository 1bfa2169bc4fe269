"""Tools that are published as Python wheels, put into directories of their own by uv."""

from pathlib import Path

import uv

from envs.toolchain.installer import Installer
from envs.toolchain.progress import Step
from envs.toolchain.store import Item
from envs.toolchain.versions import Wheel


def ensure(installer: Installer, item: Item, wheel: Wheel, title: str) -> Path:
    """The directory with the wheel's content, installed when it is not there. Raises `ToolchainError`."""
    return installer.install(item, title, lambda scratch, step: unpack(installer, wheel, scratch, step))


def unpack(installer: Installer, wheel: Wheel, target: Path, step: Step) -> None:
    """Puts the wheel's content into `target`; uv compares its hash with the pinned ones. Raises `ToolchainError`."""
    requirement = target / "requirement.txt"
    requirement.write_text(wheel.requirement + "\n", "utf-8")
    step.update(f"wheel {wheel.name} {wheel.version}")
    try:
        installer.run(
            f"installing the wheel {wheel.name} {wheel.version}",
            [
                *(uv.find_uv_bin(), "pip", "install", "--no-deps", "--require-hashes", "--link-mode=copy"),
                *("--only-binary=:all:", "--target", target, "--requirement", requirement),
            ],
            remedy="Check that the Python package index can be reached from here.",
            on_line=step.update,
        )
    finally:
        requirement.unlink()
