"""When each message is due: fixed before the first one is sent, whatever the platform does (an open loop)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """`total` messages at `rate` a second, in turn over `devices` devices, in ticks of `tick_us`.

    Message ``i`` of the whole load belongs to device ``i % devices`` and is due at the start of the tick in which
    ``i / rate`` falls: vehicles report in small groups, and a group leaves together. Of several producers, number
    `part` of `parts` has devices ``part, part + parts, ...`` and counts its own messages from 0.
    """

    rate: float
    total: int
    devices: int
    tick_us: int
    part: int = 0
    parts: int = 1

    @property
    def own_devices(self) -> int:
        """How many devices this part has."""
        return len(range(self.part, self.devices, self.parts))

    @property
    def planned(self) -> int:
        """How many messages this part sends."""
        cycles, rest = divmod(self.total, self.devices)
        return cycles * self.own_devices + len(range(self.part, rest, self.parts))

    def due_us(self, seq: int) -> int:
        """When this part's message `seq` is due: microseconds since the load's start."""
        cycle, device = divmod(seq, self.own_devices)
        number = cycle * self.devices + self.part + device * self.parts
        return int(number * 1_000_000 / self.rate) // self.tick_us * self.tick_us
