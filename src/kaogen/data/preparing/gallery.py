"""A few of everything, gathered while the data set is written, for the page that shows it."""

from __future__ import annotations

from array import array
from typing import Generic, TypeVar

from kaogen.data.page.report import Rejected, Twin
from kaogen.data.preparing.found import Found
from kaogen.data.preparing.plan import kind_of
from kaogen.data.preparing.survey import Survey

T = TypeVar("T")

_PAIRS = 12
_TWINS = 24
_REJECTED = 12


class Spread(Generic[T]):
    """At least ``least`` of the things it is given, spread evenly over all of them."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._kept: list[T] = []
        self._stride = 1
        self._seen = 0

    def add(self, thing: T) -> None:
        """Take one more."""
        if self._seen % self._stride == 0:
            self._kept.append(thing)
            if len(self._kept) == 2 * self._least:
                del self._kept[1::2]
                self._stride *= 2
        self._seen += 1

    def list(self) -> list[T]:
        """Those that are kept, in their order, ``least`` at most."""
        step = len(self._kept) / max(1, min(self._least, len(self._kept)))
        return [self._kept[int(i * step)] for i in range(min(self._least, len(self._kept)))]


class Gallery:
    """What the page shows besides the data set file itself."""

    def __init__(self, told: Survey) -> None:
        self._told = told
        self._pairs: Spread[tuple[bytes, bytes]] = Spread(_PAIRS)
        self._rejected: dict[str, Spread[Rejected]] = {}
        chosen: Spread[int] = Spread(_TWINS)
        for number in sorted(told.like):
            chosen.add(number)
        self._twins = {number: told.like[number] for number in chosen.list()}
        self._wanted = {*self._twins, *self._twins.values()}
        self._seen: dict[int, bytes | None] = {}
        self.sizes = array("i")

    def fine(self, number: int, one: Found) -> None:
        """A face that passed the filters of single faces; ``number`` counts those."""
        if number in self._wanted:
            self._seen[number] = one.png

    def kept(self, one: Found) -> None:
        """A face that goes into the data set."""
        if one.stats is not None:
            self.sizes.append(one.stats.size)
        if one.tight is not None and one.png is not None:
            self._pairs.add((one.tight, one.png))

    def left_out(self, one: Found, reason: str) -> None:
        """What does not."""
        spread = self._rejected.setdefault(kind_of(reason), Spread(_REJECTED))
        spread.add(Rejected(one.name, reason, one.png))

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """(without margin, as it is in the data set), as PNG."""
        return self._pairs.list()

    @property
    def rejected(self) -> list[Rejected]:
        """Some for each reason; those that can be seen come first."""
        shown = (one for spread in self._rejected.values() for one in spread.list())
        return sorted(shown, key=lambda one: one.png is None)

    @property
    def twins(self) -> list[Twin]:
        """Near-duplicates with what is kept instead."""
        told = self._told
        return [
            Twin(
                told.names[kept],
                told.names[dropped],
                told.bits[dropped],
                self._seen.get(kept),
                self._seen.get(dropped),
            )
            for dropped, kept in self._twins.items()
        ]
