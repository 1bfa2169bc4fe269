"""Plays what stands behind the emulated EC2: the fleet's Windows machines, their Service Fabric cluster, its gateway.

``python -m envs.sandbox.fabric --state-dir DIR``. Ends on SIGTERM; what it knows is kept and taken up again.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from envs.errors import FleetstreamError
from envs.sandbox import account, processes
from envs.sandbox.aws.session import emulated_session
from envs.sandbox.aws.sts_client import AssumeRoleError
from envs.sandbox.fabric import entrances
from envs.sandbox.fabric.desk import Desk
from envs.sandbox.fabric.faults import FILE, Control, Faults
from envs.sandbox.fabric.gateway import Gateway, TlsFiles
from envs.sandbox.fabric.machines import Machines
from envs.sandbox.fabric.tls import write_tls
from envs.sandbox.fabric.world import Memory
from services.fabric.fleet import HTTP_PORT
from services.priority import step_back

log = logging.getLogger("fabric")

_BUSY_S: Final = 0.3
_IDLE_S: Final = 2.0
"""Between two looks: each costs some milliseconds of a processor that measurements share."""


class Player:
    """One sandbox's machines and cluster."""

    def __init__(self, state_dir: Path) -> None:
        settings = account.load(state_dir)
        self._state_dir = state_dir
        self._session = emulated_session(settings)
        self._desk = Desk(settings.endpoint)
        self._memory = Memory(state_dir)
        self._elbv2 = self._session.client("elbv2")
        self._entrances = entrances.Entrances(self._serve)
        self._faults = Faults()
        self._control = Control(self._faults)
        self._control.start()
        (state_dir / FILE).write_text(self._control.url)
        self._complained = ""
        self._enter(self._life())

    def step(self) -> bool:
        """One look and what follows from it. Returns whether something is changing."""
        changed = False
        try:
            if (life := self._life()) != self._world.account:
                log.info("the account begins anew, and with it its machines")
                self._leave()
                self._enter(life)
            changed = self._machines.look()
            with self._world.cluster.lock:
                self._world.cluster.tick()
                formed = self._world.cluster.formed
            wanted = entrances.deployed(self._elbv2, HTTP_PORT, self._machines.takes_part) if formed else ()
            self._entrances.update(wanted)
            self._complained = ""
        except (BotoCoreError, ClientError, AssumeRoleError, OSError) as error:
            if str(error) != self._complained:
                self._complained = str(error)
                log.warning("nothing is changed until this is over: %s", error)
        self._memory.keep(self._world)
        return changed

    def close(self) -> None:
        """Ends what it runs."""
        self._control.stop()
        self._leave()
        self._memory.keep(self._world)

    def _life(self) -> float:
        """Which life of the account this is: its process begins empty."""
        record = processes.find(self._state_dir, "aws")
        return record.started if record is not None else 0.0

    def _enter(self, life: float) -> None:
        self._world = self._memory.recall(life)
        self._machines = Machines(self._world, self._session, self._desk)

    def _leave(self) -> None:
        self._entrances.close()
        self._machines.close()

    def _serve(self, entrance: entrances.Entrance) -> Gateway:
        secured = self._world.cluster.configuration.secured
        files: TlsFiles | None = (
            write_tls(self._state_dir / "fabric" / "tls", self._machines.certificate()) if secured else None
        )
        return Gateway(self._world.cluster, entrance.address, entrance.port, files, faults=self._faults)


def main(argv: list[str] | None = None) -> int:
    """Plays until SIGTERM or SIGINT. Exit code 0 for that, 1 with one line on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m envs.sandbox.fabric", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's directory, with account.json")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Machines share clients: a connection more than a pool keeps is closed after use, which is no news.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # On AWS this work is done on other machines: here it steps back behind whatever is being measured.
    step_back()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        os.environ.update(account.environment(arguments.state_dir))
        player = Player(arguments.state_dir)
        while not stop.wait(_BUSY_S if player.step() else _IDLE_S):
            pass
        player.close()
    except FleetstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
