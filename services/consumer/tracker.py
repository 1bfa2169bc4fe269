"""Loss, duplicates and order of one run's messages by their sequence numbers, in little memory."""

import re

from services.intervals import Intervals


class Tracker:
    """What arrived of one run. `received` has the sequence numbers by producer; what it lacks was lost or never sent.

    Memory grows with the gaps and the devices, not with the messages.
    """

    def __init__(self, run_id: str) -> None:
        self._own = re.compile(rf"{re.escape(run_id)}(h\d+)?-\d+", re.ASCII)
        self._member: dict[str, Intervals | None] = {}
        self._last_of_device: dict[tuple[str, str], int] = {}
        self.received: dict[str, Intervals] = {}
        self.duplicates = 0
        self.reordered = 0
        """Messages that came after a later one of the same device. A message that came twice is a duplicate only."""

    def is_own(self, producer: str) -> bool:
        """Whether a producer belongs to the run: ``<run>-<number>``, on several hosts ``<run>h<host>-<number>``."""
        return self._own.fullmatch(producer) is not None

    def see(self, producer: str, seq: int, device: str, device_seq: int) -> bool | None:
        """Notes one message: True when it is new, False for a duplicate, None when it is of another run."""
        try:
            received = self._member[producer]
        except KeyError:
            received = self._member[producer] = Intervals() if self.is_own(producer) else None
            if received is not None:
                self.received[producer] = received
        if received is None:
            return None
        if not received.add(seq):
            self.duplicates += 1
            return False
        key = (producer, device)
        if device_seq < self._last_of_device.get(key, -1):
            self.reordered += 1
        else:
            self._last_of_device[key] = device_seq
        return True
