"""Every environment's whole program in the emulated account: up, nothing to change, one change, down to nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs import flows
from envs.environment import select
from envs.facts import Fact, Rule
from envs.reachability import ANYWHERE, Account, Flow, Group, NoWayError
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
    fleetstream("down", "--env", own, "--emulated", "--name", name, "--confirm", own)
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

    shown = fleetstream("flows", *where)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert_flows(own, name)

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

    if "confirm_down: true" in path.read_text():
        refused = fleetstream("down", *where)
        assert refused.returncode == 2
        assert f"--confirm {own}" in refused.stderr
        assert fleetstream("status", *where).returncode == 0
    gone = fleetstream("down", *where, "--confirm", own)
    assert gone.returncode == 0, gone.stderr
    assert "inventory of the emulated account: empty" in gone.stdout + gone.stderr
    assert_nothing_left(name)


def assert_flows(own: str, name: str) -> None:
    """Every flow is as it must be; without what its way needs there is none, and a rule too many is found."""
    account, declared = flows.read(select(own, emulated=True, sandbox_name=name))
    assert [one for one in flows.judge(account, declared) if not one.right] == []

    for flow in flows.parse(declared["wanted"]):
        for kind in {type(fact) for fact in account.way(flow)}:
            assert_needed(account, flow, kind)

    wide = {too_wide(group, way_out) for group in account.names.values() for way_out in (True, False)}
    opened = Account(account.facts | wide, account.names)
    wrong = [one.flow for one in flows.judge(opened, declared) if not one.right]
    assert wrong == [str(flow) for flow in flows.parse(declared["unwanted"]) if isinstance(flow.target, Group)]


def assert_needed(account: Account, flow: Flow, kind: type[Fact]) -> None:
    """A flow has no way once all facts of a kind that it could use are gone."""
    while True:
        try:
            way = account.way(flow)
        except NoWayError:
            return
        used = [fact for fact in way if isinstance(fact, kind)]
        assert used, f"{flow} needs no {kind.__name__}: {way}"
        for fact in used:
            account = account.without(fact)


def too_wide(group: str, egress: bool) -> Rule:
    """A rule that lets everybody in, or out to everywhere."""
    return Rule(f"sgr-{group}-{egress}", group, egress, "-1", -1, -1, ANYWHERE)
