"""How a cluster's state changes by itself: nodes come up and go down, deactivations and upgrades go on.

Nothing runs in between: the state catches up with the clock whenever it is asked, one change after the other in the
order of their times, so that the same orders at the same times always lead to the same state.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from envs.sandbox.fabric.configuration import Configuration
from envs.sandbox.fabric.nodes import Deactivation, Intent, Node, Phase, SafetyCheck
from envs.sandbox.fabric.placement import Placement
from envs.sandbox.fabric.timings import Timings
from envs.sandbox.fabric.upgrade import Upgrade, UpgradeState

_FIRST_INSTANCE: Final = 134_000_000_000_000_000
_SEED_QUORUM: Final = SafetyCheck("EnsureSeedNodeQuorum")


@dataclass
class Start:
    """A node on its way up, with an empty data root or with what it held before."""

    node: Node
    due: float
    empty: bool


class Course:
    """The state of one cluster, and how it goes on."""

    def __init__(self, clock: Callable[[], float], timings: Timings | None = None) -> None:
        self.lock = threading.RLock()
        self.timings = timings or Timings()
        self.placement = Placement(self.timings)
        self.code_version = ""
        self.manifest_version = 1
        self.upgrade: Upgrade | None = None
        self._clock = clock
        self._now = clock()
        self._machines: set[str] = set()
        self._configuration: Configuration | None = None
        self._seeds: tuple[str, ...] = ()
        self._nodes: dict[str, Node] = {}
        self._starting: dict[str, Start] = {}
        self._losing: dict[str, float] = {}
        self._instances = 0

    def __getstate__(self) -> dict[str, Any]:
        """What is worth keeping: it catches up with the clock when it is restored."""
        return {name: value for name, value in self.__dict__.items() if name not in ("lock", "_now")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.RLock()
        self._now = self._clock()

    @property
    def quorum(self) -> int:
        """How many seed nodes have to be up."""
        return len(self._seeds) // 2 + 1

    def tick(self) -> None:
        """Catches up with the clock."""
        now = max(self._clock(), self._now)
        while True:
            due, act = min(self._timers(), key=lambda timer: timer[0], default=(None, None))
            if due is None or act is None or due > now:
                break
            self._now = max(self._now, due)
            act()
            self._react()
        self._now = now

    def _timers(self) -> Iterator[tuple[float, Callable[[], None]]]:
        for name, start in self._starting.items():
            yield start.due, lambda at=name: self._come_up(at)
        for name, due in self._losing.items():
            yield due, lambda at=name: self._go_down(at)
        if self._lost():
            return
        yield from self.placement.timers()
        for node in self._nodes.values():
            if node.deactivation.due is not None:
                yield node.deactivation.due, lambda at=node: self._deactivation_due(at)
            if node.removed is not None:
                yield node.removed + self.timings.removed_keep, lambda at=node.name: self._forget(at)
        if self.upgrade is not None and self.upgrade.running:
            if self.upgrade.due is not None:
                yield self.upgrade.due, lambda: self._domain_done()
            elif self.upgrade.retry_until is not None:
                yield self.upgrade.retry_until, lambda: self._roll_back()

    def _react(self) -> None:
        """Begins what the last change has made possible."""
        if self._lost():
            return
        self.placement.react(self._nodes, self._now)
        for node in self._nodes.values():
            deactivation = node.deactivation
            if deactivation.phase is Phase.CHECKING and deactivation.due is None and not self._checks(node):
                deactivation.phase = Phase.CHECKED if node.up else Phase.COMPLETED
                deactivation.due = self._now + self.timings.deactivate if node.up else None
        upgrade = self.upgrade
        if upgrade is not None and upgrade.running and upgrade.due is None and self._upgrade_may_go_on(upgrade):
            upgrade.retry_until = None
            if upgrade.finished < len(upgrade.domains):
                upgrade.due = self._now + self.timings.upgrade_domain
            else:
                self._finish_upgrade(upgrade)

    def _come_up(self, name: str) -> None:
        start = self._starting.pop(name)
        node, before = start.node, self._nodes.get(name)
        if before is not None:
            node.deactivation = before.deactivation
            if before.up:
                self._go_down(name)
        self._losing.pop(name, None)
        self._instances += 1
        node.instance = _FIRST_INSTANCE + self._instances
        node.up, node.since, node.removed = True, self._now, None
        node.version, node.config_version = self.code_version, str(self.manifest_version)
        self._nodes[name] = node
        if start.empty:
            self.placement.forget(name)
        elif node.deactivation.phase is not Phase.COMPLETED or node.deactivation.intent is Intent.PAUSE:
            self.placement.came_up(name)

    def _go_down(self, name: str) -> None:
        self._losing.pop(name, None)
        node = self._nodes[name]
        node.up, node.since = False, self._now
        self.placement.went_down(name, self._now)
        deactivation = node.deactivation
        if not deactivation.active:
            node.deactivation = Deactivation()
        elif not deactivation.intent.removes or deactivation.phase is Phase.CHECKED:
            node.deactivation = Deactivation(deactivation.intent, Phase.COMPLETED)

    def _deactivation_due(self, node: Node) -> None:
        deactivation = node.deactivation
        deactivation.due = None
        if deactivation.phase is Phase.CHECKED:
            deactivation.phase = Phase.COMPLETED
            if deactivation.intent is Intent.RESTART:
                self.placement.went_down(node.name, self._now)
        elif deactivation.phase is Phase.ACTIVATING:
            node.deactivation = Deactivation()
            self.placement.came_up(node.name)

    def _forget(self, name: str) -> None:
        del self._nodes[name]

    def _checks(self, node: Node) -> list[SafetyCheck]:
        aim = node.deactivation.intent
        seed: list[SafetyCheck] = []
        if node.name in self._seeds and (
            aim is Intent.REMOVE_NODE or (node.up and self._seeds_staying(node.name) < self.quorum)
        ):
            # A seed node cannot be removed: the check stands for ever (`DeactivateNodesContext::CheckSeedNodes`).
            seed = [_SEED_QUORUM]
        return seed + self.placement.pending(node)

    def _seeds_up(self) -> int:
        return sum(node.up for node in self._nodes.values() if node.name in self._seeds)

    def _seeds_staying(self, but: str) -> int:
        """Seed nodes that are up and not about to be restarted, but one."""
        return sum(
            node.up and node.deactivation.phase not in (Phase.CHECKED, Phase.COMPLETED)
            for node in self._nodes.values()
            if node.name in self._seeds and node.name != but
        )

    def _lost(self) -> bool:
        return self._seeds_up() < self.quorum

    def _upgrade_may_go_on(self, upgrade: Upgrade) -> bool:
        leaving = (self._nodes[name] for name in upgrade.removed if name in self._nodes and name not in self._seeds)
        if any(node.up and node.deactivation.phase is not Phase.COMPLETED for node in leaving):
            return False
        return upgrade.finished == 0 or self._healthy_enough(upgrade)

    def _healthy_enough(self, upgrade: Upgrade) -> bool:
        listed = [node for node in self._nodes.values() if node.name in upgrade.target.nodes and node.removed is None]
        down = sum(not node.up for node in listed)
        return down * 100 <= upgrade.max_unhealthy * len(listed)

    def _domain_done(self) -> None:
        upgrade = self.upgrade
        assert upgrade is not None  # noqa: S101 (its own timer)
        for node in self._nodes.values():
            if node.upgrade_domain == upgrade.domains[upgrade.finished] and node.up:
                node.config_version = str(upgrade.manifest_version)
        upgrade.finished += 1
        upgrade.due = None
        if not self._healthy_enough(upgrade):
            upgrade.retry_until = self._now + self.timings.health_retry

    def _finish_upgrade(self, upgrade: Upgrade) -> None:
        upgrade.state, upgrade.ended = UpgradeState.DONE, self._now
        self._configuration, self._seeds = upgrade.target, upgrade.target.seeds()
        self.manifest_version = upgrade.manifest_version
        for name in upgrade.removed:
            if name in self._nodes and self._nodes[name].up:
                self._go_down(name)

    def _roll_back(self) -> None:
        upgrade = self.upgrade
        assert upgrade is not None  # noqa: S101 (its own timer)
        upgrade.state, upgrade.ended, upgrade.retry_until = UpgradeState.ROLLED_BACK, self._now, None
        upgrade.failure = "HealthCheck"
        for node in self._nodes.values():
            node.config_version = str(self.manifest_version)
