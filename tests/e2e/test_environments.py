"""Every environment's whole program in the emulated account: up, nothing to change, one change, down to nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, assert_nothing_left, fleetstream

pytestmark = pytest.mark.e2e

FOLLOWERS = {"dev": 1, "staging": 1, "prod": 3}
"""How many resources follow the change: the delivery stream, and in prod the load balancers, no longer protected."""


@pytest.fixture(params=list(FOLLOWERS))
def environment(request: pytest.FixtureRequest, name: str) -> Iterator[tuple[str, Path]]:
    """A stack file of this test's own, with the tracked one's content: tracked files never change."""
    own = f"{request.param}-{name}"
    path = ROOT / "envs" / f"Pulumi.{own}.yaml"
    path.write_text((ROOT / "envs" / f"Pulumi.{request.param}.yaml").read_text())
    yield own, path
    fleetstream("down", "--env", own, "--emulated", "--name", name)
    path.unlink()


@pytest.mark.timeout(600)
def test_an_environment_comes_up_stays_as_it_is_follows_its_settings_and_goes(
    environment: tuple[str, Path], name: str
) -> None:
    own, path = environment
    where = ("--env", own, "--emulated", "--name", name)

    made = fleetstream("up", *where)
    assert made.returncode == 0, made.stderr
    for verb in ("preview", "refresh"):
        same = fleetstream(verb, *where, "--expect-no-changes")
        assert same.returncode == 0, same.stdout + same.stderr

    settings = path.read_text().replace("protect_data: true", "protect_data: false")
    path.write_text(re.sub(r"( buffer_seconds:) \d+", r"\1 120", settings))
    shown = fleetstream("preview", *where)
    assert shown.returncode == 0, shown.stderr
    assert "nothing that keeps data is replaced or deleted" in shown.stderr
    followed = fleetstream("up", *where)
    assert followed.returncode == 0, followed.stderr
    changes = re.findall(
        r"(\d+) (created|updated|replaced|deleted)", followed.stderr.rpartition("pulumi up, stack")[2]
    )
    assert changes == [(str(FOLLOWERS[own.partition("-")[0]]), "updated")], followed.stderr

    gone = fleetstream("down", *where)
    assert gone.returncode == 0, gone.stderr
    assert "inventory of the emulated account: empty" in gone.stdout + gone.stderr
    assert_nothing_left(name)
