"""Developers' own stacks: the settings that are written, what is refused, and which ones are over."""

import ipaddress
import json
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from typer.testing import CliRunner

from envs import cli, project, stacks
from envs.errors import FleetstreamError, UsageError
from infra.environment import tags
from infra.settings import load

TODAY = date(2026, 11, 21)
ME = "ann@example.com"
TRACKED = project.STACK_FILES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of the tracked stack files, in the place of the real one."""
    for name in stacks.TRACKED:
        shutil.copy(TRACKED / f"Pulumi.{name}.yaml", tmp_path)
    monkeypatch.setattr(project, "STACK_FILES", tmp_path)
    return tmp_path


def made(name: str, **more: Any) -> dict[str, str]:
    """A new stack's configuration, as Pulumi hands it to the program."""
    chosen = {"owner": ME, "email": None, "days": 14, "budget_usd": 400, "today": TODAY, **more}
    content = yaml.safe_load(stacks.new(name, **chosen).read_text())["config"]
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}


def cidr(config: dict[str, str]) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(load(config)[0].network.cidr)


def test_a_new_stack_is_small_and_has_an_owner_a_last_day_and_a_budget(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    settings, region = load(made("ann"))
    sandbox, _ = load(_config("sandbox"))
    assert region == "eu-central-1"
    assert settings.account is None
    assert settings.owner == ME
    assert settings.streaming == sandbox.streaming
    keep = settings.operations
    assert (keep.expires, keep.monthly_budget_usd, keep.budget_email) == (date(2026, 12, 5), 400, ME)
    assert keep.disposable
    assert settings.monitoring.alarm_emails == (ME,)
    written = (folder / "Pulumi.ann.yaml").read_text()
    assert "sandbox@" not in written, "somebody else would be told"
    assert "10.10." not in written, "the range of the sandbox is not this stack's"
    assert tags("ann", settings)["expires"] == "2026-12-05"
    assert {name: (folder / name).read_bytes() for name in before} == before


def _config(name: str) -> dict[str, str]:
    content = yaml.safe_load((TRACKED / f"Pulumi.{name}.yaml").read_text())["config"]
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}


def test_stacks_get_ranges_of_their_own(folder: Path) -> None:
    found = [cidr(made(name)) for name in ("ann", "bob", "eve")]
    found += [cidr(_config(name)) for name in stacks.TRACKED]
    assert not any(one.overlaps(other) for at, one in enumerate(found) for other in found[:at])


def test_a_range_that_was_given_back_is_taken_again(folder: Path) -> None:
    first = cidr(made("ann"))
    made("bob")
    (folder / "Pulumi.ann.yaml").unlink()
    assert cidr(made("eve")) == first


def test_there_is_an_end_of_ranges() -> None:
    with pytest.raises(FleetstreamError, match=r"every range in .* is taken"):
        stacks.free_range([stacks.POOL])
    assert stacks.free_range([]).subnet_of(stacks.POOL)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *((name, "would pass for a part of the environment") for name in ("dev", "prod", "sandbox", "prod-2")),
        *(
            (name, "is no name for a stack")
            for name in ("", "a", "Ann", "1st", "a_b", "a--b", "ann-", "a/../b", "a" * 21)
        ),
        ("bob", "there is an environment 'bob' already"),
    ],
)
def test_bad_names_are_refused(folder: Path, name: str, told: str) -> None:
    made("bob")
    with pytest.raises(UsageError, match=told):
        made(name)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"days": 0}, "1 to 90"),
        ({"days": 91}, "1 to 90"),
        ({"budget_usd": 0}, "at least 1 USD"),
        ({"owner": "a;b"}, "as in AWS's tags"),
        ({"owner": "x" * 65}, "as in AWS's tags"),
        ({"email": "nobody"}, "name an address with --email"),
    ],
)
def test_other_wrong_use_is_refused_and_writes_nothing(folder: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        made("ann", **more)
    assert not (folder / "Pulumi.ann.yaml").exists()


def test_the_owner_is_whom_git_knows(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "config", "user.email", "git@example.com"], check=True)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    settings, _ = load(made("ann", owner=None))
    assert (settings.owner, settings.operations.budget_email) == ("git@example.com", "git@example.com")
    team, _ = load(made("bob", owner="team blue"))
    assert (team.owner, team.operations.budget_email) == ("team blue", "git@example.com")


def test_without_an_owner_there_is_no_stack(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setattr(project, "ROOT", tmp_path)
    with pytest.raises(UsageError, match="say who with --owner"):
        made("ann", owner=None)


def test_a_stack_is_over_the_day_after_its_last(folder: Path) -> None:
    made("ann", days=1)
    made("bob", days=2)
    assert stacks.by_files(date(2026, 11, 22)) == []
    (over,) = stacks.by_files(date(2026, 11, 23))
    assert (over.name, over.owner, over.last_day) == ("ann", ME, date(2026, 11, 22))


def test_a_last_day_without_quotes_counts_and_nonsense_is_named(folder: Path) -> None:
    path = folder / "Pulumi.ann.yaml"
    made("ann", days=1)
    text = path.read_text()
    path.write_text(text.replace("'2026-11-22'", "2026-11-22"))
    assert [each.name for each in stacks.by_files(date(2026, 12, 1))] == ["ann"]
    path.write_text(text.replace("'2026-11-22'", "soon"))
    with pytest.raises(FleetstreamError, match=r"Pulumi.ann.yaml: operations.expires: 'soon' is no day"):
        stacks.by_files(TODAY)


def test_an_account_tells_by_tags_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        kms = boto3.client("kms", region_name="eu-central-1")

        def key(environment: str, **more: str) -> None:
            told = {"project": "fleetstream", "environment": environment, "owner": ME, **more}
            kms.create_key(Tags=[{"TagKey": name, "TagValue": value} for name, value in told.items()])

        key("ann", expires="2026-11-20")
        key("ann", expires="2026-11-20")
        key("bob", expires="2026-11-21")
        key("odd", expires="soon")
        key("prod")
        key("foreign", project="another", expires="2020-01-01")
        found = stacks.by_tags(boto3.Session(), "eu-central-1", TODAY)
    assert [(each.name, each.last_day, each.resources) for each in found] == [
        ("ann", date(2026, 11, 20), 2),
        ("odd", date.min, 1),
    ]


def run(*arguments: str) -> int:
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code


def test_the_command_lists_what_is_over_and_says_so_by_its_exit_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETSTREAM_BUILD_DIR", str(tmp_path / "build"))
    assert run("env", "new", "ann", "--owner", ME, "--days", "7") == 0
    report = tmp_path / "report.json"
    assert run("env", "expired", "--emulated", "--json", str(report)) == 0
    assert json.loads(report.read_text()) == {"expired": [], "not_asked": ["no sandbox runs"]}
    made("bob", days=1, today=date(2020, 1, 1))
    assert run("env", "expired", "--emulated", "--json", str(report)) == 1
    (over,) = json.loads(report.read_text())["expired"]
    assert (over["name"], over["last_day"], over["resources"]) == ("bob", "2020-01-02", None)
    assert (folder / "Pulumi.bob.yaml").exists()


def test_without_credentials_aws_is_not_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    assert stacks.expired(False, TODAY) == ([], ["AWS was not asked: nobody is signed in"])
