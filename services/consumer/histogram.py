"""Latencies as histograms that merge exactly: by leg and second while recording, HdrHistogram in the end."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

HIGHEST_US: Final = 3_600_000_000
"""An hour; a longer latency is recorded as an hour."""
_DIGITS: Final = 3
_EXACT_BITS: Final = 11
"""Up to 2,048 us HdrHistogram with three significant digits is exact; above, this many leading bits count."""
_EXACT: Final = 1 << _EXACT_BITS


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

    def record_all(self, values_us: NDArray[np.int64]) -> None:
        """Adds many latencies; one below 0 counts as 0."""
        if not len(values_us):
            return
        highest = int(values_us.max())
        rows = _rows(np.clip(values_us, 0, HIGHEST_US))
        for value, count in zip(*(part.tolist() for part in _counted(np.bincount(rows))), strict=True):
            self._hdr.record_value(value, count)
        self.max_us = max(self.max_us, highest)

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

    Made for the reading loop: a second is a flat table of counts, packed when it is over, and becomes a
    `Distribution` only in the end. A row of the table is a latency at the histogram's precision.
    """

    def __init__(self) -> None:
        self._open: dict[int, NDArray[np.int64]] = {}
        self._packed: dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
        """By second: latencies and their counts, side by side."""
        self._max_us: dict[int, int] = {}
        self.negative = 0
        """Latencies below 0, recorded as 0: two clocks disagreed by more than the leg took."""

    def record(self, seconds: NDArray[np.int64], values_us: NDArray[np.int64]) -> None:
        """Counts latencies of messages that were due in these seconds (since the epoch)."""
        if not len(values_us):
            return
        if values_us.min() < 0:
            self.negative += int(np.count_nonzero(values_us < 0))
            values_us = np.maximum(values_us, 0)
        if (seconds == seconds[0]).all():
            self._record(int(seconds[0]), values_us)
            return
        for second in np.unique(seconds).tolist():
            self._record(second, values_us[seconds == second])

    def _record(self, second: int, values_us: NDArray[np.int64]) -> None:
        table = self._open.get(second)
        if table is None:
            self._open[second] = table = np.zeros(_ROWS, dtype=np.int64)
            self._max_us.setdefault(second, 0)
        highest = int(values_us.max())
        self._max_us[second] = max(self._max_us[second], highest)
        np.add.at(table, values_us if highest < _EXACT else _rows(np.minimum(values_us, HIGHEST_US)), 1)

    def pack_before(self, second: int) -> None:
        """Packs seconds that are over; a message that comes later still is recorded in its second."""
        for over in [known for known in self._open if known < second]:
            self._packed.setdefault(over, []).append(_counted(self._open.pop(over)))

    def glance(self, second: int) -> list[float]:
        """Median, 99th percentile and maximum (ms) of a second that is not packed yet; empty when it was silent."""
        table = self._open.get(second)
        if table is None:
            return []
        values, counts = _counted(table)
        upto = np.cumsum(counts)
        found = [int(values[np.searchsorted(upto, upto[-1] * share)]) / 1000 for share in (0.5, 0.99)]
        return [*found, self._max_us[second] / 1000]

    def distributions(self) -> Iterator[tuple[int, Distribution]]:
        """Every second with its latencies, in order."""
        for second in sorted(self._max_us):
            made = Distribution()
            parts = list(self._packed.get(second, []))
            if second in self._open:
                parts.append(_counted(self._open[second]))
            for values, counts in parts:
                for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                    made.record(value, count)
            made.max_us = self._max_us[second]
            yield second, made


def _rows(values_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """The table's rows of latencies: below `_EXACT` a row each, above as many rows to a power of two as the leading
    bits tell apart."""
    exponents = np.frexp(values_us.astype(np.float64))[1].astype(np.int64)
    shifts = np.maximum(exponents - _EXACT_BITS, 0)
    return shifts * (_EXACT // 2) + (values_us >> shifts)


_LAST_ROW: Final = int(_rows(np.asarray([HIGHEST_US]))[0])
_ROWS: Final = _LAST_ROW + 1


def _counted(table: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The latencies that a table holds, the lowest of each row, and how many of each."""
    rows = np.flatnonzero(table)
    shifts = np.maximum(rows // (_EXACT // 2) - 1, 0)
    return (rows - shifts * (_EXACT // 2)) << shifts, table[rows]
