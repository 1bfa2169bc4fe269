"""One clock for every process of a run on a machine: wall time anchored once to the monotonic clock."""

import time


class Clock:
    """Microseconds since the Unix epoch that never jump: ``CLOCK_MONOTONIC`` plus an offset fixed at the start.

    The monotonic clock counts alike in all processes of one machine (clock_gettime(2)), so processes that share the
    offset share one clock, and a step of the wall clock during the run moves no latency. It does not carry to other
    machines.
    """

    __slots__ = ("offset_ns",)

    def __init__(self, offset_ns: int) -> None:
        self.offset_ns = offset_ns

    @classmethod
    def anchored(cls) -> "Clock":
        """A clock that agrees with the wall clock now."""
        return cls(time.time_ns() - time.monotonic_ns())

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return (time.monotonic_ns() + self.offset_ns) // 1000

    def sleep_until(self, when_us: int) -> None:
        """Sleeps until `when_us`, without spinning; returns at once when that has passed.

        It ends late by the kernel's timer slack (`services.priority.run_on_time`) and by scheduling.
        """
        wait = (when_us - self.now_us()) / 1e6
        if wait > 0:
            time.sleep(wait)

    def drift_us(self) -> int:
        """How far the wall clock has moved from this clock since the anchor: what legs to other clocks may be off."""
        return time.time_ns() // 1000 - self.now_us()
