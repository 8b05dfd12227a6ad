"""A judge: a tagger that says what a picture shows, and the features that it says so from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kaogen.metrics.features import TaggerFeatures
from kaogen.metrics.subject import Bits, Floats, Pixels
from kaogen.tags import EXCLUSIVE, Vocabulary

_LEAST = 1e-4
_RIVALS = tuple(EXCLUSIVE.values())


@dataclass(frozen=True)
class Seen:
    """What a judge saw in N pictures.

    Attributes:
        shown: bool [N, T]: the tags that count, by the tagger's own rules.
        scores: float32 [N, T] in [0, 1].
        features: float32 [N, F], its pooled last stage.
    """

    shown: Bits
    scores: Floats
    features: Floats

    def __len__(self) -> int:
        return len(self.shown)

    def part(self, start: int, stop: int) -> Seen:
        """The pictures start..stop."""
        rows = slice(start, stop)
        return Seen(self.shown[rows], self.scores[rows], self.features[rows])

    def take(self, places: Sequence[int] | npt.NDArray[np.integer]) -> Seen:
        """The pictures at these places."""
        rows = np.asarray(places, dtype=np.intp)
        return Seen(self.shown[rows], self.scores[rows], self.features[rows])


class EditSpace:
    """The directions of a judge's features in which it reads tags.

    A ridge regression of the tags' logits upon the features of real faces finds, per tag, the
    direction that the judge reads it from (for a linear head, its weights). A change of features
    along the directions of the tags that were edited is the edit itself; what is left of it is
    change that nobody asked for.

    Args:
        features: float32 [N, F] of real faces.
        scores: float32 [N, T] of the same faces.
    """

    def __init__(self, features: Floats, scores: Floats) -> None:
        x = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
        p = np.clip(scores.astype(np.float64), _LEAST, 1 - _LEAST)
        logits = np.log(p) - np.log1p(-p)
        logits -= logits.mean(axis=0)
        gram = x.T @ x
        weight = 1e-4 * np.trace(gram) / len(gram) + 1e-9
        self._directions = np.linalg.solve(gram + weight * np.eye(len(gram)), x.T @ logits).T

    def outside(self, change: Floats, tags: Sequence[int]) -> npt.NDArray[np.float64]:
        """Changes of features [n, F] without their part along the tags' directions."""
        wide = change.astype(np.float64)
        if not len(tags):
            return wide
        _, strength, axes = np.linalg.svd(self._directions[list(tags)], full_matrices=False)
        basis = axes[strength > 1e-6 * max(float(strength[0]), 1e-12)]
        rest: npt.NDArray[np.float64] = wide - (wide @ basis.T) @ basis
        return rest


class Judge:
    """A tagger together with its features, called on blocks of pictures from several threads.

    Args:
        features: of the tagger's own graph.
        independent: whether it had no part in training the models that it judges.

    Attributes:
        name: as reports print it.
        tags: the T tags that it judges well enough to be believed, in its own order.
        sha256: of its graph.
    """

    def __init__(self, features: TaggerFeatures, *, independent: bool) -> None:
        self.name = features.name
        self.independent = independent
        self.features = features
        self.sha256 = features.tagger.sha256
        known = [(i, rule.name) for i, rule in enumerate(features.tagger.rules) if rule.learnt]
        self._columns = [i for i, _ in known]
        self.tags = tuple(name for _, name in known)
        self._place = {name: place for place, name in enumerate(self.tags)}
        self._read_rules()

    def _read_rules(self) -> None:
        """The tagger's rules as arrays over its A scores."""
        rules, words = self.features.tagger.rules, [r.name for r in self.features.tagger.rules]
        grouped = {i for columns in self.features.tagger.exclusive.values() for i in columns}
        self._learnt = np.array([rule.learnt for rule in rules])
        self._limits = np.array([rule.threshold for rule in rules], np.float32).clip(1e-6)
        self._free = self._learnt & np.array([i not in grouped for i in range(len(rules))])
        near = [[i for i, w in enumerate(words) if w in r and self._free[i]] for r in _RIVALS]
        self._rivals = [columns for columns in near if len(columns) > 1]
        vocabulary = Vocabulary(words)
        closure = [vocabulary.encode(vocabulary.with_implied([word])) for word in words]
        self._implied = np.array(closure) > 0.5

    def __call__(self, images: Pixels) -> tuple[Bits, Floats, Floats]:
        """Look at pictures [n, H, W, 3]: the parts of `Seen`."""
        scores, features = self.features.scores_and_features(images)
        return self.verdicts(scores), scores[:, self._columns], features

    def read(self, both: Floats) -> Seen:
        """What was seen, from scores and features side by side [n, A + F]."""
        count = len(self.features.tagger.rules)
        scores = np.ascontiguousarray(both[:, :count])
        features = np.ascontiguousarray(both[:, count:])
        return Seen(self.verdicts(scores), scores[:, self._columns], features)

    def verdicts(self, scores: Floats) -> Bits:
        """Which tags count, bool [n, T], by all the scores [n, A]: `Tagger.tags` for many rows."""
        shown = (scores >= self._limits) & self._free
        for columns in self._rivals:
            # Of several the one furthest above its threshold, of equals the last, as for one row.
            margin = np.where(shown[:, columns], scores[:, columns] / self._limits[columns], -1)
            best = len(columns) - 1 - margin[:, ::-1].argmax(axis=1)
            shown[:, columns] &= np.arange(len(columns)) == best[:, np.newaxis]
        for group in self.features.tagger.exclusive.values():
            winner = np.asarray(group)[scores[:, group].argmax(axis=1)]
            shown[np.arange(len(scores)), winner] = True
        shown &= self._learnt
        found: Bits = (shown @ self._implied)[:, self._columns]
        return found

    def knows(self, tag: str) -> bool:
        """Whether it judges this tag."""
        return tag in self._place

    def column(self, tag: str) -> int:
        """The tag's place in what it saw."""
        return self._place[tag]
