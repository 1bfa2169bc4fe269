"""Looks at the cluster and its groups all the time, beside whatever the drill does."""

import threading
from collections.abc import Callable
from typing import Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from envs.cluster import Place
from envs.drills.judge import Judge, Look
from envs.errors import FleetstreamError
from services.fabric import fleet as machinery
from services.fabric.client import Gateway, Patience
from services.fabric.errors import FabricServiceError

HASTE: Final = Patience(connect_s=2, read_s=5, attempts=1)
"""A look that takes long is no look at one moment."""


class Watch:
    """A thread that looks until the block is left; the last look is taken after that."""

    def __init__(self, look: Callable[[], Look], judge: Judge, pause_s: float) -> None:
        self.judge = judge
        self._look = look
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="drill-watch", daemon=True)

    def __enter__(self) -> Self:
        self.now()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def now(self) -> Look:
        """Looks, judges, and returns what there is to see."""
        with self._lock:
            found = self._look()
            self.judge.take(found)
        return found

    def check(self) -> None:
        """Raises `FleetstreamError` when nobody looks any more."""
        if self._failed is not None:
            raise FleetstreamError(f"the drill could not be watched: {self._failed}") from self._failed

    def _run(self) -> None:
        while not self._over.wait(self._pause_s):
            try:
                self.now()
            except (ClientError, BotoCoreError, FabricServiceError) as error:
                # AWS is asked several times before it counts as failed: a look would be missing for long.
                self._failed = error
                return


def looking(place: Place, gateway: Gateway) -> Callable[[], Look]:
    """What takes a look at an environment's fleet."""
    fleet, clients = place.fleet, place.clients
    groups = [fleet.worker_group, *(seed.group for seed in fleet.seeds.values())]

    def look() -> Look:
        members = machinery.members(clients.autoscaling, groups)
        names = {
            machine.id: machine.node
            for machine in machinery.machines(clients.ec2, fleet.cluster)
            if machine.node and machine.id in members
        }
        try:
            return Look(members, names, gateway.nodes())
        except FabricServiceError as error:
            return Look(members, names, None, str(error))

    return look
