"""What came and how late, counted batch by batch: the core of the consumer, wherever its messages come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.consumer.heads import Unreadable, read_heads
from services.consumer.histogram import Distribution


@dataclass
class Tally:
    """What came since the last report."""

    messages: int = 0
    unreadable: int = 0
    late: Distribution = field(default_factory=Distribution)

    def add(self, values: Sequence[bytes], now_us: int) -> list[Unreadable]:
        """Counts messages, received now. Returns which of them break the contract."""
        found, unreadable = read_heads(values)
        self.unreadable += len(unreadable)
        for heads in found:
            self.messages += len(heads.seqs)
            # Hosts' clocks differ a little: what seems to come before it was due counts as come at once.
            self.late.record_all(now_us - heads.due_us)
        return unreadable

    def report(self) -> dict[str, Any]:
        """As one line of JSON says it."""
        p50, p99 = self.late.percentiles_ms(50, 99)
        latency = {"p50": p50, "p99": p99, "max": self.late.max_us / 1000}
        return {"messages": self.messages, "unreadable": self.unreadable, "latency_ms": latency}
