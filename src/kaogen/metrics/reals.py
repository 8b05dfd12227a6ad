"""The real faces that a model is compared with, as the judges see them; from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from kaogen.data.archives.archive import Archive
from kaogen.errors import LabelError
from kaogen.metrics.cache import Cache, archive_features, cached, key_of
from kaogen.metrics.features import Features, as_rgb
from kaogen.metrics.judges import Judge, Seen
from kaogen.metrics.subject import Array, Bits, Floats, Look, Pixels, Tell, look_through, thumbs
from kaogen.tags import Vocabulary


@dataclass(frozen=True)
class Reals:
    """All faces of a data set file.

    Attributes:
        archive: the file.
        features: name -> float32 [N, F], for every judge and every other network.
        mirrored: the first judge's features of the faces flipped left to right, [N, F].
        seen: what each judge saw, in the judges' order.
        thumbs: uint8 [N, THUMB, THUMB, 3].
    """

    archive: Archive
    features: dict[str, Floats]
    mirrored: Floats
    seen: tuple[Seen, ...]
    thumbs: Pixels

    @classmethod
    def read(
        cls,
        archive: Archive,
        judges: Sequence[Judge],
        others: Sequence[Features],
        tell: Tell,
        cache: Cache | None = None,
    ) -> Reals:
        """Look at every face of the file, or find in the cache what was seen before."""
        seen = tuple(_seen(archive, judge, tell, cache) for judge in judges)
        features = {j.name: s.features for j, s in zip(judges, seen, strict=True)}
        for network in others:
            progress = partial(tell, f"real faces, {network.name}")
            features[network.name] = archive_features(
                archive, network, cache=cache, progress=progress
            )
        first = judges[0].features
        progress = partial(tell, f"real faces mirrored, {first.name}")
        mirrored = archive_features(archive, first, mirrored=True, cache=cache, progress=progress)
        return cls(
            archive, features, mirrored, seen, _look(archive, thumbs, "real faces, pixels", tell)
        )

    def __len__(self) -> int:
        return len(self.archive)

    def face(self, index: int) -> Pixels:
        """One face, uint8 [H, W, 3]."""
        face: Pixels = as_rgb(self.archive.image(index)[np.newaxis])[0]
        return face

    def source_of(self, index: int) -> str:
        """The name of the file that a face is from, or of its entry where that is not known."""
        files = (self.archive.provenance() or {}).get("files") or []
        entry = self.archive.names[index]
        return next((str(f[1]) for f in files if f[0] == entry), entry)


def rows_for(archive: Archive, vocabulary: Vocabulary) -> Bits:
    """The file's label rows, bool [N, L], in the columns of a model's vocabulary.

    Raises LabelError when the file has no tags, or none that the model has.
    """
    if archive.labels is None or archive.vocabulary is None:
        raise LabelError(
            f"{archive.path} has no tags; obedience cannot be measured without.",
            hint="Prepare it with --tags or --tagger.",
        )
    rows = np.zeros((len(archive), len(vocabulary)), dtype=np.bool_)
    shared = [name for name in vocabulary.names if name in archive.vocabulary]
    if not shared:
        raise LabelError(f"{archive.path} and the model have no tag in common.")
    there = [archive.vocabulary.index(name) for name in shared]
    rows[:, [vocabulary.index(name) for name in shared]] = archive.labels[:, there] >= 0.5
    return rows


def _seen(archive: Archive, judge: Judge, tell: Tell, cache: Cache | None) -> Seen:
    """One pass gives scores and features; they are kept side by side."""

    def look(images: Pixels) -> tuple[Floats]:
        return (np.concatenate(judge.features.scores_and_features(images), axis=1),)

    key = key_of(archive.fingerprint, judge.features.identity, "scores and features")
    what = f"real faces, {judge.name}"
    both = cached(key, lambda: _look(archive, look, what, tell), cache)
    return judge.read(both)


def _look(archive: Archive, look: Look, what: str, tell: Tell) -> Array:
    def source(start: int, stop: int) -> Pixels:
        return as_rgb(np.stack([archive.image(i) for i in range(start, stop)]))

    return look_through(source, len(archive), [look], partial(tell, what))[0][0]
