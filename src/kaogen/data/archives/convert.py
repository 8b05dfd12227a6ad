"""One data set written as another: convert, and what merging and splitting share.

Every set is read face by face and written face by face. What was known of a face stays with it:
its source, its box, a tagger's scores; the set's provenance keeps those of the sets it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kaogen.data.archives.archive import Item, write_archive
from kaogen.data.archives.sets import FaceSet, open_set
from kaogen.data.archives.webdataset_out import SHARD_SIZE, write_webdataset
from kaogen.errors import ConfigError, LabelError
from kaogen.tags import Vocabulary

Progress = Callable[[int, int], None]


def convert(
    path: Path,
    out: Path,
    *,
    size: int | None = None,
    vocabulary: Vocabulary | None = None,
    shard_size: int = SHARD_SIZE,
    progress: Progress | None = None,
) -> int:
    """Write the data set at ``path`` as ``out``, and return how many faces there were.

    Args:
        path: anything that :func:`~kaogen.data.archives.sets.open_set` reads.
        out: ``.zip`` for an archive, ``.tar`` for WebDataset shards.
        size: longer edge in pixels; of TFRecords that resolution is taken, else faces are resized.
        vocabulary: names for the labels' columns of a set that has none, as TFRecords have none.
        shard_size: faces of a WebDataset shard.
        progress: called with (done, total) after each face.

    Raises:
        DataError: the set cannot be read or the new one not written.
        LabelError: the vocabulary does not fit the labels, or they have names already.
        ConfigError: an option that cannot be.
    """
    check_outputs([out], [path])
    faces = open_set(path, size)
    if vocabulary is not None:
        faces.vocabulary = _named(faces, vocabulary)
    return write_set(
        out,
        told(faces.items(), len(faces), progress),
        faces.vocabulary,
        {"converted": faces.describe()},
        faces.score_names,
        shard_size=shard_size,
    )


def _named(faces: FaceSet, vocabulary: Vocabulary) -> Vocabulary:
    if faces.vocabulary is not None and faces.vocabulary != vocabulary:
        raise LabelError(f"{faces.path} names its labels itself; other names would be wrong.")
    width = 0 if faces.labels is None else faces.labels.shape[1]
    if width != len(vocabulary):
        raise LabelError(
            f"{faces.path} has labels of {width} numbers, the vocabulary {len(vocabulary)} tags."
        )
    return vocabulary


def write_set(
    out: Path,
    items: Iterable[Item],
    vocabulary: Vocabulary | None,
    provenance: Mapping[str, Any],
    score_names: Sequence[str] | None,
    *,
    shard_size: int = SHARD_SIZE,
) -> int:
    """Write items as an archive or as WebDataset shards, as ``out`` ends; how many there were."""
    if out.suffix == ".tar":
        return write_webdataset(
            out, items, vocabulary, provenance, score_names, shard_size=shard_size
        )
    return write_archive(out, items, vocabulary, provenance, score_names)


def check_outputs(outs: Sequence[Path], sources: Sequence[Path]) -> None:
    """ConfigError when an output has no form that can be written, or is one of the sources."""
    for out in outs:
        if out.suffix not in (".zip", ".tar"):
            raise ConfigError(
                f"{out} ends in neither .zip nor .tar.",
                hint="A .zip becomes an archive, a .tar WebDataset shards.",
            )
        if not out.parent.is_dir():
            raise ConfigError(f"the folder {out.parent} does not exist.")
    places = [path.resolve() for path in (*outs, *sources)]
    for number, place in enumerate(places[: len(outs)]):
        if place in places[number + 1 :]:
            raise ConfigError(f"{outs[number]} would replace what is read or written beside it.")


def told(items: Iterable[Item], total: int, progress: Progress | None) -> Iterator[Item]:
    """The items, with ``progress`` told of each."""
    for done, item in enumerate(items, 1):
        yield item
        if progress is not None:
            progress(done, total)
