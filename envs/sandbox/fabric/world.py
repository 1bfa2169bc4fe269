"""What outlives the process that plays it: the cluster, and what the machines' disks hold.

Written after each change and read at the next start, so that a killed process loses nothing; it belongs to one life
of the emulated account, whose instances and volumes it speaks of.
"""

import os
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path

from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.timings import Timings
from envs.sandbox.fabric.user_data import Settings

_PACE = 0.01
"""Nobody waits minutes for a sandbox: its cluster takes a hundredth of the time."""


@dataclass(frozen=True)
class DataRoot:
    """The data root of a node, on a data volume: it is what makes a machine that node."""

    node: str
    cluster: str
    version: str
    emptied_after: str = ""
    """The snapshot that its stale replicas came from, once they were thrown away."""


@dataclass
class Installation:
    """What the scripts have made of one machine; all of it is on its system disk and goes with it."""

    settings: Settings
    administrator: tuple[str, str] | None = None
    """User name and password."""
    certificate: bytes = b""
    """PFX."""
    data_volume: str = ""
    remote_registry: bool = False
    started: bool = False
    """Whether the script that the user data begins has come to its end, which it does once in a machine's life."""
    failure: str = ""


@dataclass
class World:
    """Everything that is remembered."""

    account: float
    cluster: Cluster = field(default_factory=lambda: Cluster(time.time, Timings().scaled(_PACE)))
    roots: dict[str, DataRoot] = field(default_factory=dict)
    """By volume."""
    snapshots: dict[str, DataRoot | None] = field(default_factory=dict)
    """What was on the volume when the snapshot was first seen."""
    installations: dict[str, Installation] = field(default_factory=dict)
    """By instance."""


class Memory:
    """The file of one sandbox's world."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "fabric" / "world"
        self._written = b""

    def recall(self, account: float) -> World:
        """The world of this life of the account; an empty one when there is none yet."""
        try:
            self._written = self._path.read_bytes()
        except FileNotFoundError:
            return World(account)
        world: World = pickle.loads(self._written)  # noqa: S301 (our own file, readable by its owner only)
        return world if world.account == account else World(account)

    def keep(self, world: World) -> None:
        """Writes the world, whole or not at all, when it has changed."""
        with world.cluster.lock:
            content = pickle.dumps(world)
        if content == self._written:
            return
        self._path.parent.mkdir(exist_ok=True)
        scratch = self._path.with_suffix(f".{os.getpid()}")
        scratch.touch(mode=0o600)
        scratch.write_bytes(content)
        scratch.replace(self._path)
        self._written = content
