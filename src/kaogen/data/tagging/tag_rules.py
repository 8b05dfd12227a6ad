"""From scores to tags: thresholds, exclusive groups, implications; one rule for all taggers.

Scores are probabilities in [0, 1]. What is read here comes from taggers (``taggers.py``), and
thresholds from the command line or a JSON file such as ``{"*": 0.4, "smile": 0.35}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.errors import ConfigError
from kaogen.tags import EXCLUSIVE, Vocabulary

Row = Sequence[float] | npt.NDArray[np.float32]

MCUT = "mcut"
_LEAST_CUT = 0.15
_EVERY = "*"


@dataclass(frozen=True)
class TagRule:
    """How one score is read.

    Attributes:
        name: the tag.
        threshold: the score from which on the tag counts, in [0, 1].
        group: the exclusive group it belongs to, or None.
        learnt: whether the tagger judges it well enough to be believed.
    """

    name: str
    threshold: float
    group: str | None
    learnt: bool


@dataclass(frozen=True)
class Thresholds:
    """Thresholds that a person sets over the tagger's own.

    Attributes:
        every: for all tags that are not in ``of``; None keeps the tagger's.
        of: tag (any spelling) -> threshold.
        mcut: for each picture the middle of the widest gap between its scores, at least 0.15.
    """

    every: float | None = None
    of: Mapping[str, float] = field(default_factory=dict, hash=False)
    mcut: bool = False

    def apply(self, rules: Sequence[TagRule]) -> tuple[TagRule, ...]:
        """The rules with these thresholds.

        Raises:
            UnknownTagError: a threshold is set for a tag that the tagger does not have.
        """
        words = Vocabulary([rule.name for rule in rules])
        own = {
            words.resolve(word, where="the thresholds"): value for word, value in self.of.items()
        }
        return tuple(
            replace(rule, threshold=own.get(rule.name, self._fallback(rule))) for rule in rules
        )

    def describe(self) -> dict[str, Any]:
        """What was set, for a data set's provenance; empty where nothing was."""
        own = {_EVERY: self.every} if self.every is not None else {}
        said: dict[str, Any] = {"thresholds": own | dict(self.of)} if own or self.of else {}
        return said | ({MCUT: True} if self.mcut else {})

    def _fallback(self, rule: TagRule) -> float:
        return rule.threshold if self.every is None else self.every


def read_thresholds(options: Iterable[str] = (), file: Path | None = None) -> Thresholds:
    """Read ``--threshold`` options over a ``--thresholds`` file.

    An option is ``0.4`` (every tag), ``smile=0.4`` (one tag) or ``mcut``; the file is a JSON object
    of tags and thresholds, where ``*`` is every tag.

    Raises:
        ConfigError: the file or an option cannot be read, or a threshold is not in [0, 1].
    """
    every: float | None = None
    of = _read_file(file) if file is not None else {}
    mcut = False
    if _EVERY in of:
        every = of.pop(_EVERY)
    for option in options:
        word, separator, value = option.rpartition("=")
        if option.strip().casefold() == MCUT:
            mcut = True
        elif not separator:
            every = _number(option, f"--threshold {option}")
        elif not word.strip():
            raise ConfigError(f"--threshold {option} names no tag.", hint="Such as: smile=0.4")
        else:
            of[word.strip()] = _number(value, f"--threshold {option}")
    return Thresholds(every, of, mcut)


def _read_file(path: Path) -> dict[str, float]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is no JSON object of tags and thresholds.")
    return {word: _number(value, f"{path}: {word!r}") for word, value in values.items()}


def _number(value: object, place: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise ConfigError(f"{place} is no threshold from 0 to 1.", hint="Such as: smile=0.4")
    return number


class TagReader:
    """Reads rows of scores ``[T]``: which tags they mean.

    Attributes:
        rules: one per score, in the scores' order.
        exclusive: group -> columns of which the best alone counts.
        floor: the score that the best of a group must have to count.
        mcut: thresholds of tags outside groups are cut for each row by itself.
    """

    def __init__(
        self,
        rules: Sequence[TagRule],
        exclusive: Mapping[str, tuple[int, ...]],
        *,
        floor: float = 0.0,
        mcut: bool = False,
    ) -> None:
        self.rules = tuple(rules)
        self.exclusive = dict(exclusive)
        self.floor = floor
        self.mcut = mcut
        self._vocabulary = Vocabulary([rule.name for rule in self.rules])
        grouped = {i for columns in self.exclusive.values() for i in columns}
        self._free = [i for i in range(len(self.rules)) if i not in grouped]

    def tags(self, row: Row) -> list[tuple[str, float]]:
        """The tags that a row of scores ``[T]`` means, with their scores, in the scores' order.

        Of an exclusive group the best one counts, whatever its score (but for ``floor``); of the
        others those at or above their threshold; of long and short hair the one that is further
        above. What these imply (``:d`` is a smile) counts too. A tag that the tagger has not learnt
        is never given: where it wins its group, the group stays empty, since the second best would
        be wrong.
        """
        best = (max(columns, key=lambda i: row[i]) for columns in self.exclusive.values())
        chosen = {i for i in best if row[i] >= self.floor}
        above = self._above(row)
        for rivals in EXCLUSIVE.values():
            rising = sorted((m, i) for i, m in above.items() if self.rules[i].name in rivals)
            for _, i in rising[:-1]:
                del above[i]
        named = {self.rules[i].name for i in (*chosen, *above) if self.rules[i].learnt}
        shown = self._vocabulary.with_implied(named)
        return [
            (rule.name, float(row[i]))
            for i, rule in enumerate(self.rules)
            if rule.learnt and rule.name in shown
        ]

    def _above(self, row: Row) -> dict[int, float]:
        """Columns outside groups that count -> how far their scores are above the threshold."""
        free = [i for i in self._free if self.rules[i].learnt]
        cut = mcut([float(row[i]) for i in free]) if self.mcut else None
        limits = {i: self.rules[i].threshold if cut is None else cut for i in free}
        return {i: float(row[i]) / max(limits[i], 1e-6) for i in free if row[i] >= limits[i]}


def mcut(scores: Sequence[float]) -> float:
    """The middle of the widest gap between sorted scores, at least 0.15.

    Largeron, Moulin, Gery, "MCut: a thresholding strategy for multi-label classification", 2012.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    if len(ordered) < 2:
        return _LEAST_CUT
    gap = int(np.argmax(ordered[:-1] - ordered[1:]))
    return max(_LEAST_CUT, float(ordered[gap] + ordered[gap + 1]) / 2)


def read_exclusive(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Exclusive group -> columns of these names, for taggers that do not say it themselves.

    Long and short hair are none: a face may well have neither.
    """
    column = {name: i for i, name in enumerate(names)}
    vocabulary = Vocabulary(names)
    groups = {group.name for group in vocabulary.groups if group.exclusive}
    return {
        key: tuple(column[name] for name in members)
        for key, members in vocabulary.exclusive.items()
        if key in groups
    }


def level(scores: npt.NDArray[np.float32], rules: Sequence[TagRule]) -> npt.NDArray[np.float32]:
    """Scores ``[N, T]`` on a scale that all taggers share: 0.5 is each tag's own threshold.

    Straight from 0 to the threshold and from there to 1, so that order is kept. Where the tagger
    has not learnt a tag, NaN: it says nothing.
    """
    limits = np.array([rule.threshold for rule in rules], dtype=np.float32).clip(1e-3, 1 - 1e-3)
    below = 0.5 * scores / limits
    above = 0.5 + 0.5 * (scores - limits) / (1 - limits)
    levels: npt.NDArray[np.float32] = np.where(scores < limits, below, above).astype(np.float32)
    levels[:, [not rule.learnt for rule in rules]] = np.nan
    return levels
