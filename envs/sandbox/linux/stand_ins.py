"""What Amazon Linux has and this machine may lack: the package manager, the AWS command line, mounting EFS.

``python stand_ins.py NAME ARGUMENT...``, as one file that needs boto3 only. Each does the one thing that the scripts
of this project ask of it, and refuses everything else by name.
"""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Final

PACKAGES: Final = frozenset({"amazon-efs-utils", "python3.11"})
"""Of Amazon Linux 2023's repositories, what stands in for them is here."""
FILES: Final = "FLEETSTREAM_EMULATED_FILES"
"""Names the folder in which each emulated file system is a folder."""
_OBJECT: Final = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)")
_OPTIONS: Final = re.compile(r"tls,iam,accesspoint=fsap-[0-9a-f]+")
_FILE_SYSTEM: Final = re.compile(r"(?P<id>fs-[0-9a-f]+):/")


class RefusedError(Exception):
    """Something that no script of this project asks for; the text says what."""


def install(folder: Path, interpreter: str, python: str, state_dir: Path) -> None:
    """Writes the commands into a folder: `interpreter` runs them, `python` is what ``python3.11`` stands for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _COMMANDS:
        script = (
            "#!/bin/sh\n"
            f"{FILES}={shlex.quote(str(state_dir / 'files'))} "
            f'exec {shlex.quote(interpreter)} {shlex.quote(__file__)} {name} "$@"\n'
        )
        _place(folder / name, lambda path, text=script: (path.write_text(text), path.chmod(0o755)))
    # Beside no virtual environment: it sees its standard library and what a script gives it.
    _place(folder / "python3.11", lambda path: path.symlink_to(Path(python).resolve()))


def _place(path: Path, make: object) -> None:
    """In one step: machines that start at once have the same tools."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    scratch.unlink(missing_ok=True)
    make(scratch)  # type: ignore[operator]
    scratch.replace(path)


def dnf(arguments: list[str]) -> None:
    """Installs nothing, and says so for a package that is not here."""
    match arguments:
        case ["install", "--assumeyes", "--quiet", *packages] if packages:
            if unknown := sorted(set(packages) - PACKAGES):
                raise RefusedError(f"no stand-in for the packages {', '.join(unknown)}")
        case _:
            raise RefusedError(f"{' '.join(arguments)}: only install --assumeyes --quiet is known")


def aws(arguments: list[str]) -> None:
    """Copies an object to a file."""
    match arguments:
        case ["s3", "cp", "--only-show-errors", "--region", region, source, target] if _OBJECT.fullmatch(source):
            import boto3

            found = _OBJECT.fullmatch(source)
            assert found is not None  # noqa: S101 (the case's own condition)
            boto3.client("s3", region_name=region).download_file(found["bucket"], found["key"], target)
        case _:
            raise RefusedError(f"{' '.join(arguments)}: only s3 cp of an object to a file is known")


def mount(arguments: list[str]) -> None:
    """An EFS file system is a folder that all machines of the sandbox share. Rights to it are not looked at."""
    match arguments:
        case ["-t", "efs", "-o", options, source, target] if _OPTIONS.fullmatch(options):
            found = _FILE_SYSTEM.fullmatch(source)
            if found is None:
                raise RefusedError(f"{source} is no EFS file system")
            folder = Path(os.environ[FILES]) / found["id"]
            folder.mkdir(parents=True, exist_ok=True)
            Path(target).rmdir()
            Path(target).symlink_to(folder)
        case _:
            raise RefusedError(f"{' '.join(arguments)}: only an EFS access point over TLS with IAM is known")


_COMMANDS: Final = {"aws": aws, "dnf": dnf, "mount": mount}


def main() -> int:
    """Runs one of them. Exit code 1 with a line on stderr when it refuses or fails."""
    name, *arguments = sys.argv[1:]
    try:
        _COMMANDS[name](arguments)
    except Exception as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
