"""What stands in for Microsoft's files of Service Fabric: files of their names, which say what they are not."""

from pathlib import Path

from services.fabric.packages import NAMES


def offer(folder: Path, version: str) -> Path:
    """Writes the files of a version into a folder, as if somebody had fetched them, and returns the folder.

    Machines of the sandbox fetch them from the bucket as Windows machines do, and run none of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / name.format(version)).write_text(f"In place of Microsoft's {name.format(version)}: not runnable.\n")
    return folder
