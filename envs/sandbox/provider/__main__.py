"""Runs the provider for one sandbox: ``python -m envs.sandbox.provider --state-dir DIR --port-file FILE``."""

import argparse
import logging
import os
import signal
from pathlib import Path

from envs.sandbox import account
from envs.sandbox.provider import journal
from envs.sandbox.provider.server import serve

_GRACE_S = 5.0


def main() -> None:
    """Serves until SIGTERM or SIGINT; the chosen port is in FILE once the engine can attach."""
    parser = argparse.ArgumentParser(prog="python -m envs.sandbox.provider", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's state directory")
    parser.add_argument("--port-file", type=Path, required=True, help="where to write the port")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    os.environ.update(account.environment(options.state_dir))

    # Blocked before the first other thread starts, which inherits it: they all leave these signals to `sigwait`.
    ending = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    serving = serve(account.load(options.state_dir).account_id, options.state_dir / journal.FILE)
    scratch = options.port_file.with_suffix(f".{os.getpid()}")
    scratch.write_text(f"{serving.port}\n")
    scratch.replace(options.port_file)
    logging.info("the aws provider answers on 127.0.0.1:%s", serving.port)
    signal.sigwait(ending)
    serving.stop(_GRACE_S)


if __name__ == "__main__":
    main()
