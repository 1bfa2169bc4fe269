"""The cluster's verbs as a user meets them: what they print, write and exit with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from envs import cluster
from envs.cli import app
from envs.cluster import Place
from envs.errors import FleetstreamError, UsageError
from services.fabric.fleet import RETAINED
from tests.envs.sandbox.aws.emulated import Aws, running
from tests.services.fabric.fabric_samples import multi_machine
from tests.services.fabric.fleet_stage import QUICK, Stage, staged


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with running(tmp_path_factory.mktemp("aws")) as found:
        yield found


@pytest.fixture
def stage(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(aws, tmp_path) as found:
        monkeypatch.setattr(cluster, "open_place", lambda _environment: Place(found.fleet, found.clients))
        monkeypatch.setattr(cluster, "Limits", lambda: QUICK)
        yield found


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["cluster", *map(str, arguments)])


def written(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_configuration_that_keeps_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "ClusterConfig.json"
    file.write_text(json.dumps(multi_machine()), encoding="utf-8-sig")
    result = run("config", "--check", file, "--json", tmp_path / "out.json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "keeps all" in result.stderr
    assert "still to be filled in: properties.security" in result.stderr
    assert written(tmp_path / "out.json")["broken"] == []


def test_every_broken_rule_of_a_configuration_is_told(tmp_path: Path) -> None:
    found = multi_machine()
    found["nodes"].pop()
    found["properties"]["nodeTypes"][0]["httpGatewayEndpointPort"] = "0"
    file = tmp_path / "ClusterConfig.json"
    file.write_text(json.dumps(found))
    result = run("config", "--check", file, "--json", tmp_path / "out.json")
    assert result.exit_code == 1
    assert [one["rule"] for one in written(tmp_path / "out.json")["broken"]] == ["cluster-size", "endpoint-ports"]
    assert written(tmp_path / "out.json")["broken"][0]["source"].endswith("SettingsValidator.cs")
    assert "2 broken rules" in result.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [(b'{\n "name": }', "line 2, column 10"), (b"\xff\xfe\x00", "cannot be read as text")],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "ClusterConfig.json"
    file.write_bytes(content)
    result = run("config", "--check", file)
    assert isinstance(result.exception, FleetstreamError)
    assert told in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["config", "--check", "/no/such/file"], 2),
        (["upgrade", "--set"], 2),
        (["bootstrap", "--workers", "many"], 2),
    ],
)
def test_wrong_use_exits_with_2(arguments: list[str], code: int) -> None:
    assert run(*arguments).exit_code == code


@pytest.mark.parametrize(
    "arguments",
    [
        ["upgrade"],
        ["upgrade", "--set", "FabricDataRoot=x"],
        ["upgrade", "--set", "Setup/Root"],
        ["upgrade", "--set", "A/B=1", "--set", "A/B=2"],
        ["config", "--live", "--check", __file__],
    ],
)
def test_what_is_asked_wrongly_is_named(arguments: list[str]) -> None:
    assert isinstance(run(*arguments).exception, UsageError)


def test_the_help_has_examples() -> None:
    for verb in ("config", "bootstrap", "nodes", "reconcile", "upgrade", "dispose"):
        result = run(verb, "--help")
        assert result.exit_code == 0
        assert f"fleetstream cluster {verb}" in result.stdout


def test_a_clusters_life(stage: Stage, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    before = run("config")
    assert json.loads(before.stdout)["name"] == stage.fleet.cluster
    assert "[IssuerThumbprint]" in before.stdout, "there is no certificate yet"

    result = run("bootstrap", "--workers", "1", "--packages", stage.packages, "--json", out)
    assert result.exit_code == 0, result.output
    assert "3 seeds and 1 workers are Up" in result.stderr
    assert "the cluster is formed" in written(out)["changes"]
    assert "nothing to do" in run("bootstrap", "--workers", "1", "--packages", stage.packages).stderr
    assert "[IssuerThumbprint]" not in run("config").stdout
    assert json.loads(run("config", "--live").stdout)["Name"] == stage.fleet.cluster

    result = run("nodes", "--json", out)
    assert result.exit_code == 0, result.output
    nodes = {node["name"]: node for node in written(out)["nodes"]}
    assert {name: node["instance"]["id"] for name, node in nodes.items() if node["is_seed"]} == stage.ids
    assert written(out)["health"]["state"] == "Ok"
    assert "seed-0" in result.stderr

    assert run("reconcile").exit_code == 1, "the worker has joined and is not listed"
    result = run("reconcile", "--apply", "--json", out)
    assert (result.exit_code, written(out)["left"]) == (0, []), result.output
    assert [each["kind"] for each in written(out)["repaired"]] == ["membership"]
    assert run("reconcile").exit_code == 0

    result = run("upgrade", "--set", "Management/Name=value", "--dry-run", "--json", out)
    assert (result.exit_code, written(out)["changed"]) == (0, False)
    assert '"value"' in result.stderr
    result = run("upgrade", "--set", "Management/Name=value", "--json", out)
    assert (result.exit_code, written(out)["changed"]) == (0, True), result.output
    assert "nothing to do" in run("upgrade", "--set", "Management/Name=value").stderr

    assert run("dispose").exit_code == 0
    (worker,) = stage.workers()[:1]
    stage.states = {worker: RETAINED}
    result = run("dispose", "--json", out)
    assert (result.exit_code, written(out)["instances"][0]["ended"]) == (1, False)
    assert "the cluster still has its node" in result.stderr


def test_a_gateway_that_does_not_answer_is_told_with_its_place(stage: Stage) -> None:
    result = run("nodes")
    assert isinstance(result.exception, FleetstreamError)
    assert "has no client certificate yet: `fleetstream cluster bootstrap` makes one" in str(result.exception)
    from services.fabric.identity import Secrets

    Secrets(stage.clients.secretsmanager, stage.fleet).ensure(formed=False)
    result = run("nodes")
    assert isinstance(result.exception, FleetstreamError)
    assert f"https://{stage.fleet.management_address}:19080 does not answer" in str(result.exception)
    assert "inside the VPC" in str(result.exception)


class Running:
    """An environment whose stack has outputs, in the emulated account."""

    name = "sandbox"

    def __init__(self, aws: Aws, outputs: dict[str, Any]) -> None:
        self._aws = aws
        self._outputs = outputs

    def engine(self) -> "Running":
        return self

    def outputs(self) -> dict[str, Any]:
        return self._outputs

    def session(self) -> Any:
        return self._aws.session


def test_the_place_is_where_the_outputs_say(aws: Aws, tmp_path: Path) -> None:
    with staged(aws, tmp_path) as found:
        place = cluster.open_place(Running(aws, found.outputs))  # type: ignore[arg-type]
        assert place.fleet == found.fleet
        assert place.clients.ec2.meta.region_name == "us-east-1"
    with pytest.raises(FleetstreamError, match="`fleetstream up` the environment first"), cluster.told():
        cluster.open_place(Running(aws, {"region": "us-east-1"}))  # type: ignore[arg-type]


def test_what_aws_refuses_is_no_traceback(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(aws, tmp_path) as found:
        outputs = {**found.outputs["fleet"], "worker_group": "none", "configuration_bucket": "no-such-bucket"}
        place = cluster.open_place(Running(aws, {**found.outputs, "fleet": outputs}))  # type: ignore[arg-type]
        monkeypatch.setattr(cluster, "open_place", lambda _environment: place)
        result = run("bootstrap", "--packages", found.packages)
    assert isinstance(result.exception, FleetstreamError)
    assert "AWS: An error occurred (NoSuchBucket)" in str(result.exception)
