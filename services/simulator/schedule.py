"""When each message is due: fixed before the first one is sent, whatever the platform does (an open loop)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.simulator.profile import Profile


@dataclass(frozen=True)
class Schedule:
    """The messages of `profile`, in turn over `devices` devices, in ticks of `tick_us`.

    A device has `readings` messages at a time, then the next device has its own. A message is due at the start of the
    tick in which its place in the whole load falls: vehicles report in small groups, and a group leaves together. Of
    several producers, number `part` of `parts` has devices ``part, part + parts, ...`` and counts its messages from
    0.
    """

    profile: Profile
    devices: int
    tick_us: int
    part: int = 0
    parts: int = 1
    readings: int = 1

    @property
    def own_devices(self) -> int:
        """How many devices this part has."""
        return len(range(self.part, self.devices, self.parts))

    @cached_property
    def planned(self) -> int:
        """How many messages this part sends."""
        groups, rest = divmod(self.profile.total, self.readings)
        cycles, left = divmod(groups, self.devices)
        own_groups = cycles * self.own_devices + len(range(self.part, left, self.parts))
        return own_groups * self.readings + (rest if left % self.parts == self.part else 0)

    def due_us(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        """When these messages of this part are due: microseconds since the load's start."""
        group, reading = np.divmod(seqs, self.readings)
        cycle, device = np.divmod(group, self.own_devices)
        numbers = (cycle * self.devices + self.part + device * self.parts) * self.readings + reading
        return self.profile.when_us(numbers) // self.tick_us * self.tick_us

    def due_one_us(self, seq: int) -> int:
        """When one message is due; see `due_us`."""
        return int(self.due_us(np.asarray([seq], dtype=np.int64))[0])

    def turns(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Whose turn these messages are, counted from 0 over this part's devices."""
        return seqs // self.readings % self.own_devices


def readings_at_once(rate: float, tick_us: int, devices: int, partitions: int) -> int:
    """How many messages a device has to send at once for a tick to touch about one partition.

    A client sends one request for each partition it has something for: few devices that each send one message would
    make every tick touch every partition, and the requests, not the messages, would fill the machine.
    """
    a_tick = max(1, round(rate * tick_us / 1e6))
    return -(-a_tick // max(1, devices // partitions))
