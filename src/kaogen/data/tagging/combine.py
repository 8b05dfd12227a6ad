"""Several opinions of one face made one: taggers with taggers, and taggers with what people wrote.

A rule says how: ``max`` takes the surest, ``mean`` the average of those that know the tag,
``first`` the first that knows it. Opinions are compared on one scale, where 0.5 is each tagger's
own threshold for the tag, since a WD tagger means yes by 0.35 where another means no.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from kaogen.data.tagging.tag_rules import Row, TagReader, TagRule, Thresholds, level, read_exclusive
from kaogen.data.tagging.taggers import AnyTagger, Combine
from kaogen.errors import ConfigError
from kaogen.tags import Vocabulary

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

RULES: tuple[str, ...] = get_args(Combine)
_FLOOR = 0.1
# What people wrote, averaged with a tagger: they forget tags, and err, so neither is certain.
_LISTED, _UNLISTED = 0.9, 0.1


def combine(levels: Scores, rule: Combine) -> Scores:
    """Opinions ``[K, ...]``, NaN where one says nothing -> one opinion; 0 where none says any."""
    if rule == "first":
        place = np.argmax(~np.isnan(levels), axis=0)[None]
        one = np.take_along_axis(levels, place, axis=0)[0]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of tags that nobody knows
            one = (np.nanmax if rule == "max" else np.nanmean)(levels, axis=0)
    known: Scores = np.nan_to_num(one, nan=0.0).astype(np.float32)
    return known


class CombinedTagger:
    """Several taggers as one; see :class:`AnyTagger`.

    Args:
        parts: the taggers, in their order.
        rule: "max", "mean" or "first".
        thresholds: over 0.5, on the common scale.
    """

    def __init__(self, parts: Sequence[AnyTagger], rule: Combine, thresholds: Thresholds) -> None:
        self.parts, self.rule, self.thresholds = tuple(parts), rule, thresholds
        self.names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        self.size = max(part.size for part in parts)
        wanted = {part.margin for part in parts}
        self.margin = wanted.pop() if len(wanted) == 1 else None
        learnt = {r.name for part in parts for r in part.rules if r.learnt}
        exclusive = read_exclusive(self.names)
        group_of = {i: group for group, members in exclusive.items() for i in members}
        self.rules = thresholds.apply(
            [TagRule(n, 0.5, group_of.get(i), n in learnt) for i, n in enumerate(self.names)]
        )
        self._reader = TagReader(self.rules, exclusive, floor=_FLOOR, mcut=thresholds.mcut)

    def scores(self, images: Sequence[Pixels]) -> Scores:
        """Combined scores ``[N, T]`` in [0, 1], where 0.5 is the taggers' own threshold."""
        column = {name: i for i, name in enumerate(self.names)}
        levels = np.full((len(self.parts), len(images), len(self.names)), np.nan, np.float32)
        for opinion, part in zip(levels, self.parts, strict=True):
            places = [column[name] for name in part.names]
            opinion[:, places] = level(part.scores(images), part.rules)
        return combine(levels, self.rule)

    def tags(self, row: Row) -> list[tuple[str, float]]:
        """The tags that a row of scores ``[T]`` means: see :meth:`TagReader.tags`."""
        return self._reader.tags(row)

    def describe(self) -> dict[str, Any]:
        """The rule and its taggers, for a data set's provenance."""
        parts = [part.describe() for part in self.parts]
        return {"combine": self.rule, "taggers": parts} | self.thresholds.describe()


class Merger:
    """What people wrote about a face (a CSV, sidecars) and what a tagger saw -> its tags.

    What was written comes first, so ``first`` believes it alone, except that the tagger decides
    hair and eye colour where nothing or several were written. ``max`` adds what the tagger saw.
    ``mean`` adds only what it is very sure of, and drops what it is very sure against.

    Args:
        tagger: the one that sees.
        vocabulary: the tags that people may write.
        rule: "max", "mean" or "first".

    Raises:
        ConfigError: there is no such rule.
    """

    def __init__(self, tagger: AnyTagger, vocabulary: Vocabulary, rule: Combine = "max") -> None:
        if rule not in RULES:
            raise ConfigError(f"--combine {rule} is none of {', '.join(RULES)}.")
        self.tagger, self.rule = tagger, rule
        self.names = tuple(dict.fromkeys((*tagger.names, *vocabulary.names)))
        self._column = {name: i for i, name in enumerate(self.names)}
        self._groups = read_exclusive(self.names)
        self._seen = [self._column[name] for name in tagger.names]
        self._written = [self._column[name] for name in vocabulary.names]
        rules = [TagRule(name, 0.5, None, learnt=True) for name in self.names]
        self._reader = TagReader(rules, self._groups, floor=0.5)

    def tags(self, row: Row | None, listed: Sequence[str] | None) -> list[tuple[str, float]]:
        """Tags with their scores on the common scale, in ``names``' order.

        Args:
            row: the tagger's scores ``[T]``; None when it was not asked.
            listed: what people wrote, names of the vocabulary; None when they wrote nothing.
        """
        if listed is None:
            return [] if row is None else self.tagger.tags(row)
        levels = np.full((2, len(self.names)), np.nan, dtype=np.float32)
        self._write(levels[0], listed)
        if row is not None:
            self._see(levels[1], row)
        return self._reader.tags(combine(levels, self.rule))

    def _write(self, out: Scores, listed: Sequence[str]) -> None:
        low, high = (_UNLISTED, _LISTED) if self.rule == "mean" else (0.0, 1.0)
        out[self._written] = low
        out[[self._column[name] for name in listed]] = high
        for columns in self._groups.values():
            if sum(out[i] == high for i in columns) != 1:
                out[list(columns)] = np.nan

    def _see(self, out: Scores, row: Row) -> None:
        """The tagger's opinion; of an exclusive group its own choice alone is a yes."""
        scores = np.asarray(row, dtype=np.float32)[None]
        out[self._seen] = level(scores, self.tagger.rules)[0]
        chosen = {name for name, _ in self.tagger.tags(row)}
        for columns in self._groups.values():
            for i in columns:
                if self.names[i] in chosen:
                    out[i] = max(out[i], 0.5)
                elif out[i] >= 0.5:
                    out[i] = 0.499
