"""Latencies as histograms that merge exactly: by leg and second while recording, HdrHistogram in the end."""

from array import array
from collections.abc import Iterator
from typing import Any, Final

from hdrh.histogram import HdrHistogram

HIGHEST_US: Final = 3_600_000_000
"""An hour; a longer latency is recorded as an hour."""
_DIGITS: Final = 3
_EXACT_BITS: Final = 11
"""Up to 2,048 us HdrHistogram with three significant digits is exact; above, this many leading bits count."""


class Distribution:
    """Latencies in microseconds at three significant digits; the maximum is exact."""

    def __init__(self) -> None:
        self._hdr = HdrHistogram(1, HIGHEST_US, _DIGITS)
        self.max_us = 0

    @property
    def count(self) -> int:
        """How many latencies it holds."""
        return self._hdr.get_total_count()

    def record(self, value_us: int, count: int = 1) -> None:
        """Adds `count` times this latency, limited to `HIGHEST_US`."""
        self._hdr.record_value(min(value_us, HIGHEST_US), count)
        self.max_us = max(self.max_us, value_us)

    def add(self, other: "Distribution") -> None:
        """Merges another one into this: exactly what recording all values here would have given."""
        self._hdr.add(other._hdr)
        self.max_us = max(self.max_us, other.max_us)

    def percentiles_ms(self, *percents: float) -> list[float]:
        """The latencies that so many per cent are at or under, in milliseconds; zeros when empty."""
        if not self.count:
            return [0.0] * len(percents)
        # Looked up in ascending order in one pass; the exact maximum bounds the upper edge of its bucket.
        found = self._hdr.get_percentile_to_value_dict(list(percents))
        return [min(found[percent], self.max_us) / 1000 for percent in percents]

    def share_within(self, limit_ms: float) -> float:
        """The share (0 to 1) at or under `limit_ms`; 1 when empty."""
        if not self.count:
            return 1.0
        last = self._hdr.get_counts_array_index(round(limit_ms * 1000))
        return sum(self._hdr.counts[: last + 1]) / self.count

    def summary(self) -> dict[str, float]:
        """The figures of a run's summary: percentiles and maximum in milliseconds, and shares (0 to 1)."""
        p50, p99, p99_6, p99_9 = self.percentiles_ms(50, 99, 99.6, 99.9)
        return {
            "p50": p50,
            "p99": p99,
            "p99_6": p99_6,
            "p99_9": p99_9,
            "max": self.max_us / 1000,
            **{f"share_le_{limit}ms": self.share_within(limit) for limit in (1, 10, 100)},
        }

    def encode(self) -> dict[str, Any]:
        """For JSON: HdrHistogram's own compressed encoding, and the exact maximum."""
        return {"hdr": self._hdr.encode().decode(), "max_us": self.max_us}

    @classmethod
    def decode(cls, encoded: dict[str, Any]) -> "Distribution":
        """What `encode` gave."""
        made = cls()
        made._hdr.decode_and_add(encoded["hdr"])
        made.max_us = encoded["max_us"]
        return made


class Recorder:
    """Latencies of one leg by the second in which their message was due.

    Made for the reading loop: a second is a small table from latency to count, packed when it is over, and becomes a
    `Distribution` only in the end.
    """

    def __init__(self) -> None:
        self._open: dict[int, dict[int, int]] = {}
        self._packed: dict[int, list[tuple[array[int], array[int]]]] = {}
        """By second: latencies and their counts, side by side."""
        self._max_us: dict[int, int] = {}
        self.negative = 0
        """Latencies below 0, recorded as 0: two clocks disagreed by more than the leg took."""

    def record(self, second: int, value_us: int) -> None:
        """Counts one latency of a message that was due in `second` (seconds since the epoch)."""
        if value_us < 0:
            self.negative += 1
            value_us = 0
        table = self._open.get(second)
        if table is None:
            self._open[second] = table = {}
            self._max_us.setdefault(second, 0)
        if value_us > self._max_us[second]:
            self._max_us[second] = value_us
        if value_us >> _EXACT_BITS:
            shift = value_us.bit_length() - _EXACT_BITS
            value_us = value_us >> shift << shift
        table[value_us] = table.get(value_us, 0) + 1

    def pack_before(self, second: int) -> None:
        """Packs seconds that are over; a message that comes later still is recorded in its second."""
        for over in [known for known in self._open if known < second]:
            table = self._open.pop(over)
            self._packed.setdefault(over, []).append((array("Q", table.keys()), array("Q", table.values())))

    def glance(self, second: int) -> list[float]:
        """Median, 99th percentile and maximum (ms) of a second that is not packed yet; empty when it was silent."""
        table = self._open.get(second)
        if not table:
            return []
        total, seen, found = sum(table.values()), 0, []
        wanted = [total * 0.5, total * 0.99]
        for value in sorted(table):
            seen += table[value]
            while wanted and seen >= wanted[0]:
                wanted.pop(0)
                found.append(value / 1000)
        return [*found, self._max_us[second] / 1000]

    def distributions(self) -> Iterator[tuple[int, Distribution]]:
        """Every second with its latencies, in order."""
        for second in sorted(self._max_us):
            made = Distribution()
            for value, count in self._open.get(second, {}).items():
                made.record(value, count)
            for values, counts in self._packed.get(second, []):
                for value, count in zip(values, counts, strict=True):
                    made.record(value, count)
            made.max_us = self._max_us[second]
            yield second, made
