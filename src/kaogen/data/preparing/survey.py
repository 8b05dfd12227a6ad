"""The first walk through everything that was found: what only the whole set can tell."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from kaogen.data.preparing.duplicates import hamming, near_duplicates
from kaogen.data.preparing.filters import Filters
from kaogen.data.preparing.found import Found

_MOST_FAULTS = 100
# What makes two drawings of one face more than copies: whoever cuts sprites wants all of these.
_EXPRESSIONS = ("open mouth", ":d", "smile", "closed eyes", "one eye closed", "tears", "tongue")


@dataclass
class Survey:
    """What the whole set tells.

    Attributes:
        found: faces that were found, those that are left out among them.
        fine: faces that no filter of single faces leaves out.
        worded: those of them with words beside their picture.
        faulty: sidecars that could not be read, as ``(picture, why)``; the first hundred.
        like: near-duplicates: a face's number among the fine ones -> that of the one that is
            kept instead.
        names: the pictures' names of those that are in ``like``, either way.
        bits: in which the two differ, by the number of the one that is left out.
    """

    found: int = 0
    fine: int = 0
    worded: int = 0
    faulty: list[tuple[str, str]] = field(default_factory=list)
    like: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    bits: dict[int, int] = field(default_factory=dict)


def has_words(one: Found) -> bool:
    """Whether anything that stands beside the picture says tags."""
    return one.words is not None and bool(one.words.words)


def survey(
    everything: Iterable[Found],
    filters: Filters,
    unwanted: Callable[[Found], bool],
    *,
    need_words: bool,
    tags: Callable[[Found], Iterable[str]] = lambda _: (),
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Walk through ``everything`` once; of each fine face some 40 bytes are held.

    Args:
        everything: what was found, in order.
        filters: says whether near-duplicates are looked for.
        unwanted: whether a fine face's tags leave it out; such a face replaces no other.
        need_words: where some have words, those without are left out, and replace no other.
        tags: what a face is known to show; other expressions make it no near-duplicate.
        progress: called with (faces compared, all faces).
    """
    told = Survey()
    hashes, tones = array("Q"), array("Q")
    sizes, numbers = array("q"), array("q")
    worded, kinds = array("b"), array("q")
    names: list[str] = []
    for one in everything:
        told.found += one.faces > 0
        if one.words is not None and one.words.fault and len(told.faulty) < _MOST_FAULTS:
            told.faulty.append((one.name, one.words.fault))
        if one.reason:
            continue
        number, told.fine = told.fine, told.fine + 1
        told.worded += has_words(one)
        if filters.duplicates is None or one.stats is None or unwanted(one):
            continue
        hashes.append(one.stats.phash)
        tones.append(one.stats.tone)
        sizes.append(one.stats.size)
        numbers.append(number)
        worded.append(has_words(one))
        shown = set(tags(one))
        kinds.append(sum((tag in shown) << bit for bit, tag in enumerate(_EXPRESSIONS)))
        names.append(one.name)
    if filters.duplicates is None:
        return told
    rival = np.ones(len(numbers), dtype=np.bool_)
    if need_words and told.worded:
        rival = np.frombuffer(worded, dtype=np.int8) > 0
    place = np.flatnonzero(rival)
    codes = np.frombuffer(hashes, dtype=np.uint64)[place]
    like = near_duplicates(
        codes,
        filters.duplicates,
        [names[i] for i in place],
        sizes=[sizes[i] for i in place],
        tones=np.frombuffer(tones, dtype=np.uint64)[place],
        kinds=[kinds[i] for i in place],
        progress=progress,
    )
    for dropped, kept in like.items():
        a, b = place[dropped], place[kept]
        told.like[numbers[a]] = numbers[b]
        told.names[numbers[a]], told.names[numbers[b]] = names[a], names[b]
        told.bits[numbers[a]] = hamming(int(codes[dropped]), int(codes[kept]))
    return told
