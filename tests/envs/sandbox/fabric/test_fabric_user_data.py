"""What a machine reads at its launch: this project's loader, and nothing else."""

import base64
import json
from pathlib import Path

import pytest

from envs.sandbox.fabric import user_data
from envs.sandbox.fabric.errors import MachineError

LOADER = (Path(__file__).resolve().parents[4] / "infra" / "user_data" / "loader.ps1").read_text()
SETTINGS = {
    "cluster": "fleet",
    "bucket": "scripts",
    "start": "seed.ps1",
    "scripts": [{"name": "seed.ps1", "key": "boot/1/seed.ps1", "sha256": "00"}],
}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def wrapped(script: str) -> str:
    return encoded(f"<powershell>\n{script}</powershell>\n")


def test_the_published_loader_is_understood() -> None:
    found = user_data.read(wrapped(LOADER.replace("{{settings}}", json.dumps(SETTINGS))))
    assert (found.bucket, found.start) == ("scripts", "seed.ps1")
    assert found.scripts == (user_data.Script("seed.ps1", "boot/1/seed.ps1", "00"),)
    assert found.text("cluster") == "fleet"
    with pytest.raises(MachineError, match="has no hook"):
        found.text("hook")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("not base64!", "no text in base64|not text in base64"),
        (encoded("echo hello"), "no <powershell> block"),
        (wrapped("Write-Output 'hello'"), "no other script can be run here"),
        (wrapped(LOADER.replace("{{settings}}", "{broken}")), "cannot be read"),
        (wrapped(LOADER.replace("{{settings}}", json.dumps({**SETTINGS, "scripts": [{}]}))), "cannot be read"),
        ("", "no <powershell> block"),
    ],
)
def test_anything_else_is_refused_by_what_is_wrong_with_it(given: str, told: str) -> None:
    with pytest.raises(MachineError, match=told):
        user_data.read(given)
