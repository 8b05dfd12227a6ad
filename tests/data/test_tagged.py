"""Tagged sets read from archives, CSVs, sidecars and by a tagger's eyes."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kaogen.data.archives.archive import Item, write_archive
from kaogen.data.archives.archive_writer import encode_png
from kaogen.data.tagging.tagged import agreement, read_tagged
from kaogen.data.tagging.taggers import Tagger
from kaogen.errors import DataError, LabelError
from kaogen.tags import Vocabulary

NAN = float("nan")


def face(colour: tuple[int, int, int], border: tuple[int, int, int] | None = None) -> np.ndarray:
    pixels = np.full((32, 32, 3), colour, np.uint8)
    if border is not None:
        pixels[:, :2] = pixels[:, -2:] = border
    return pixels


def test_agreement_is_the_f1_of_scores_and_labels() -> None:
    shown = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]], bool)
    scores = np.array([[1, 0.8, NAN], [1, 0.1, NAN], [0, 0.1, NAN], [0, NAN, NAN]], np.float32)
    values = agreement(shown, scores)
    assert values[0] == pytest.approx(1)
    assert values[1] == pytest.approx(2 * 0.8 / (1.0 + 1))
    assert np.isnan(values[2])


def test_a_csv_of_any_words(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("file,tags\na,Pink_Hair|holding_sword|:d\nb,twintails|pink hair\nc,\n", "utf-8")
    data = read_tagged(path)
    assert data.names == ("pink hair", ":d", "holding sword", "open mouth", "smile", "twin tails")
    assert (data.total, len(data.shown)) == (3, 3)
    np.testing.assert_allclose(data.share, [2 / 3, *[1 / 3] * 5])
    assert np.isnan(data.sure).all()
    path.write_text("file,words\n", "utf-8")
    with pytest.raises(LabelError, match="no header"):
        read_tagged(path)
    path.write_text("file,tags\na,\n", "utf-8")
    with pytest.raises(DataError, match="tells no tags"):
        read_tagged(path)


def test_sidecars_of_a_folder(tmp_path: Path) -> None:
    for name, words in [("a", "smile, pink_hair, solo"), ("b", "smile, black hair"), ("c", "")]:
        (tmp_path / f"{name}.png").write_bytes(encode_png(face((9, 9, 9))))
        if words:
            (tmp_path / f"{name}.txt").write_text(words, encoding="utf-8")
    seen: list[tuple[int, int]] = []
    data = read_tagged(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert data.names == ("smile", "black hair", "pink hair", "solo")
    assert (data.total, seen[-1]) == (2, (3, 3))


def items(colours: list[tuple[int, int, int]], labels: list[tuple[str, ...]] | None) -> list[Item]:
    return [
        Item(encode_png(face(c)), None if labels is None else labels[i], source=f"{i}", sha256="0")
        for i, c in enumerate(colours)
    ]


RED, GREEN = (250, 20, 30), (10, 240, 40)


def test_an_archives_labels_and_scores(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    rows = [("red hair",), ("green hair", "smile"), ("red hair",)]
    plain = items([RED, GREEN, RED], rows)
    write_archive(path, plain, Vocabulary(["red hair", "green hair", "smile"]), {})
    data = read_tagged(path)
    assert data.names == ("red hair", "green hair", "smile")
    np.testing.assert_allclose(data.share, [2 / 3, 1 / 3, 1 / 3])

    names = ("red hair", "blue hair", "aqua hair", "hat", "fang")
    scores = [[0.9, 0.2, 0, 0.6, 0.9], [0.3, 0.8, 0, 0.2, 0.9], [NAN] * 5]
    given = [
        Item(i.image, i.tags, source=i.source, sha256=i.sha256, scores=np.array(row, np.float16))
        for i, row in zip(plain, scores, strict=True)
    ]
    learnt = [name for name in names if name != "fang"]
    told = {"tagger": {"learnt": learnt}}
    given[1] = replace(given[1], tags=["smile"])
    write_archive(path, given, Vocabulary(["red hair", "smile"]), told, score_names=names)
    data = read_tagged(path)
    assert data.names == ("red hair", "smile", "blue hair", "aqua hair", "hat", "fang")
    # Labels say what they can; of the rest the best colour and what is above a half.
    assert data.shown.tolist() == [
        [True, False, False, False, True, False],
        [False, True, True, False, False, False],
        [True, False, False, False, False, False],
    ]
    assert data.sure[0] == pytest.approx(2 * 0.9 / (1.2 + 1), abs=1e-3)
    assert np.isnan(data.sure[[1, 5]]).all()  # no scores; not learnt


def test_a_tagger_looks_at_a_sample_and_at_tighter_crops(
    tmp_path: Path, make_tagger: Callable[..., Path]
) -> None:
    tagger = Tagger.load(make_tagger(tmp_path / "t.onnx", smile=0.7))
    for i in range(12):
        # Red hair is seen by the borders alone: a tighter crop loses it.
        colours = (face((90, 100, 0), (255, 0, 0)), face(GREEN))
        (tmp_path / f"{i:02}.png").write_bytes(encode_png(colours[i % 2]))
    (tmp_path / "99.png").write_bytes(b"broken")
    data = read_tagged(tmp_path, tagger)
    assert data.names == ("red hair", "green hair", "blue hair", "smile")
    assert (data.total, len(data.shown)) == (13, 12)
    np.testing.assert_allclose(data.share, [0.5, 0.5, 0, 1])
    np.testing.assert_allclose(data.holds, [0, 1, NAN, 1])
    assert data.sure[3] == pytest.approx(2 * 0.7 / 1.7, abs=1e-3)
    assert len(read_tagged(tmp_path, tagger, look=5).shown) == 5

    path = tmp_path / "a.zip"
    labels = [("hat", "smile"), ("hat",), ("hat",)] * 4
    write_archive(path, items([RED, GREEN, RED] * 4, labels), Vocabulary(["hat", "smile"]), {})
    data = read_tagged(path, tagger, look=6)
    assert data.names == ("hat", "smile", "red hair", "green hair", "blue hair")
    np.testing.assert_allclose(data.share, [1, 1 / 3, 2 / 3, 1 / 3, 0])
    assert len(data.shown) == 6
    assert np.isnan(data.sure[0])
    # The tagger always says smile, people a third of the time: F1 of 0.7 and 1/3.
    assert data.sure[1] == pytest.approx(2 * 0.7 / 3 / (0.7 + 1 / 3), abs=1e-3)


def test_what_tells_no_tags(tmp_path: Path, make_tagger: Callable[..., Path]) -> None:
    path = tmp_path / "a.zip"
    write_archive(path, items([RED], None), None, {})
    with pytest.raises(DataError, match=r"tells no tags.*--tagger"):
        read_tagged(path)
    tagger = Tagger.load(make_tagger(tmp_path / "t.onnx"))
    assert read_tagged(path, tagger).share.tolist() == [1, 0, 0, 1]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.png", b"broken")
    with pytest.raises(DataError, match="no picture could be read"):
        read_tagged(path, tagger)
    with pytest.raises(DataError, match="does not exist"):
        read_tagged(tmp_path / "none")
