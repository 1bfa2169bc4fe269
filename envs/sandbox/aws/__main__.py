"""The AWS process of a sandbox: ``python -m envs.sandbox.aws --state-dir DIR --port N``."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from envs.errors import FleetstreamError
from envs.sandbox import account


def main(argv: list[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT. Exit code 0 for that, 1 with one line on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m envs.sandbox.aws", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's directory, with account.json")
    parser.add_argument("--port", type=int, required=True, help="where to listen on 127.0.0.1")
    parser.add_argument("--verbose", action="store_true", help="log every request")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("botocore", "boto3", "urllib3", "moto"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _leave)
    try:
        settings = account.load(arguments.state_dir)
        # moto is told which account to emulate, and the extensions where they stand, before moto is imported.
        os.environ["MOTO_ACCOUNT_ID"] = settings.account_id
        from envs.sandbox.aws import server

        server.serve(arguments.state_dir, settings, arguments.port)
    except FleetstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _leave(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Taking moto's objects apart one by one would cost seconds, and nothing of the account outlives the process.
    os._exit(code)
