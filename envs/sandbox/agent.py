"""Executes what is deployed: looks at the emulated AWS; starts and stops broker, delivery streams and Linux hosts.

``python -m envs.sandbox.agent --state-dir DIR``. On AWS the services themselves do this. SIGTERM ends the delivery
streams, after they have delivered what they hold, the hosts, and the agent; the broker goes on.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from envs import toolchain
from envs.errors import FleetstreamError
from envs.sandbox import account, broker, broker_settings, processes
from envs.sandbox.agent_plan import (
    Action,
    Actual,
    Assign,
    Cluster,
    DeleteLogs,
    Desired,
    KeepLogs,
    Owner,
    Process,
    StartBroker,
    StartHost,
    StartStream,
    StopBroker,
    StopHost,
    StopStream,
    plan,
)
from envs.sandbox.linux.machine import folder

log = logging.getLogger("agent")

_BUSY_S: Final = 0.3
"""Between two looks while something changes."""
_IDLE_S: Final = 1.0
"""Between two looks otherwise: each costs some milliseconds of a processor that measurements share."""
_LONGEST_REST_S: Final = 30.0
_HEALTHY_S: Final = 60.0
"""A process that ran this long starts again without a rest."""
_STARTS: Final = 3
"""So many starts that fail in a row make a failed cluster."""
_DELIVERY: Final = "delivery-"
_HOST: Final = "host-"
_HOST_ROLES: Final = ["simulator"]
"""The tag `role` of the instances that run Linux."""
_GRACE_S: Final = 8.0


class Backoff:
    """How long to leave something alone after it failed: 1, 2, 4 ... seconds, up to `_LONGEST_REST_S`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: dict[str, tuple[int, float]] = {}

    def tried(self, name: str) -> None:
        """Notes a start: the next one within a minute has to wait."""
        count, since = self._tries.get(name, (0, self._clock()))
        count = 0 if self._clock() - since > _HEALTHY_S else count
        self._tries[name] = (count + 1, self._clock())

    def rests(self, name: str) -> bool:
        """Whether it is too early for the next start."""
        count, since = self._tries.get(name, (0, 0.0))
        return count > 0 and self._clock() - since < min(2.0 ** (count - 1), _LONGEST_REST_S)

    def count(self, name: str) -> int:
        """How often it was tried in a row."""
        return self._tries.get(name, (0, 0.0))[0]

    def forget(self, name: str) -> None:
        """What was stopped on purpose starts at once."""
        self._tries.pop(name, None)


class Agent:
    """One sandbox's agent."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._owner_file = broker.folder(state_dir) / "owner.json"
        self._backoff = Backoff()
        self._reported: set[str] = set()
        self._revisions: dict[tuple[str, int], dict[str, str]] = {}
        quick = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1})
        self._msk = boto3.client("kafka", config=quick)
        self._firehose = boto3.client("firehose", config=quick)
        self._ec2 = boto3.client("ec2", config=quick)

    def run(self) -> NoReturn:
        """Looks and acts until the process is told to end."""
        while True:
            time.sleep(_BUSY_S if self.step() else _IDLE_S)

    def step(self) -> bool:
        """One look and what follows from it. Returns whether something is changing."""
        try:
            desired = self.look()
        except (BotoCoreError, ClientError) as error:
            self._report("aws", f"the emulated AWS cannot be read, nothing is changed until it can: {error}")
            return False
        except broker_settings.SettingsError as error:
            self._report("configuration", f"the deployed broker configuration cannot be used: {error}")
            return False
        self._recovered("aws")
        self._recovered("configuration")
        if desired is None:
            return True
        actions = plan(desired, self.actual())
        for action in actions:
            if not self.carry_out(action):
                break
        return bool(actions) or (desired.cluster is not None and desired.cluster.deleting)

    def look(self) -> Desired | None:
        """What is deployed now; None when the account's process was another one before the look than after it."""
        before = self._account()
        found = self._msk.get_paginator("list_clusters_v2").paginate().build_full_result()["ClusterInfoList"]
        streams = frozenset(name for name in self._stream_names() if self._delivers(name))
        hosts = frozenset(self._instances())
        desired = Desired(before, self._cluster(found[0]) if found else None, streams, hosts)
        return desired if self._account() == before else None

    def actual(self) -> Actual:
        """What is on this machine now."""
        died = processes.find(self._state_dir, broker.ROLE) is not None
        running = processes.alive(self._state_dir, broker.ROLE)
        state = Process.RUNNING if running else Process.DIED if died else Process.ABSENT
        if state is Process.DIED:
            tail = processes.log_tail(self._state_dir, broker.ROLE, 5)
            self._report(
                broker.ROLE, f"the broker died; `fleetstream recover` starts it again. Its last lines:\n{tail}"
            )
        else:
            self._recovered(broker.ROLE)
        return Actual(state, self._owner(), *self._played(_DELIVERY), *self._played(_HOST))

    def carry_out(self, action: Action) -> bool:
        """Does one thing. Returns whether it worked, so that what builds on it can follow."""
        match action:
            case StopBroker():
                log.info("stopping the broker")
                broker.stop(self._state_dir)
            case DeleteLogs():
                log.info("deleting the broker's logs: their cluster was deleted")
                broker.delete_logs(self._state_dir)
                self._owner_file.unlink(missing_ok=True)
                self._survivors_file.unlink(missing_ok=True)
            case KeepLogs(account=life):
                names = survivors(broker.folder(self._state_dir) / "data")
                log.info("the broker's logs outlived their account, with the topics %s", ", ".join(names) or "(none)")
                _write_json(self._survivors_file, names)
                owner = self._owner()
                self._assign(Owner(life, None, owner.properties if owner else {}))
            case Assign(owner=owner):
                self._assign(owner)
            case StartBroker(properties=properties):
                return self._start_broker(dict(properties))
            case StartStream(name=name):
                self._start(_DELIVERY, name, "envs.sandbox.firehose", "--stream")
            case StopStream(name=name):
                log.info("stopping delivery stream %s", name)
                processes.stop(self._state_dir, _DELIVERY + name, grace=30)
                self._backoff.forget(_DELIVERY + name)
            case StartHost(instance=instance):
                self._start(_HOST, instance, "envs.sandbox.linux", "--instance")
            case StopHost(instance=instance):
                log.info("instance %s has ended, and what ran on it", instance)
                processes.stop(self._state_dir, _HOST + instance)
                shutil.rmtree(folder(self._state_dir, instance), ignore_errors=True)
                self._backoff.forget(_HOST + instance)
        return True

    def close(self) -> None:
        """Ends all delivery streams at once, each after it delivered what it holds, and all hosts."""
        records = [*self._records(_DELIVERY), *self._records(_HOST)]
        processes.end([process for record in records if (process := record.process()) is not None], _GRACE_S)
        for record in records:
            processes.stop(self._state_dir, record.role)

    def _records(self, kind: str) -> list[processes.Record]:
        return [record for record in processes.records(self._state_dir) if record.role.startswith(kind)]

    def _played(self, kind: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """The processes of a kind by what they play: those that run, that ended, and that wait for their start."""
        found = {record.role.removeprefix(kind): record.process() for record in self._records(kind)}
        alive = frozenset(name for name, process in found.items() if process is not None)
        resting = frozenset(name for name in found if self._backoff.rests(kind + name))
        return alive, frozenset(found) - alive, resting

    @property
    def _survivors_file(self) -> Path:
        return broker.folder(self._state_dir) / "survivors.json"

    def _start_broker(self, properties: dict[str, str]) -> bool:
        if self._backoff.rests(broker.ROLE):
            return False
        self._backoff.tried(broker.ROLE)
        owner = self._owner()
        port = account.load(self._state_dir).kafka_port
        began = time.monotonic()
        try:
            broker.start(self._state_dir, port, properties, toolchain.find())
        except FleetstreamError as error:
            log.error("the broker does not start: %s", error)
            if self._backoff.count(broker.ROLE) >= _STARTS and owner is not None and owner.cluster is not None:
                broker.note_failure(self._state_dir, owner.cluster, str(error))
            return False
        self._backoff.forget(broker.ROLE)
        log.info("the broker serves on port %d, after %.1f s", port, time.monotonic() - began)
        return True

    def _start(self, kind: str, name: str, module: str, option: str) -> None:
        role = kind + name
        if processes.find(self._state_dir, role) is not None:
            log.warning("%s ended. Its last lines:\n%s", role, processes.log_tail(self._state_dir, role, 5))
        self._backoff.tried(role)
        argv = [sys.executable, "-m", module, "--state-dir", str(self._state_dir), option, name]
        log.info("starting %s", role)
        processes.spawn(self._state_dir, role, argv, env=account.environment(self._state_dir))

    def _cluster(self, found: dict[str, Any]) -> Cluster:
        software = found["Provisioned"].get("CurrentBrokerSoftwareInfo", {})
        properties: dict[str, str] = {}
        if arn := software.get("ConfigurationArn"):
            properties = self._revision(arn, software["ConfigurationRevision"])
        return Cluster(found["ClusterArn"], found["State"] == "DELETING", properties)

    def _revision(self, arn: str, number: int) -> dict[str, str]:
        # A revision never changes: it is read once.
        if (arn, number) not in self._revisions:
            answer = self._msk.describe_configuration_revision(Arn=arn, Revision=number)
            self._revisions[arn, number] = broker_settings.parse(answer["ServerProperties"].decode())
        return self._revisions[arn, number]

    def _stream_names(self) -> list[str]:
        names: list[str] = []
        more: dict[str, Any] = {}
        while True:
            page = self._firehose.list_delivery_streams(DeliveryStreamType="MSKAsSource", **more)
            names += page["DeliveryStreamNames"]
            if not page["HasMoreDeliveryStreams"] or not page["DeliveryStreamNames"]:
                return names
            more = {"ExclusiveStartDeliveryStreamName": names[-1]}

    def _delivers(self, name: str) -> bool:
        description = self._firehose.describe_delivery_stream(DeliveryStreamName=name)
        return description["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE"

    def _instances(self) -> Iterator[str]:
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[
                {"Name": "instance-state-name", "Values": ["running"]},
                {"Name": "tag:role", "Values": _HOST_ROLES},
            ]
        )
        for page in pages:
            for reservation in page["Reservations"]:
                yield from (each["InstanceId"] for each in reservation["Instances"])

    def _account(self) -> float:
        record = processes.find(self._state_dir, "aws")
        return record.started if record is not None else 0.0

    def _owner(self) -> Owner | None:
        try:
            content = json.loads(self._owner_file.read_bytes())
        except FileNotFoundError:
            return None
        return Owner(content["account"], content["cluster"], content["properties"])

    def _assign(self, owner: Owner) -> None:
        content = {"account": owner.account, "cluster": owner.cluster, "properties": dict(owner.properties)}
        _write_json(self._owner_file, content)

    def _report(self, what: str, text: str) -> None:
        """Says it once, not at every look."""
        if what not in self._reported:
            self._reported.add(what)
            log.warning("%s", text)

    def _recovered(self, what: str) -> None:
        if what in self._reported:
            self._reported.discard(what)
            log.info("%s is back", what)


def survivors(data: Path) -> list[str]:
    """The topics that a broker's log folder holds, Kafka's own left out; the broker need not run."""
    if not data.is_dir():
        return []
    folders = (path.name.rpartition("-") for path in data.iterdir() if path.is_dir())
    return sorted({topic for topic, _, number in folders if number.isdigit() and not topic.startswith("__")})


def main(argv: list[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Exit code 0 for that, 1 with one line on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m envs.sandbox.agent", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's directory, with account.json")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _leave)
    try:
        os.environ.update(account.environment(arguments.state_dir))
        agent = Agent(arguments.state_dir)
        try:
            agent.run()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            agent.close()
    except FleetstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _leave(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(content))
    scratch.replace(path)


if __name__ == "__main__":
    sys.exit(main())
