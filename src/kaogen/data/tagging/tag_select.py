"""The most useful tags of a tagged set: a vocabulary of N, as the paper chose 59 of about 500.

A tag is worth what a label with it tells of a face: its entropy in bits, less what the tags chosen
before it tell already (the pairwise conditional entropy ``min_j H(X | X_j)``, as in feature
selection by conditional mutual information, Fleuret 2004), times how well the tagger knows it and
how well it holds in a crop. So rare tags, tags that nearly every face has, second names of one
thing, and what the crop cuts off come last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.data.tagging.tag_prior import why_useless
from kaogen.data.tagging.tagged import Column, Tagged
from kaogen.errors import ConfigError, InputError, LabelError
from kaogen.tags import Vocabulary, tag

Matrix = npt.NDArray[np.float64]

_FORMAT, _VERSION = "kaogen-tags", 1
LEAST_FACES = 10
_LEAST_SHARE = 0.001
_MOST_SHARE = 0.95
_UNSURE = 0.4
_MOSTLY_TOLD = 0.6
_MAX_FILE = 2**20
_NEAR = 15
_SAME = 0.01
_CHUNK = 4096


@dataclass(frozen=True)
class Choice:
    """A tag and what speaks for or against it.

    Attributes:
        name: the tag.
        faces: how many faces of the set show it.
        share: of all faces, in [0, 1].
        sure: agreement of tagger and labels in [0, 1], or None.
        holds: how many faces still show it in a tighter crop, in [0, 1], or None.
        bits: what it adds to the tags chosen before it.
        told_by: the chosen tag that tells most of it, or "".
        told: the part of its bits that that one tells, in [0, 1].
        reason: why it was chosen or not, in words.
    """

    name: str
    faces: int
    share: float
    sure: float | None
    holds: float | None
    bits: float
    told_by: str
    told: float
    reason: str


@dataclass(frozen=True)
class Selection:
    """What was chosen, best first, and the nearest misses.

    Attributes:
        source: the tagged set, in words.
        faces: how many faces it has.
        candidates: how many tags there were.
        chosen: the vocabulary, best first.
        missed: the tags that came nearest without being chosen.
    """

    source: str
    faces: int
    candidates: int
    chosen: tuple[Choice, ...]
    missed: tuple[Choice, ...]

    @property
    def vocabulary(self) -> Vocabulary:
        """The chosen tags, best first."""
        return Vocabulary([choice.name for choice in self.chosen])

    def write(self, path: Path) -> None:
        """Write the vocabulary file, whole or not at all; LabelError when it cannot be."""
        told = {
            "format": _FORMAT,
            "version": _VERSION,
            "tags": list(self.vocabulary.names),
            "from": {"name": self.source, "faces": self.faces, "candidates": self.candidates},
            "why": {choice.name: _plain(choice) for choice in self.chosen},
            "missed": {choice.name: _plain(choice) for choice in self.missed},
        }
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
            partial.replace(path)
        except OSError as error:
            raise LabelError(f"{path} cannot be written ({error.strerror}).") from error


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary file: kaogen's JSON, or text with a tag a line.

    Raises:
        LabelError: it cannot be read or holds no vocabulary.
    """
    try:
        if path.stat().st_size > _MAX_FILE:
            raise LabelError(f"{path} is too large for a vocabulary.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise LabelError(f"{path} cannot be read ({reason}).") from error
    try:
        return Vocabulary(_names(text, path))
    except InputError as error:
        raise LabelError(f"{path}: {error.message}") from error


def _names(text: str, path: Path) -> list[str]:
    if not text.lstrip().startswith(("{", "[")):
        names: Any = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        try:
            told = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LabelError(f"{path} is not valid JSON ({error}).") from error
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise LabelError(f"{path} is no vocabulary file (`kaogen tags select` writes one).")
        if told.get("version") != _VERSION:
            raise LabelError(f"{path} is a vocabulary of version {told.get('version')}, not 1.")
        names = told.get("tags")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise LabelError(f"{path} lists no tags.")
    if not names:
        raise LabelError(f"{path} lists no tags.")
    return list(names)


def select(
    tagged: Tagged,
    count: int,
    *,
    keep: Iterable[str] = (),
    drop: str = "",
    prior: bool = True,
    least: int = LEAST_FACES,
    near: int = _NEAR,
) -> Selection:
    """Choose ``count`` tags of a tagged set, or fewer where fewer are of use.

    Args:
        tagged: the set.
        count: how many.
        keep: tags that are chosen first, whatever speaks against them.
        drop: regular expression; tags in which it is found are not chosen.
        prior: leave out tags that are known to be no use for faces (``tag_prior``).
        least: fewest faces that must show a tag; a thousandth of them must, too.
        near: how many near misses to tell.

    Raises:
        ConfigError: a value cannot be, or no tag is of use.
        UnknownTagError: a tag to keep is none of the set.
    """
    if count < 1:
        raise ConfigError(f"-n {count} is not at least 1.")
    words = Vocabulary(tagged.names)
    kept = [words.index(words.resolve(word, where="--keep")) for word in keep]
    against = _ruled_out(tagged, drop, prior=prior, least=least)
    for i in kept:
        against[i] = ""
    race = _Race(tagged)
    order = [race.take(i) for i in dict.fromkeys(kept)][:count]
    while len(order) < count:
        best = race.best([not reason for reason in against])
        if best is None:
            break
        order.append(race.take(best))
    if not order:
        raise ConfigError(f"{tagged.source} has no tag that would be of use.")
    chosen = tuple(_choice(tagged, *row, _why(tagged, row, row[0] in kept)) for row in order)
    missed = race.missed(against, near, last=order[-1])
    return Selection(tagged.source, tagged.total, len(tagged.names), chosen, missed)


# Column, bits that it adds, the column that tells most of it (or -1), and how much of it.
Row = tuple[int, float, int, float]


class _Race:
    """Which tag adds most to those that were taken."""

    def __init__(self, tagged: Tagged) -> None:
        self.tagged = tagged
        self.entropy = _entropy(tagged.share)
        self.ratio = _conditional(tagged.shown)  # [i, j]: the part of i that j leaves open
        self.open = np.ones(len(tagged.names))
        self.teller = np.full(len(tagged.names), -1)
        self.weight = _weight(tagged.sure) * _weight(tagged.holds)
        self.left = np.ones(len(tagged.names), dtype=np.bool_)

    def worth(self) -> Column:
        return self.entropy * self.open * self.weight

    def best(self, may: list[bool]) -> int | None:
        worth = np.where(self.left & np.array(may), self.worth(), -1.0)
        best = int(np.argmax(worth))
        if worth[best] <= 0:
            return None
        # Of two names that mean the same here, the one that says more: blunt bangs are bangs.
        same = (worth > 0) & (self.ratio[best] < _SAME) & (self.ratio[:, best] < _SAME)
        names = self.tagged.names
        narrower = (int(i) for i in np.flatnonzero(same) if names[best] in tag(names[i]).implies)
        return next(narrower, best)

    def row(self, i: int) -> Row:
        bits = float(self.entropy[i] * self.open[i])
        return i, bits, int(self.teller[i]), float(1 - self.open[i])

    def take(self, i: int) -> Row:
        row = self.row(i)
        self.left[i] = False
        nearer = self.ratio[:, i] < self.open
        self.teller[nearer] = i
        self.open = np.minimum(self.open, self.ratio[:, i])
        return row

    def missed(self, against: list[str], near: int, last: Row) -> tuple[Choice, ...]:
        # In the order of what they would be worth if nothing else spoke against them.
        left = self.left & (self.tagged.share > 0)
        worth = np.where(left, self.worth(), -1.0)
        order = np.argsort(-worth, kind="stable")[: min(near, int(left.sum()))]
        return tuple(self._miss(int(i), against[int(i)], last) for i in order)

    def _miss(self, i: int, reason: str, last: Row) -> Choice:
        row = self.row(i)
        sure, told = self.tagged.sure[i], row[3]
        if not reason and told >= _MOSTLY_TOLD:
            reason = f"{told:.0%} told by {self.tagged.names[row[2]]}"
        elif not reason and sure < _UNSURE:
            reason = "the tagger seldom confirms it"
        elif not reason and self.tagged.holds[i] < _UNSURE:
            reason = "the crop often cuts it off"
        elif not reason:
            reason = f"adds less than the last one chosen, {self.tagged.names[last[0]]}"
        return _choice(self.tagged, *row, reason)


def _ruled_out(tagged: Tagged, drop: str, *, prior: bool, least: int) -> list[str]:
    """Of each tag, what rules it out from the start; "" for nothing."""
    try:
        dropped = re.compile(drop, re.IGNORECASE) if drop else None
    except re.error as error:
        raise ConfigError(f"--drop {drop} is no regular expression ({error}).") from error
    return [
        "dropped, as asked"
        if dropped is not None and dropped.search(name)
        else _against(tagged, i, prior=prior, least=least)
        for i, name in enumerate(tagged.names)
    ]


def _against(tagged: Tagged, i: int, *, prior: bool, least: int) -> str:
    share, name = float(tagged.share[i]), tagged.names[i]
    faces = round(share * tagged.total)
    if faces == 0:
        return "no face shows it"
    if prior and why_useless(name):
        return why_useless(name)
    least = max(least, round(_LEAST_SHARE * tagged.total))
    if faces < least:
        return f"too few faces show it: {least:,} are needed"
    return "nearly every face shows it" if share > _MOST_SHARE else ""


def _why(tagged: Tagged, row: Row, asked: bool) -> str:
    i, _, teller, told = row
    if asked:
        return "asked for"
    words = "tells what no other does"
    if teller >= 0 and told >= 0.02:
        words = f"{told:.0%} told by {tagged.names[teller]}"
    return words + (", though the tagger seldom confirms it" if tagged.sure[i] < _UNSURE else "")


def _choice(tagged: Tagged, i: int, bits: float, teller: int, told: float, reason: str) -> Choice:
    share = float(tagged.share[i])
    sure, holds = (None if np.isnan(v[i]) else float(v[i]) for v in (tagged.sure, tagged.holds))
    by = tagged.names[teller] if teller >= 0 else ""
    faces = round(share * tagged.total)
    return Choice(tagged.names[i], faces, share, sure, holds, bits, by, told, reason)


def _entropy(share: Column) -> Column:
    """Binary entropy in bits."""
    p = np.clip(share, 0, 1)
    safe = np.stack([p, 1 - p]).clip(1e-12, 1)
    bits: Column = -(np.stack([p, 1 - p]) * np.log2(safe)).sum(axis=0)
    return bits.clip(0)


def _conditional(shown: npt.NDArray[np.bool_]) -> Matrix:
    """``H(X_i | X_j) / H(X_i)``, ``[T, T]``; 1 where i is the same for every face."""
    together = np.zeros((shown.shape[1],) * 2)
    for start in range(0, len(shown), _CHUNK):
        table = shown[start : start + _CHUNK].astype(np.float32)
        together += table.T @ table
    both = together / len(shown)
    share = np.diag(both)
    own = _entropy(share)
    cells = [both, share[:, None] - both, share[None] - both]
    cells.append(1 - cells[0] - cells[1] - cells[2])
    joint = sum((-c * np.log2(np.clip(c, 1e-12, 1)) for c in cells), np.zeros_like(both))
    left = (joint - own[None]).clip(0, None)
    return np.where(own[:, None] > 1e-9, left / np.maximum(own[:, None], 1e-9), 1.0).clip(0, 1)


def _weight(known: Column) -> Column:
    """Values in [0, 1] as weights; what is not known counts as the middle of what is."""
    if np.isnan(known).all():
        return np.ones_like(known)
    return np.where(np.isnan(known), np.nanmedian(known), known)


def _plain(choice: Choice) -> dict[str, Any]:
    told = asdict(choice)
    del told["name"]
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in told.items()
    }
