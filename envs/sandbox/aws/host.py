"""What the extensions know of the sandbox they run in."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from envs.sandbox.account import Account


@dataclass(frozen=True)
class Host:
    """The sandbox of this AWS process. Configuration only: what AWS would remember is in moto's backends."""

    state_dir: Path
    account: Account

    def loopback_address(self, name: str) -> str:
        """An address of 127.64.0.0/10 for something that is reached by an address of its own.

        The same for the same name in the same sandbox; all of 127.0.0.0/8 is this machine.
        """
        first, second, third = hashlib.sha256(f"{self.state_dir}\0{name}".encode()).digest()[:3]
        return f"127.{64 + first % 64}.{second}.{1 + third % 254}"
