"""When each message is due: fixed before the first one is sent, whatever the platform does (an open loop)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """`total` messages at `rate` a second, in turn over `devices` devices, in ticks of `tick_us`.

    A device sends `readings` messages, then the next device does. A message is due at the start of the tick in which
    its place in the whole load falls: vehicles report in small groups, and a group leaves together. Of several
    producers, number `part` of `parts` has devices ``part, part + parts, ...`` and counts its messages from 0.
    """

    rate: float
    total: int
    devices: int
    tick_us: int
    part: int = 0
    parts: int = 1
    readings: int = 1

    @property
    def own_devices(self) -> int:
        """How many devices this part has."""
        return len(range(self.part, self.devices, self.parts))

    @property
    def planned(self) -> int:
        """How many messages this part sends."""
        groups, rest = divmod(self.total, self.readings)
        cycles, left = divmod(groups, self.devices)
        own_groups = cycles * self.own_devices + len(range(self.part, left, self.parts))
        return own_groups * self.readings + (rest if left % self.parts == self.part else 0)

    def due_us(self, seq: int) -> int:
        """When this part's message `seq` is due: microseconds since the load's start."""
        group, reading = divmod(seq, self.readings)
        cycle, device = divmod(group, self.own_devices)
        number = (cycle * self.devices + self.part + device * self.parts) * self.readings + reading
        return int(number * 1_000_000 / self.rate) // self.tick_us * self.tick_us

    def reading(self, seq: int) -> tuple[int, int]:
        """Whose message `seq` is, counted from 0 over this part's devices, and the how manyth of that device."""
        group, reading = divmod(seq, self.readings)
        cycle, device = divmod(group, self.own_devices)
        return device, cycle * self.readings + reading


def readings_at_once(rate: float, tick_us: int, devices: int, partitions: int) -> int:
    """How many messages a device has to send at once for a tick to touch about one partition.

    A client sends one request for each partition it has something for: few devices that each send one message would
    make every tick touch every partition, and the requests, not the messages, would fill the machine.
    """
    a_tick = max(1, round(rate * tick_us / 1e6))
    return -(-a_tick // max(1, devices // partitions))
