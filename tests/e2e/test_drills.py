"""All drills on one sandbox, shortened, as a user starts them: its cluster is formed once, and whole in the end."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envs.drills.catalogue import DRILLS
from tests.e2e.conftest import SANDBOXES, assert_nothing_left, fleetstream

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-drills"), pytest.mark.timeout(1500)]

NAME = f"drl{secrets.token_hex(3)}"
WORKERS = 2


@pytest.fixture(scope="module", autouse=True)
def taken_down() -> Iterator[None]:
    yield
    if (SANDBOXES / NAME).exists():
        fleetstream("down", "--name", NAME)


@pytest.fixture(scope="module")
def formed() -> None:
    """A cluster with fewer workers than most drills need."""
    up = fleetstream("up", "--name", NAME, timeout=600)
    assert up.returncode == 0, up.stderr
    early = fleetstream("drill", "lost-event", "--name", NAME)
    assert early.returncode == 1
    assert f"the cluster is not formed: `fleetstream cluster bootstrap --name {NAME}`" in early.stderr
    done = fleetstream("cluster", "bootstrap", "--name", NAME, "--workers", str(WORKERS), timeout=900)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def drills(formed: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of all drills."""
    path = tmp_path_factory.mktemp("drills") / "all.json"
    done = fleetstream("drill", "all", "--short", "--name", NAME, "--json", str(path), timeout=1200)
    assert path.exists(), done.stderr
    found = {drill["drill"]: drill for drill in json.loads(path.read_text())["drills"]}
    failed = {name: drill["reasons"] for name, drill in found.items() if not drill["passed"]}
    assert failed == {}, done.stderr
    assert done.returncode == 0, done.stderr
    return found


def test_every_drill_passes_and_sees_the_cluster_whole_in_the_end(drills: dict[str, dict[str, Any]]) -> None:
    assert list(drills) == [drill.name for drill in DRILLS]
    for name, drill in drills.items():
        figures = drill["figures"]
        assert figures["zombies"] == 0, name
        assert figures["seed_nodes"] == 5, name
        assert figures["seeds_up_lowest"] >= figures["quorum"] == 3, name
        assert [entry for entry in drill["timeline"] if entry["kind"] == "broken"] == [], name


def test_no_message_is_lost_while_half_of_the_workers_leave(drills: dict[str, dict[str, Any]]) -> None:
    drill = drills["scale-in"]
    messages = drill["figures"]["messages"]
    assert messages["attempted"] == messages["acked"] == messages["consumed"] > 0
    assert messages["lost"] == 0
    assert drill["figures"]["removed"] == 3
    gone = [entry["subject"] for entry in drill["timeline"] if (entry["kind"], entry["text"]) == ("status", "gone")]
    assert len(set(gone)) == len(gone) == 3
    assert drill["figures"]["seconds_a_node_max"] >= drill["figures"]["seconds_a_node_median"] > 0


def test_the_function_was_killed_after_everything_that_it_changes(drills: dict[str, dict[str, Any]]) -> None:
    assert drills["crash-each-step"]["figures"]["kills"] == 6
    assert drills["crash-each-step"]["figures"]["removed"] == 1


def test_a_seed_comes_back_at_its_address_on_its_disk_or_on_one_from_a_snapshot(
    drills: dict[str, dict[str, Any]],
) -> None:
    lost, without_disk = drills["seed-loss"]["figures"], drills["seed-volume-loss"]["figures"]
    assert lost["node"] == without_disk["node"]
    assert lost["address"] == without_disk["address"]
    assert lost["disk"] != without_disk["disk"]
    assert lost["seeds_up_lowest"] == without_disk["seeds_up_lowest"] == 4


def test_the_environment_is_as_it_was(drills: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    nodes = tmp_path / "nodes.json"
    shown = fleetstream("cluster", "nodes", "--name", NAME, "--json", str(nodes))
    assert shown.returncode == 0, shown.stderr
    found = json.loads(nodes.read_text())["nodes"]
    assert [node["status"] for node in found] == ["Up"] * (5 + WORKERS)
    # The configuration of the last upgrade still lists who has left since: the next upgrade, or this, puts it right.
    agreed = fleetstream("cluster", "reconcile", "--apply", "--name", NAME)
    assert agreed.returncode == 0, agreed.stderr


def test_down_leaves_nothing(drills: dict[str, dict[str, Any]]) -> None:
    done = fleetstream("down", "--name", NAME, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "inventory of the emulated account: empty" in done.stderr
    assert_nothing_left(NAME)
