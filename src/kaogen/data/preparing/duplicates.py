"""Near-duplicates in a whole data set, by perceptual hashes.

Every pair of hashes within the distance is found without comparing all pairs: the 64 bits are cut
into bands, and two hashes that differ in at most ``2 * bands - 1`` bits have a band in which they
differ in one bit at most (multi-index hashing; Norouzi, Punjani, Fleet, 2012). So each hash is
compared only with those of its own and its neighbouring buckets. A million hashes take tens of
seconds.

A hash knows brightness only. On real faces half of the pairs at 6 bits are two characters of one
layout and different colours; with the colours of the four quarters compared as well, about one in
twenty is left.

What it cannot do: two expressions of one drawing, as visual novels have them, differ in 0 to 6
bits, no more than two copies whose crops are a hundredth apart. Whoever knows what the faces show
says so by ``kinds``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from kaogen.errors import ConfigError

DISTANCE: Final = 6
"""Bits in which near-duplicates usually differ at most."""
LARGEST_DISTANCE: Final = 12
"""Beyond this neighbouring buckets are no help, and the hash tells faces apart no more."""

Hashes = npt.NDArray[np.uint64]
_Index = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

# How much a quarter's colour may differ: 6 steps of two grey levels each.
_TONE_TOLERANCE = 6
# Fewer bands than four would only make rarer buckets than there are hashes.
_LEAST_BANDS = 4
_BLOCK = 8192
_CANDIDATES = 2**22
_PAIRS_AT_ONCE = 2**18


def near_duplicates(
    hashes: Hashes,
    distance: int,
    names: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    tones: Hashes | None = None,
    kinds: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> dict[int, int]:
    """Which items to drop, and for which kept one: ``{dropped: kept}``, places in ``names``.

    The items are gone through from the largest to the smallest, equal ones by name: each is kept
    unless it is a near-duplicate of one that was kept before. So every dropped item is within
    ``distance`` of the one it is dropped for, no chain of likenesses leads far, and the result
    depends on nothing but the items. Mirrored copies are not found.

    Args:
        hashes: uint64 ``[N]``, ``FaceStats.phash``.
        distance: bits in which two hashes differ at most, 0 to ``LARGEST_DISTANCE``.
        names: of the N items; they decide between items of equal size.
        sizes: of the N items, such as the face's edge in pixels; None for all the same.
        tones: uint64 ``[N]``, ``FaceStats.tone``: near-duplicates must agree in colour too.
        kinds: of the N items; those of different kinds, such as expressions, are no duplicates.
        progress: called with (items done, N) now and then.

    Raises:
        ConfigError: a distance out of range, or lists of different lengths.
    """
    count = len(hashes)
    if not 0 <= distance <= LARGEST_DISTANCE:
        raise ConfigError(
            f"near-duplicates can be found within 0 to {LARGEST_DISTANCE} bits, not {distance}."
        )
    if any(len(given) != count for given in (names, sizes, tones, kinds) if given is not None):
        raise ConfigError("what is told of near-duplicates differs in number from the hashes.")
    if count == 0:
        return {}
    sized = [0] * count if sizes is None else sizes
    order = np.array(sorted(range(count), key=lambda i: (-sized[i], names[i], i)), dtype=np.int64)
    search = _Search(
        np.asarray(hashes, dtype=np.uint64)[order],
        distance,
        None if tones is None else _bytes(np.asarray(tones, dtype=np.uint64)[order]),
        None if kinds is None else np.asarray(kinds, dtype=np.int64)[order],
    )
    kept_for = search.run(progress)
    dropped = np.flatnonzero(kept_for >= 0)
    return {int(order[i]): int(order[kept_for[i]]) for i in dropped}


def hamming(a: int, b: int) -> int:
    """Bits in which two hashes differ."""
    return (a ^ b).bit_count()


class _Search:
    """One search; items are known by rank, 0 the first to be kept."""

    def __init__(
        self,
        hashes: Hashes,
        distance: int,
        tones: npt.NDArray[np.int16] | None,
        kinds: _Index | None,
    ) -> None:
        self.hashes = hashes
        self.distance = distance
        self.tones = tones
        self.kinds = kinds
        self.kept_for = np.full(len(hashes), -1, dtype=np.int64)
        bands = max(_LEAST_BANDS, distance // 2 + 1)
        # Differing in less than one bit per band leaves a band equal; else one may be flipped.
        self.radius = 0 if distance < bands else 1
        self.bands = [_Band(keys, width) for keys, width in _cut(hashes, bands)]

    def run(self, progress: Progress | None) -> _Index:
        """For each rank the rank that it is dropped for, or -1."""
        total = len(self.hashes)
        for start in range(0, total, _BLOCK):
            stop = min(start + _BLOCK, total)
            for piece in self._pieces(np.arange(start, stop)):
                self._settle(piece[self.kept_for[piece] < 0])
            for band in self.bands:
                band.forget(start, stop)
            if progress is not None:
                progress(stop, total)
        return self.kept_for

    def _pieces(self, block: _Index) -> list[_Index]:
        """The block cut so that the candidates of each piece fit into little memory.

        Ten thousand frames of one scene are near-duplicates of each other, all pairs of them.
        """
        costs = sum(band.costs(block, flip) for band in self.bands for flip in self._flips(band))
        return np.split(block, np.flatnonzero(np.diff(np.cumsum(costs) // _CANDIDATES)) + 1)

    def _flips(self, band: _Band) -> list[int]:
        return [0] + ([1 << bit for bit in range(band.width)] if self.radius else [])

    def _settle(self, block: _Index) -> None:
        """Decide for all items after those of ``block`` that are near one of them."""
        pairs = [self._near(first, second) for first, second in self._candidates(block)]
        first = np.concatenate([pair[0] for pair in pairs]) if pairs else np.empty(0, np.int64)
        if not len(first):
            return
        second = np.concatenate([pair[1] for pair in pairs])
        order = np.lexsort((second, first))
        first, second = first[order], second[order]
        begins = np.flatnonzero(np.diff(first, prepend=-1))
        for begin, end in zip(begins, [*begins[1:], len(first)], strict=True):
            keeper = first[begin]
            if self.kept_for[keeper] < 0:
                near = second[begin:end]
                self.kept_for[near[self.kept_for[near] < 0]] = keeper

    def _candidates(self, block: _Index) -> Iterator[tuple[_Index, _Index]]:
        for band in self.bands:
            for flip in self._flips(band):
                yield from band.pairs(block, flip)

    def _near(self, first: _Index, second: _Index) -> tuple[_Index, _Index]:
        good = np.bitwise_count(self.hashes[first] ^ self.hashes[second]) <= self.distance
        good &= (second > first) & (self.kept_for[second] < 0)
        if self.kinds is not None:
            good &= self.kinds[first] == self.kinds[second]
        first, second = first[good], second[good]
        if self.tones is not None and len(first):
            apart = np.abs(self.tones[first] - self.tones[second]).max(axis=1)
            first, second = first[apart <= _TONE_TOLERANCE], second[apart <= _TONE_TOLERANCE]
        return first, second


class _Band:
    """Buckets of one band: the ranks of each key, in order, with those done left out."""

    def __init__(self, keys: npt.NDArray[np.int64], width: int) -> None:
        self.keys = keys
        self.width = width
        self.ranks = np.argsort(keys, kind="stable")
        counts = np.bincount(keys, minlength=1 << width)
        self.ends = np.cumsum(counts)
        self.starts = self.ends - counts

    def costs(self, block: _Index, flip: int) -> _Index:
        """How many candidates each rank of ``block`` has."""
        keys = self.keys[block] ^ flip
        found: _Index = self.ends[keys] - self.starts[keys]
        return found

    def pairs(self, block: _Index, flip: int) -> Iterator[tuple[_Index, _Index]]:
        """``(rank of block, rank in the bucket)`` of all, a bounded number at once."""
        keys = self.keys[block] ^ flip
        starts = self.starts[keys]
        counts = self.ends[keys] - starts
        sums = np.cumsum(counts)
        begin = 0
        while begin < len(block):
            before = sums[begin - 1] if begin else 0
            # At least one item, however full its bucket.
            end = max(begin + 1, int(np.searchsorted(sums, before + _PAIRS_AT_ONCE, "right")))
            part = counts[begin:end]
            offset = starts[begin:end] - (sums[begin:end] - part)
            places = np.arange(before, sums[end - 1]) + np.repeat(offset, part)
            yield np.repeat(block[begin:end], part), self.ranks[places]
            begin = end

    def forget(self, start: int, stop: int) -> None:
        """Leave the ranks ``start`` to ``stop`` out from now on; they are the first ones left."""
        self.starts += np.bincount(self.keys[start:stop], minlength=len(self.starts))


def _cut(hashes: Hashes, bands: int) -> Iterator[tuple[npt.NDArray[np.int64], int]]:
    """The 64 bits dealt out to ``bands`` keys: ``(keys, width in bits)``.

    Bits that are nearly always the same split nothing, so the even ones are dealt out first, one
    to each band in turn.
    """
    shares = np.array([((hashes >> np.uint64(bit)) & np.uint64(1)).mean() for bit in range(64)])
    even_first = np.argsort(np.abs(shares - 0.5), kind="stable")
    for band in range(bands):
        bits = even_first[band::bands]
        keys = np.zeros(len(hashes), dtype=np.int64)
        for place, bit in enumerate(bits):
            keys |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) << place
        yield keys, len(bits)


def _bytes(tones: Hashes) -> npt.NDArray[np.int16]:
    return tones.view(np.uint8).reshape(len(tones), 8).astype(np.int16)
