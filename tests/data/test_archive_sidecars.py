"""What the data set file says beside images and labels: scores, sources, boxes."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.data.archives.archive_writer import encode_png
from kaogen.errors import ArchiveError
from kaogen.tags import PAPER

COUNT = 12
NAMES = ("hat", "smile", "beyond the vocabulary")
SCORES = np.random.default_rng(2).random((COUNT, 3), dtype=np.float32)


def faces(scored: bool) -> Iterator[Item]:
    draw = np.random.default_rng(1)
    for n in range(COUNT):
        image = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        item = Item(image, ["hat"], source=f"{n}.webp", sha256=f"{n:064x}")
        if scored:
            scores = None if n == 3 else SCORES[n]
            item = Item(image, ["hat"], None, item.source, item.sha256, scores, (1, 2.04, 30, 40))
        yield item


def test_scores_and_boxes_ride_along(tmp_path: Path) -> None:
    path, plain = tmp_path / "scored.zip", tmp_path / "plain.zip"
    write_archive(path, faces(scored=True), PAPER, {"x": 1}, score_names=NAMES)
    write_archive(plain, faces(scored=False), PAPER)
    with Archive.open(path) as archive:
        found = archive.scores()
        assert found is not None
        assert found[0] == NAMES
        assert np.isnan(found[1][3]).all()  # no tagger saw it
        seen = np.arange(COUNT) != 3
        np.testing.assert_array_equal(found[1][seen], SCORES[seen].astype(np.float16))
        assert archive.files()[2] == ("00000/img00000002.png", "2.webp", f"{2:064x}")
        provenance = archive.provenance()
    assert provenance is not None
    assert provenance["x"] == 1
    assert provenance["files"][2][3] == [1, 2.0, 30, 40]
    with Archive.open(plain) as archive:
        assert archive.scores() is None
        assert archive.fingerprint == Archive.open(path).fingerprint  # the data are the same
    with zipfile.ZipFile(path) as archive_zip:
        pictures = [n for n in archive_zip.namelist() if not n.endswith((".json", ".npy"))]
    assert len(pictures) == COUNT


def test_scores_that_do_not_fit_their_names_are_refused(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    for scores in ([0.5], np.full((1, 3), 0.5)):
        with pytest.raises(ArchiveError, match="3 have names"):
            write_archive(tmp_path / "a.zip", [Item(image, scores=scores)], score_names=NAMES)
    assert list(tmp_path.iterdir()) == []


def test_long_sidecars_wait_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    image = encode_png(np.zeros((8, 8, 3), np.uint8))
    source = "x" * 3000
    many = (Item(image, ["hat"], source=source, scores=SCORES[0]) for _ in range(1000))
    write_archive(path, many, PAPER, {"y": "z"}, score_names=NAMES)
    with Archive.open(path) as archive:
        assert archive.labels is not None
        assert archive.labels.sum() == 1000
        assert [file[1] for file in archive.files()] == [source] * 1000
        found = archive.scores()
    assert found is not None
    assert (found[1] == SCORES[0].astype(np.float16)).all()
    with zipfile.ZipFile(path) as archive_zip:
        assert archive_zip.testzip() is None
        told = json.loads(archive_zip.read("kaogen/provenance.json"))
    assert list(told) == ["y", "files"]


def _npy(columns: int) -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros((1, columns), np.float16))
    return out.getvalue()


@pytest.mark.parametrize(
    ("names", "scores", "words"),
    [
        (b'{"names": 3}', b"", "lists no names"),
        (b'{"names": ["a"]}', b"x" * 9, "damaged"),
        (b'{"names": ["a"]}', _npy(2), "not float16"),
        (b'{"names": []}', b"x" * 9999, "too large"),
    ],
)
def test_hostile_scores(tmp_path: Path, names: bytes, scores: bytes, words: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.png", encode_png(np.zeros((8, 8, 3), np.uint8)))
        out.writestr("kaogen/scores.json", names)
        out.writestr("kaogen/scores.npy", scores)
    with pytest.raises(ArchiveError, match=words):
        Archive.open(path).scores()


def test_files_of_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    png = encode_png(np.zeros((8, 8, 3), np.uint8))
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.png", png)
    assert Archive.open(path).files() == []
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("kaogen/provenance.json", b'{"files": [3]}')
    with pytest.raises(ArchiveError, match="lists no files"):
        Archive.open(path).files()
