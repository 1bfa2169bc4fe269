"""Load from several hosts, the whole way: group, user data, Run Command, producers, reports in S3, one account."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SANDBOXES, Background, fleetstream, marked

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-simulate"), pytest.mark.timeout(900)]

SETTLED = (0, 3)
"""It works; whether a service level was met is the machine's affair."""


def simulate(name: str, result: Path, *more: str) -> tuple[int, dict[str, Any]]:
    done = fleetstream("simulate", "--name", name, "--warm-up", "1", "--json", str(result), *more)
    assert result.exists(), done.stderr
    return done.returncode, json.loads(result.read_text())


def test_two_hosts_make_one_load_that_is_accounted_for_and_leave(
    name: str, tmp_path: Path, background: Callable[..., Background]
) -> None:
    made = fleetstream("up", "--name", name, timeout=400)
    assert made.returncode == 0, made.stderr

    code, here = simulate(name, tmp_path / "here.json", "--rate", "200", "--seconds", "2")
    assert code in SETTLED, here
    assert (here["messages"]["attempted"], here["messages"]["acked"]) == (400, 400)

    drives = [tmp_path / f"drive{number}.csv" for number in range(2)]
    for drive in drives:
        drive.write_text("rpm\n" + "".join(f"{row}\n" for row in range(5)))
    code, found = simulate(
        *(name, tmp_path / "hosts.json", "--hosts", "2", "--keep-hosts", "--rate", "200", "--seconds", "3"),
        *("--replay", str(drives[0]), "--replay", str(drives[1])),
    )
    assert code in SETTLED, found
    messages = found["messages"]
    assert (messages["attempted"], messages["acked"], messages["consumed"]) == (600, 600, 600)
    assert (messages["lost"], messages["duplicates"]) == (0, 0)
    assert (found["hosts"], found["silent"], found["problems"]) == (2, [], [])
    assert found["latency_ms"]["max"] > 0
    assert len(found["clocks"]) == 2
    # Raw results are where all hosts see them.
    shared = SANDBOXES / name / "files"
    assert len(list(shared.rglob("*.journal"))) == 2
    assert {path.name for path in shared.rglob("recordings/*")} == {drive.name for drive in drives}

    running = background(
        *("simulate", "--name", name, "--hosts", "2", "--rate", "200", "--seconds", "120", "--warm-up", "0"),
        *("--json", str(tmp_path / "partial.json")),
    )
    # Once both hosts send, and are not through yet.
    running.wait_for_match(r"(?<!, )load: [1-9][0-9,]* acked")
    assert running.end() == 130
    partial = json.loads((tmp_path / "partial.json").read_text())
    messages = partial["messages"]
    assert messages["attempted"] == messages["acked"] + messages["rejected"] + messages["unknown"]
    assert 0 < messages["attempted"] < 24_000
    assert messages["lost"] == 0
    assert not partial["complete"]

    gone = fleetstream("down", "--name", name)
    assert gone.returncode == 0, gone.stderr
    assert marked(name) == []
