"""Sets of whole numbers kept as ranges: which sequence numbers were seen, lost or refused, in little memory."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Self


class Intervals:
    """A set of whole numbers from 0, stored as sorted inclusive ranges with at least one number between two of them.

    Memory grows with the number of ranges, not of members: a run without loss is one range a producer.
    """

    __slots__ = ("_count", "_ends", "_starts")

    def __init__(self, ranges: Iterable[Sequence[int]] = ()) -> None:
        """`ranges` are inclusive ``(first, last)`` pairs in any order; they may touch and overlap."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._count = 0
        for first, last in sorted((first, last) for first, last in ranges):
            self._append(first, last)

    @classmethod
    def of(cls, members: Iterable[int]) -> Self:
        """The set of these numbers, in any order."""
        return cls((member, member) for member in members)

    @classmethod
    def upto(cls, stop: int) -> Self:
        """The numbers 0 to ``stop - 1``."""
        return cls([(0, stop - 1)] if stop > 0 else ())

    def add(self, member: int) -> bool:
        """Adds one number; False when it was a member already. Constant time for the next number in order."""
        starts, ends = self._starts, self._ends
        if not ends or member > ends[-1]:
            self._append(member, member)
            return True
        at = bisect_right(starts, member) - 1
        if at >= 0 and member <= ends[at]:
            return False
        joins_left = at >= 0 and ends[at] + 1 == member
        joins_right = starts[at + 1] == member + 1
        if joins_left and joins_right:
            ends[at] = ends[at + 1]
            del starts[at + 1], ends[at + 1]
        elif joins_left:
            ends[at] = member
        elif joins_right:
            starts[at + 1] = member
        else:
            starts.insert(at + 1, member)
            ends.insert(at + 1, member)
        self._count += 1
        return True

    def _append(self, first: int, last: int) -> None:
        """Adds a range that starts at or behind the last range's start."""
        if self._ends and first <= self._ends[-1] + 1:
            grown = max(last, self._ends[-1])
            self._count += grown - self._ends[-1]
            self._ends[-1] = grown
        else:
            self._starts.append(first)
            self._ends.append(last)
            self._count += last - first + 1

    def ranges(self) -> list[tuple[int, int]]:
        """The inclusive ranges in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def __contains__(self, member: int) -> bool:
        at = bisect_right(self._starts, member) - 1
        return at >= 0 and member <= self._ends[at]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for first, last in zip(self._starts, self._ends, strict=True):
            yield from range(first, last + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and self.ranges() == other.ranges()

    __hash__ = None  # pyright: ignore[reportAssignmentType] - a set that changes has no hash

    def __or__(self, other: "Intervals") -> "Intervals":
        return Intervals([*self.ranges(), *other.ranges()])

    def __and__(self, other: "Intervals") -> "Intervals":
        common: list[tuple[int, int]] = []
        ours, theirs = self.ranges(), other.ranges()
        i = j = 0
        while i < len(ours) and j < len(theirs):
            first, last = max(ours[i][0], theirs[j][0]), min(ours[i][1], theirs[j][1])
            if first <= last:
                common.append((first, last))
            if ours[i][1] < theirs[j][1]:
                i += 1
            else:
                j += 1
        return Intervals(common)

    def __sub__(self, other: "Intervals") -> "Intervals":
        left: list[tuple[int, int]] = []
        theirs = other.ranges()
        j = 0
        for first, last in self.ranges():
            while j < len(theirs) and theirs[j][1] < first:
                j += 1
            at = first
            for cut_first, cut_last in theirs[j:]:
                if cut_first > last:
                    break
                if at < cut_first:
                    left.append((at, cut_first - 1))
                at = cut_last + 1
            if at <= last:
                left.append((at, last))
        return Intervals(left)

    def __repr__(self) -> str:
        return f"Intervals({self.ranges()})"
