"""What the extensions know of the sandbox they run in."""

from dataclasses import dataclass
from pathlib import Path

from envs.sandbox.account import Account


@dataclass(frozen=True)
class Host:
    """The sandbox of this AWS process. Configuration only: what AWS would remember is in moto's backends."""

    state_dir: Path
    account: Account
