"""What an instance was told at its launch: the settings inside the loader that the program published as user data."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from envs.sandbox.fabric.errors import MachineError

_SETTINGS: Final = re.compile(r"^\s*\$settings\s*=\s*'(?P<json>\{.*\})'\s*\|\s*ConvertFrom-Json\s*$", re.MULTILINE)
_BLOCK: Final = re.compile(r"<powershell>(?P<script>.*)</powershell>", re.DOTALL)


@dataclass(frozen=True)
class Script:
    """A script that the loader fetches: an object of the bucket, and the digest that it must have."""

    name: str
    key: str
    sha256: str


@dataclass(frozen=True)
class Settings:
    """The loader's settings: where the scripts are, which one begins, and everything that is handed to it."""

    bucket: str
    start: str
    scripts: tuple[Script, ...]
    values: dict[str, Any]

    def text(self, name: str) -> str:
        """A value by its name. Raises `MachineError` when the loader was not given it."""
        try:
            return str(self.values[name])
        except KeyError:
            raise MachineError(f"the user data has no {name}") from None


def read(encoded: str) -> Settings:
    """The settings in an instance's user data (base64, as EC2 tells it).

    EC2Launch runs what stands between ``<powershell>`` tags (EC2 User Guide, "Run commands when you launch a Windows
    instance"); no Windows is here to run it, so only this project's loader is understood. Raises `MachineError`.
    """
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise MachineError(f"the user data is not text in base64: {error}") from error
    block = _BLOCK.search(text)
    if block is None:
        raise MachineError("the user data has no <powershell> block: EC2Launch would run nothing of it")
    found = _SETTINGS.search(block["script"])
    if found is None:
        raise MachineError("the user data is not the loader of infra/user_data: no other script can be run here")
    try:
        values = json.loads(found["json"])
        scripts = tuple(Script(each["name"], each["key"], each["sha256"]) for each in values["scripts"])
        return Settings(str(values["bucket"]), str(values["start"]), scripts, values)
    except (ValueError, KeyError, TypeError) as error:
        raise MachineError(f"the loader's settings cannot be read: {error!r}") from error
