"""One Windows machine: what it holds, whom it can ask, and how its scripts and commands are carried out."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import boto3

from envs.sandbox.fabric import commands, scripts, user_data
from envs.sandbox.fabric.desk import Desk
from envs.sandbox.fabric.errors import FabricError, MachineError
from envs.sandbox.fabric.world import Installation, World

log = logging.getLogger("fabric")

_LOOK_S: Final = 0.5
"""Between two looks at what is waited for."""
_REST_S: Final = 1.5
"""Between two questions for commands."""
_Found = TypeVar("_Found")


class PoweredOffError(Exception):
    """The machine ended, and with it whatever it was doing."""


@dataclass(frozen=True)
class Instance:
    """What EC2 says of a machine."""

    id: str
    address: str
    zone: str
    role: str
    """ARN of its instance profile's role; empty without one."""
    user_data: str
    """In base64."""


class Machine:
    """One machine that is switched on. Its work is done in a thread of its own until it is switched off."""

    def __init__(
        self,
        instance: Instance,
        world: World,
        desk: Desk,
        session: Callable[[], boto3.Session],
        neighbour: Callable[[str], "Machine"],
    ) -> None:
        """`session` acts as the machine's role; `neighbour` finds the machine that has an address."""
        self.instance = instance
        self.world = world
        self.neighbour = neighbour
        self._desk = desk
        self._session = session
        self._sign: Callable[[], Any] | None = None
        self._every = self._signed = 0.0
        self._off = threading.Event()
        self._thread = threading.Thread(target=self._live, name=instance.id, daemon=True)

    @property
    def installation(self) -> Installation:
        """What is on its system disk. Raises `MachineError` before its user data was read."""
        try:
            return self.world.installations[self.instance.id]
        except KeyError:
            raise MachineError(f"nothing is installed on {self.instance.id}") from None

    def switch_on(self) -> None:
        """Begins."""
        self._thread.start()

    def switch_off(self) -> None:
        """The node on it is lost at once; what was under way ends at its next look."""
        self._off.set()
        with self.world.cluster.lock:
            self.world.cluster.lose(self.instance.address)

    def leave(self) -> None:
        """Nobody plays it any more; it is still on."""
        self._off.set()

    def join(self, seconds: float) -> None:
        """Waits for its last step."""
        self._thread.join(seconds)

    # For scripts

    def client(self, service: str) -> Any:
        """A client of AWS with the rights of the machine's role."""
        return self._session().client(service)

    def wait(self, what: str, seconds: float, probe: Callable[[], _Found | None]) -> _Found:
        """Asks until there is an answer. Raises `MachineError` when there is none in time."""
        deadline = time.monotonic() + seconds
        while (found := probe()) is None:
            if time.monotonic() > deadline:
                raise MachineError(f"{what}: not within {seconds:g} s")
            if self._off.wait(_LOOK_S):
                raise PoweredOffError
            if self._sign is not None and time.monotonic() - self._signed > self._every:
                self._sign()
                self._signed = time.monotonic()
        return found

    def while_waiting(self, every: float, sign: Callable[[], Any]) -> None:
        """From now on a sign of life is given when a wait takes longer than `every` seconds."""
        self._sign, self._every, self._signed = sign, every, time.monotonic()

    # Its life

    def _live(self) -> None:
        try:
            self._boot()
            self._desk.register(self.instance.id)
            while not self._off.wait(_REST_S):
                self._obey()
        except PoweredOffError:
            log.info("%s was switched off at work", self.instance.id)
        except MachineError as error:
            log.error("%s takes no commands: %s", self.instance.id, error)
        except Exception:
            log.exception("%s broke", self.instance.id)

    def _boot(self) -> None:
        """User data runs at the first start only; at each the services start that are installed."""
        lock, found = self.world.cluster.lock, self.world.installations.get(self.instance.id)
        if found is not None and found.started:
            scripts.start_runtime(self)
            return
        try:
            settings = user_data.read(self.instance.user_data)
            with lock:
                self.world.installations[self.instance.id] = Installation(settings)
            scripts.load(self)
        except (MachineError, FabricError, *scripts.AWS_ERRORS) as error:
            log.error("%s: the user data failed: %s", self.instance.id, error)
            with lock:
                if (found := self.world.installations.get(self.instance.id)) is not None:
                    found.failure = str(error)
        with lock:
            if (found := self.world.installations.get(self.instance.id)) is not None:
                found.started = True

    def _obey(self) -> None:
        try:
            command = self._desk.next(self.instance.id)
        except MachineError as error:
            log.debug("%s", error)
            return
        if command is None:
            return
        try:
            output, code, complaint = commands.run(self, command.script), 0, ""
        except (MachineError, FabricError, *scripts.AWS_ERRORS) as error:
            output, code, complaint = "", 1, str(error)
        self._desk.result(command, self.instance.id, code, output, complaint)
