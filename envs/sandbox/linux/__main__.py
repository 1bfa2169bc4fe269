"""Plays one Linux instance of the emulated EC2: runs its user data, then the commands that Systems Manager sends it.

``python -m envs.sandbox.linux --state-dir DIR --instance ID``. The agent starts it when the instance runs and ends it
with the instance. SIGTERM ends what it runs.
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
from envs.sandbox import account
from envs.sandbox.aws.session import emulated_session
from envs.sandbox.fabric.desk import Command, Desk
from envs.sandbox.fabric.errors import MachineError
from envs.sandbox.linux.machine import Machine, instance

log = logging.getLogger("host")

_REST_S: Final = 1.0
"""Between two questions for commands: each costs some milliseconds of a processor that measurements share."""


def main(argv: list[str] | None = None) -> int:
    """Plays until SIGTERM or SIGINT. Exit code 0 for that, 1 with one line on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m envs.sandbox.linux", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's directory, with account.json")
    parser.add_argument("--instance", required=True, help="the instance's id")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = account.load(arguments.state_dir)
        os.environ.update(account.environment(arguments.state_dir))
        found = instance(emulated_session(settings), arguments.instance)
        machine = Machine(found, arguments.state_dir, stop)
        machine.boot()
        _obey(machine, Desk(settings.endpoint), stop)
    except (FleetstreamError, BotoCoreError, ClientError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _obey(machine: Machine, desk: Desk, stop: threading.Event) -> None:
    """Reports, and carries out one command after the other."""
    desk.register(machine.instance.id)
    while not stop.wait(_REST_S):
        try:
            if (command := desk.next(machine.instance.id)) is None:
                continue
            _carry_out(command, machine, desk)
        except MachineError as error:
            log.warning("%s", error)


def _carry_out(command: Command, machine: Machine, desk: Desk) -> None:
    log.info("command %s begins", command.command_id)
    ended = machine.run(command, lambda: desk.status(command, machine.instance.id) == "Cancelling")
    log.info("command %s: %s, exit code %d", command.command_id, ended.status, ended.code)
    desk.result(command, machine.instance.id, ended.code, ended.output, ended.complaint, ended.status)


if __name__ == "__main__":
    sys.exit(main())
