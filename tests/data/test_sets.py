"""Data sets of every kind become one another, are merged and split; nothing known is lost."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data.records import write_tfrecords
from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.data.archives.archive_writer import encode_png
from kaogen.data.archives.convert import convert
from kaogen.data.archives.merge import merge
from kaogen.data.archives.set_stats import measure
from kaogen.data.archives.sets import open_set
from kaogen.data.archives.split import split
from kaogen.errors import ConfigError, DataError, LabelError
from kaogen.tags import Vocabulary

TAGS = Vocabulary(["pink hair", "blue hair", "smile", ":d", "open mouth"])


def faces(count: int, size: int = 8, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]


def write(
    path: Path,
    count: int = 6,
    *,
    seed: int = 0,
    size: int = 8,
    tags: Vocabulary | None = TAGS,
    scores: Sequence[str] | None = None,
) -> Path:
    """An archive with one tag a face, in turn, and two faces of each source picture."""
    items = [
        Item(
            image,
            tags=None if tags is None else [tags.names[n % len(tags)]],
            source=f"{seed}-{n // 2}.png",
            sha256=f"{seed}{n // 2:063x}",
            scores=None if scores is None else [n / 10] * len(scores),
            box=(0, 0, 8, 8),
        )
        for n, image in enumerate(faces(count, size, seed))
    ]
    write_archive(path, items, tags, {"made": seed}, scores)
    return path


def ada_zip(path: Path, labels: object, count: int = 3) -> Path:
    """As StyleGAN2-ADA's tool writes it: PNG without compression, dataset.json, no more."""
    with zipfile.ZipFile(path, "w") as out:
        for n, image in enumerate(faces(count)):
            out.writestr(f"00000/img{n:08d}.png", encode_png(image))
        out.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


def test_tfrecords_become_an_archive(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 0.25], [0, 1, 0], [0, 0, 1]], np.float32)
    images = faces(3, 16)
    folder = write_tfrecords(tmp_path / "old", images, labels)
    seen: list[tuple[int, int]] = []
    out = tmp_path / "new.zip"
    assert convert(folder, out, progress=lambda done, total: seen.append((done, total))) == 3
    assert seen[-1] == (3, 3)
    with Archive.open(out) as archive:
        np.testing.assert_array_equal(archive.pixels(), np.stack(images))
        assert archive.labels is not None
        np.testing.assert_array_equal(archive.labels, labels)
        assert archive.files()[1][1:] == ("old-r04.tfrecords#1", "")
        assert (archive.provenance() or {})["converted"]["kind"] == "TFRecords"
    convert(folder, out, size=8)
    assert Archive.open(out).resolution == (8, 8)
    with pytest.raises(ConfigError, match=r"It has: 4, 8, 16"):
        convert(folder, out, size=64)
    three = Vocabulary(["a", "b", "c"])
    convert(folder, out, vocabulary=three)
    assert Archive.open(out).vocabulary == three
    with pytest.raises(LabelError, match="names its labels itself"):
        convert(out, tmp_path / "x.zip", vocabulary=Vocabulary(["c", "b", "a"]))
    with pytest.raises(LabelError, match="labels of 3 numbers, the vocabulary 5 tags"):
        convert(folder, out, vocabulary=TAGS)
    grey = write_tfrecords(tmp_path / "grey", [image[:, :, :1] for image in images])
    convert(grey, out)
    assert Archive.open(out).channels == 1


def test_stylegan2_ada_zips_become_archives(tmp_path: Path) -> None:
    names = [f"00000/img{n:08d}.png" for n in range(3)]
    out = tmp_path / "new.zip"
    cases: list[tuple[object, list[list[float]] | None]] = [
        (None, None),
        ([[name, n % 2] for n, name in enumerate(names)], [[1, 0], [0, 1], [1, 0]]),
        ([[name, [n, 0.5]] for n, name in enumerate(names)], [[0, 0.5], [1, 0.5], [2, 0.5]]),
    ]
    for labels, want in cases:
        assert convert(ada_zip(tmp_path / "ada.zip", labels), out) == 3
        with Archive.open(out) as archive:
            np.testing.assert_array_equal(archive.pixels(), np.stack(faces(3)))
            assert (None if archive.labels is None else archive.labels.tolist()) == want
            assert archive.files()[2][1] == names[2]
            assert len(archive.files()[2][2]) == 64
    convert(out, tmp_path / "large.zip", size=16)
    assert Archive.open(tmp_path / "large.zip").resolution == (16, 16)


def test_our_own_bytes_are_kept(tmp_path: Path) -> None:
    first = write(tmp_path / "a.zip", scores=("x", "y"))
    convert(first, tmp_path / "b.zip")
    with Archive.open(first) as a, Archive.open(tmp_path / "b.zip") as b:
        assert a.fingerprint == b.fingerprint
        assert a.files() == b.files()
        one, other = a.scores(), b.scores()
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one[1], other[1])
        told = b.provenance()
        assert told is not None
        assert told["converted"]["provenance"] == {"made": 0}
        assert told["files"][0][3] == [0.0, 0.0, 8.0, 8.0]


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    here = write(tmp_path / "a.zip")
    for path, out, words in (
        (here, tmp_path / "a.rar", r"neither \.zip nor \.tar"),
        (here, here, "would replace"),
        (here, tmp_path / "no" / "b.zip", "does not exist"),
        (tmp_path / "none.zip", tmp_path / "b.zip", "does not exist"),
    ):
        with pytest.raises((ConfigError, DataError), match=words):
            convert(path, out)
    with pytest.raises(ConfigError, match="size of 3 pixels"):
        convert(here, tmp_path / "b.zip", size=3)
    with pytest.raises(DataError):
        open_set(tmp_path / "b.tar")


def test_merging_leaves_duplicates_out_and_keeps_what_is_known(tmp_path: Path) -> None:
    a = write(tmp_path / "a.zip", 6, scores=("x", "y"))
    shuffled = Vocabulary([*TAGS.names[2:], *TAGS.names[:2]])
    b = write(tmp_path / "b.zip", 4, seed=1, tags=shuffled, scores=("y", "x"))
    # The first picture of a again, as other pixels; the pixels of b's first from elsewhere.
    c = tmp_path / "c.zip"
    again = Item(faces(1, seed=7)[0], ["smile"], sha256=f"0{0:063x}", scores=[0, 1])
    twin = Item(faces(1, seed=1)[0], ["smile"], sha256="f" * 64, scores=[0, 1])
    write_archive(c, [again, twin, again], TAGS, score_names=("x", "y"))
    out = tmp_path / "all.zip"
    report = merge([a, b, c], out)
    assert report.taken == [(a, 6), (b, 4), (c, 0)]
    assert (report.images, report.same_picture, report.same_pixels) == (10, 2, 1)
    with Archive.open(out) as archive, Archive.open(b) as second:
        assert archive.vocabulary == TAGS
        assert archive.labels is not None
        assert second.labels is not None
        for n in range(4):
            assert TAGS.decode(archive.labels[6 + n].tolist()) == shuffled.decode(
                second.labels[n].tolist()
            )
        scores = archive.scores()
        assert scores is not None
        assert scores[0] == ("x", "y")
        assert scores[1][7].tolist() == np.array([0.1, 0.1], np.float16).tolist()
        assert archive.files()[:6] == Archive.open(a).files()
        origins = (archive.provenance() or {})["merged"]
        assert [(o["name"], o["first"], o["taken"]) for o in origins] == [
            ("a.zip", 0, 6),
            ("b.zip", 6, 4),
            ("c.zip", 10, 0),
        ]
        assert origins[1]["provenance"] == {"made": 1}
    assert merge([a, b, c], out, keep_duplicates=True).images == 13
    once = out.read_bytes()
    merge([a, b, c], out, keep_duplicates=True)
    assert out.read_bytes() == once


def test_merging_different_tags(tmp_path: Path) -> None:
    a = write(tmp_path / "a.zip", 5)
    other = Vocabulary(["smile", "hat", "pink hair"])
    b = write(tmp_path / "b.zip", 3, seed=1, tags=other)
    out = tmp_path / "all.zip"
    with pytest.raises(LabelError, match="2 are in all of them, not so blue hair") as caught:
        merge([a, b], out)
    assert "\n" not in str(caught.value)
    assert "--tags all" in str(caught.value)
    report = merge([a, b], out, tags="all")
    assert report.missing == {a: ("hat",), b: ("blue hair", ":d", "open mouth")}
    with Archive.open(out) as archive:
        assert archive.vocabulary == Vocabulary([*TAGS.names, "hat"])
        assert archive.labels is not None
        assert archive.vocabulary is not None
        assert archive.vocabulary.decode(archive.labels[6].tolist()) == ("hat",)
    merge([a, b], out, tags="common")
    assert Archive.open(out).vocabulary == Vocabulary(["pink hair", "smile"])


def test_sets_that_do_not_fit_are_not_merged(tmp_path: Path) -> None:
    a = write(tmp_path / "a.zip", scores=("x",))
    large = write(tmp_path / "large.zip", size=16)
    bare = write(tmp_path / "bare.zip", tags=None)
    unnamed = ada_zip(tmp_path / "ada.zip", [[f"00000/img{n:08d}.png", [1, 0]] for n in range(3)])
    wide = ada_zip(tmp_path / "wide.zip", [[f"00000/img{n:08d}.png", [1] * 3] for n in range(3)])
    apart = write(tmp_path / "apart.zip", tags=Vocabulary(["hat"]))
    out = tmp_path / "all.zip"
    for paths, rule, words in (
        ([a, large], "same", "faces of 8 x 8 x 3"),
        ([a, bare], "same", "bare.zip has no labels"),
        ([a, unnamed], "same", "ada.zip does not name its labels"),
        ([unnamed, wide], "same", "different lengths"),
        ([a, apart], "common", "no tag is in all"),
    ):
        with pytest.raises(DataError, match=words):
            merge(paths, out, tags=rule)  # type: ignore[arg-type]
    assert not out.exists()
    # Scores that not all have are left out, and that is told.
    report = merge([a, write(tmp_path / "b.zip", seed=3)], out)
    assert report.scores_lost
    assert Archive.open(out).scores() is None


def test_splitting_keeps_the_faces_of_a_picture_together(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.zip", 40, scores=("x",))
    train, rest = tmp_path / "train.zip", tmp_path / "rest.zip"
    report = split(whole, train, rest, held_out=0.25)
    assert (report.train, report.rest, report.pictures) == (30, 10, 20)
    with Archive.open(train) as one, Archive.open(rest) as other, Archive.open(whole) as all_:
        sources = [{row[2] for row in archive.files()} for archive in (one, other)]
        assert not sources[0] & sources[1]
        assert one.scores() is not None
        told = (other.provenance() or {})["split"]
        assert (told["part"], told["held_out"], told["seed"]) == ("rest", 0.25, 0)
        assert told["of"]["fingerprint"] == all_.fingerprint
        together = [row[1:] for archive in (one, other) for row in archive.files()]
        assert sorted(together) == sorted(row[1:] for row in all_.files())
    before = train.read_bytes()
    split(whole, train, rest, held_out=0.25)
    assert train.read_bytes() == before
    split(whole, train, rest, held_out=0.25, seed=1)
    assert train.read_bytes() != before
    # Shards as well, and together they are the whole again.
    split(whole, tmp_path / "t.tar", tmp_path / "r.tar", held_out=0.25)
    assert merge([tmp_path / "t.tar", tmp_path / "r.tar"], tmp_path / "all.zip").images == 40


def test_a_balanced_split_shares_every_tag(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    shares = np.array([0.5, 0.2, 0.1, 0.04])
    rows = draw.random((1000, 4)) < shares
    tags = Vocabulary(["a", "b", "c", "d"])
    image = encode_png(np.zeros((4, 4, 3), np.uint8))
    items = [Item(image, label=row.astype(float), source=str(n)) for n, row in enumerate(rows)]
    whole = tmp_path / "a.zip"
    write_archive(whole, items, tags)
    train, rest = tmp_path / "train.zip", tmp_path / "rest.zip"
    report = split(whole, train, rest, held_out=0.1, balance=True)
    assert abs(report.rest - 100) <= 2
    for here, there in report.shares.values():
        assert abs(here - there) < 0.01
    with pytest.raises(DataError, match="no labels to balance"):
        split(write(tmp_path / "b.zip", tags=None), train, rest, balance=True)
    with pytest.raises(ConfigError, match="no share"):
        split(whole, train, rest, held_out=1)
    with pytest.raises(DataError, match="cannot be split"):
        split(write(tmp_path / "b.zip", 2), train, rest)
    with pytest.raises(ConfigError, match="would replace"):
        split(whole, train, train)


def test_what_the_numbers_say(tmp_path: Path) -> None:
    rows = [[1, 0, 1, 1, 1]] * 60 + [[0, 1, 1, 0, 0]] * 40 + [[0, 1, 0, 0, 1]] * 20
    image = encode_png(np.zeros((4, 4, 3), np.uint8))
    path = tmp_path / "a.zip"
    write_archive(path, [Item(image, label=row, source="p") for row in rows], TAGS)
    found = measure(open_set(path))
    assert (found.images, found.pictures, found.most_of_one) == (120, 1, 120)
    assert found.tags == {
        "pink hair": 60, "blue hair": 60, "smile": 100, ":d": 60, "open mouth": 80,
    }  # fmt: skip
    assert (found.combinations, found.untagged) == (3, 0)
    pairs = {frozenset((p.first, p.second)): p for p in (*found.together, *found.apart)}
    # Two hair colours, and what :d implies, are no news.
    assert frozenset(("pink hair", "blue hair")) not in pairs
    assert frozenset((":d", "smile")) not in pairs
    pair = pairs[frozenset(("pink hair", "open mouth"))]
    assert (pair.faces, pair.share, pair.lift) == (60, 1.0, 1.5)
    assert json.loads(json.dumps(found.to_json()))["together"][0]["lift"] > 1
    bare = measure(open_set(write(tmp_path / "b.zip", tags=None)))
    assert (bare.labelled, bare.tags, bare.together) == (0, {}, [])
