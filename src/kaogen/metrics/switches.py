"""Which characters are drawn to see whether tags are obeyed, and how one tag is switched."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from kaogen.metrics.subject import Bits, Floats, Subject
from kaogen.tags import Vocabulary


@dataclass
class Shots:
    """What is drawn for all tags, as one list of characters.

    Attributes:
        rows, seeds: of each picture.
        base: how many characters stand first.
        asked: tag -> places of the pictures asked for it.
        on, off: tag -> places (before, after) of characters that it was switched on or off in.
    """

    rows: list[Floats] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    base: int = 0
    asked: dict[str, list[int]] = field(default_factory=dict)
    on: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    off: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, row: Floats, seed: int) -> int:
        """Append one character; returns its place."""
        self.rows.append(row)
        self.seeds.append(seed)
        return len(self.rows) - 1


def plan_shots(subject: Subject, each: int, seed: int) -> Shots:
    """What to draw: `each` base characters, and per tag as many asked, switched on and off."""
    shots = Shots()
    rows = pick_rows(subject.real_rows, each, seed)
    for i, row in enumerate(rows):
        shots.add(row, seed + i)
    shots.base = each
    for tag in subject.tags:
        column = subject.vocabulary.index(tag)
        having = subject.real_rows[subject.real_rows[:, column]]
        source = pick_rows(having, each, seed, tag) if len(having) else rows
        shots.asked[tag] = [
            shots.add(switch(row, tag, subject, on=True), seed + i) for i, row in enumerate(source)
        ]
        shots.on[tag] = [
            (place, shots.add(switch(row, tag, subject, on=True), seed + place))
            for place, row in enumerate(rows)
            if not row[column]
        ]
        shots.off[tag] = _switched_off(shots, tag, subject)
    return shots


def _switched_off(shots: Shots, tag: str, subject: Subject) -> list[tuple[int, int]]:
    """The asked characters without the tag; what excludes others is replaced, by each in turn."""
    others = [name for name in rivals(tag, subject.vocabulary) if name in subject.tags]
    pairs = []
    for i, place in enumerate(shots.asked[tag]):
        row = shots.rows[place]
        if others:
            row = switch(row, others[i % len(others)], subject, on=True)
        else:
            row = switch(row, tag, subject, on=False)
        pairs.append((place, shots.add(row, shots.seeds[place])))
    return pairs


def pick_rows(rows: Bits, count: int, seed: int, word: str = "") -> Floats:
    """`count` label rows by seed (and word), each once before any comes again; float32."""
    source = np.random.default_rng([seed, zlib.crc32(word.encode())])
    turns = [source.permutation(len(rows)) for _ in range(-(-count // len(rows)))]
    return rows[np.concatenate(turns)[:count]].astype(np.float32)


def rivals(tag: str, words: Vocabulary) -> tuple[str, ...]:
    """The tags that cannot stand beside this one."""
    return tuple(
        name for names in words.exclusive.values() if tag in names for name in names if name != tag
    )


def switch(row: Floats, tag: str, subject: Subject, *, on: bool) -> Floats:
    """A label row [L] with one tag switched, and only what hangs on it: a new row.

    On: with the learnt tags that it implies, without its rivals. Off: without those that imply it.
    """
    words, out = subject.vocabulary, row.copy()
    if on:
        for name in words.with_implied([tag]):
            if name in subject.tags:
                out[[words.index(rival) for rival in rivals(name, words)]] = 0
                out[words.index(name)] = 1
        return out
    out[[words.index(name) for name in words.names if tag in words.with_implied([name])]] = 0
    return out


def bound(tag: str, words: Vocabulary) -> frozenset[str]:
    """The tags that may change when this one is switched: it, what it brings or takes along."""
    near = {name for name in words.names if tag in words.with_implied([name])}
    near.update(words.with_implied([tag]))
    return frozenset(near.union(*(rivals(name, words) for name in near)))
