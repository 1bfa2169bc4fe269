"""The broker's settings and its compiled part, without a broker."""

import concurrent.futures
import logging
import shutil
from pathlib import Path

import pytest

from envs import toolchain
from envs.errors import FleetstreamError
from envs.sandbox import broker_handler
from envs.sandbox.broker_settings import SettingsError, parse, server_properties


def test_server_properties_are_read_as_msk_takes_them() -> None:
    text = "# comment\n\nnum.partitions=6\nlog.retention.hours = 24\nunclean.leader.election.enable: false\n"
    assert parse(text) == {
        "num.partitions": "6",
        "log.retention.hours": "24",
        "unclean.leader.election.enable": "false",
    }
    with pytest.raises(SettingsError, match=r"line 2: .*'num\.partitions'"):
        parse("a=1\nnum.partitions\n")


def test_deployed_settings_win_over_ours_and_replicas_are_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deployed = {"num.network.threads": "5", "min.insync.replicas": "2", "default.replication.factor": "1"}
    with caplog.at_level(logging.WARNING):
        settings = parse(server_properties(tmp_path, deployed, 1, 2, 3))

    assert settings["num.network.threads"] == "5"
    assert settings["min.insync.replicas"] == settings["offsets.topic.replication.factor"] == "1"
    assert settings["advertised.listeners"] == "CLIENT://localhost:1,INTERNAL://localhost:2"
    assert all("://127.0.0.1:" in each for each in settings["listeners"].split(","))
    assert [record.getMessage() for record in caplog.records] == [
        "min.insync.replicas = 2 is deployed; the sandbox has one broker and uses 1"
    ]


@pytest.mark.parametrize(
    "name",
    ["listeners", "log.dirs", "ssl.client.auth", "listener.name.client.ssl.client.auth", "super.users"],
)
def test_what_msk_manages_cannot_be_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"server property {name} is managed by MSK"):
        server_properties(tmp_path, {name: "x"}, 1, 2, 3)


def test_paths_are_written_as_java_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "Läufe"
    assert "log.dirs=" + str(folder / "data").replace("ä", "\\u00e4") in server_properties(folder, {}, 1, 2, 3)


def test_the_broker_s_part_is_compiled_once_by_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = toolchain.find()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(broker_handler.class_path, [tools, tools])
    compiled = first / "fleetstream" / "IamTokenHandler.class"
    made = compiled.stat().st_mtime_ns

    assert first == second == broker_handler.class_path(tools)
    assert compiled.stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_source_that_does_not_compile_is_shown_with_its_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = shutil.copytree(broker_handler.SOURCES, tmp_path / "kafka")
    source = sources / "IamTokenHandler.java"
    source.write_text(source.read_text().replace("refuse(callback, ", "refuze(callback, "))
    tools = toolchain.find()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(broker_handler, "SOURCES", sources)
    with pytest.raises(FleetstreamError, match="refuze"):
        broker_handler.class_path(tools)
    assert not list((tmp_path / "cache" / "fleetstream").iterdir())
