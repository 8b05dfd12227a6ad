"""Labelled faces for the tagger: pictures and targets from zips with a CSV of tags.

Each source says which tags it vouches for. `getchu.csv` was labelled face by face, so there a
missing tag means "no"; the others know colours (and hair length) only, and everything they do
not vouch for is masked out of the loss.
"""

from __future__ import annotations

import csv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kaogen.errors import ImageError, LabelError
from kaogen.images import read_image
from kaogen.tags import EXTRA_TAGS, PAPER, PAPER_TAGS, Vocabulary

# Soft borders that the labellers named: gray is silver in the noisy sets.
SAME_AS = {"gray hair": "silver hair"}
HAIR = tuple(t for t in PAPER_TAGS if t.endswith(" hair") and t not in ("long hair", "short hair"))
HAIR = (*HAIR, "aqua hair")
EYES = tuple(t for t in PAPER_TAGS if t.endswith(" eyes"))
EXCLUSIVE: dict[str, tuple[str, ...]] = {"hair colour": HAIR, "eye colour": EYES}
UNKNOWN = -1


@dataclass(frozen=True)
class Labelled:
    """Faces with targets; `binary` is NaN where the source does not vouch for a tag."""

    images: NDArray[np.uint8]  # [N, S, S, 3]
    hair: NDArray[np.int64]  # [N], index into HAIR or UNKNOWN
    eyes: NDArray[np.int64]  # [N], index into EYES or UNKNOWN
    binary: NDArray[np.float32]  # [N, len(binary_tags)]
    names: list[str]


@dataclass(frozen=True)
class Faces:
    """Faces with one target per output (see `output_names`), as the training takes them.

    Attributes:
        images: uint8 [N, S, S, 3].
        targets: float32 [N, outputs] in [0, 1]; NaN where nothing is known. A colour group's
            targets sum to 1 or are all NaN.
        weighted: whether rare tags count more (`positive_weight`). Not where the targets are
            another network's scores: those have the weight in them already.

    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    weighted: bool = True


def output_names(binary_tags: tuple[str, ...]) -> list[str]:
    """Names of the network's outputs in order."""
    return [*HAIR, *EYES, *binary_tags]


def hard_targets(source: Labelled, smoothing: float = 0.1) -> Faces:
    """Labels -> targets; colours are smoothed, since their borders are soft."""
    parts = []
    for index, count in ((source.hair, len(HAIR)), (source.eyes, len(EYES))):
        part = np.full((len(index), count), smoothing / count, np.float32)
        known = index >= 0
        part[known, index[known]] += 1 - smoothing
        part[~known] = np.nan
        parts.append(part)
    return Faces(source.images, np.concatenate([*parts, source.binary], axis=1))


def read_csv(path: Path) -> dict[str, set[str]]:
    """`file,tags` with `|` between tags -> {file: tags with what they imply}."""
    every = Vocabulary([*PAPER_TAGS, *EXTRA_TAGS])
    rows: dict[str, set[str]] = {}
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if reader.fieldnames is None or {"file", "tags"} - set(reader.fieldnames):
            raise LabelError(f"{path} has no header `file,tags`.")
        for row in reader:
            tags = {SAME_AS.get(t, t) for t in row["tags"].split("|") if t}
            known = [t for t in tags if t in every.names]
            rows[row["file"]] = set(every.with_implied(known))
    return rows


def read_faces(path: Path, names: list[str], size: int) -> NDArray[np.uint8]:
    """Decode `names` from a zip to [N, size, size, 3]; threads, since Pillow frees the lock."""
    out = np.empty((len(names), size, size, 3), np.uint8)
    with zipfile.ZipFile(path) as source:
        raw = [source.read(n) for n in names]

    def decode(i: int) -> None:
        try:
            face = Image.fromarray(read_image(raw[i]))
        except ImageError as error:
            raise LabelError(f"{path}: {names[i]}: {error.message}") from error
        out[i] = np.asarray(face.resize((size, size), Image.Resampling.LANCZOS))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, range(len(names))))
    return out


def one_of(tags: set[str], classes: tuple[str, ...]) -> int:
    """The class index, or UNKNOWN where none or several are named (several characters' tags)."""
    found = [i for i, name in enumerate(classes) if name in tags]
    return found[0] if len(found) == 1 else UNKNOWN


def load(
    zip_path: Path,
    csv_path: Path,
    size: int,
    binary_tags: tuple[str, ...],
    vouched: frozenset[str] | None,
) -> Labelled:
    """Read one labelled set; `vouched` is None where a missing tag means "no"."""
    rows = read_csv(csv_path)
    names = sorted(n for n, tags in rows.items() if "bad" not in tags)
    binary = np.full((len(names), len(binary_tags)), np.nan, np.float32)
    for j, tag in enumerate(binary_tags):
        if vouched is None:
            binary[:, j] = [tag in rows[n] for n in names]
        elif tag in vouched:
            # Silence is no evidence here, but of long and short hair one excludes the other.
            other = {"long hair": "short hair", "short hair": "long hair"}.get(tag, "")
            for i, name in enumerate(names):
                if tag in rows[name]:
                    binary[i, j] = 1.0
                elif other in rows[name]:
                    binary[i, j] = 0.0
    return Labelled(
        images=read_faces(zip_path, names, size),
        hair=np.array([one_of(rows[n], HAIR) for n in names]),
        eyes=np.array([one_of(rows[n], EYES) for n in names]),
        binary=binary,
        names=names,
    )


def count_tags(csv_path: Path) -> dict[str, int]:
    """How often each tag is named, implications included."""
    counts = dict.fromkeys(PAPER.names, 0)
    for tags in read_csv(csv_path).values():
        for tag in tags:
            counts[tag] = counts.get(tag, 0) + 1
    return counts
