"""A whole evaluation of a small model; smoothness, truncation and coverage with known answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.errors import ConfigError, LabelError
from kaogen.metrics.cache import Cache
from kaogen.metrics.coverage import coverage
from kaogen.metrics.evaluate import Evaluation, Plan, evaluate
from kaogen.metrics.judges import Judge, Seen
from kaogen.metrics.reals import Reals, rows_for
from kaogen.metrics.report import write_report
from kaogen.metrics.report_text import text
from kaogen.metrics.smoothness import smoothness, truncation_sweep
from kaogen.metrics.subject import look_through, thumbs
from kaogen.tags import PAPER, Vocabulary
from metrics.painted import NAMES, Painter, label_rows, open_judge

PLAN = Plan(count=60, rounds=10, psis=(0.5, 1.0))


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


@pytest.fixture
def reader(tmp_path: Path) -> Judge:
    return open_judge(tmp_path)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    rows = label_rows(120)
    pictures = Painter(rows).draw(rows.astype(np.float32), range(5000, 5120), 1.0)
    items = [
        Item(pixels, label=[float(v) for v in row], source=f"{i:03}.png")
        for i, (pixels, row) in enumerate(zip(pictures, rows, strict=True))
    ]
    path = tmp_path / "faces.zip"
    write_archive(path, iter(items), vocabulary=Vocabulary(NAMES))
    return Archive.open(path)


def run(archive: Archive, judge: Judge, folder: Path) -> tuple[Evaluation, Painter, Reals]:
    painter = Painter(rows_for(archive, Vocabulary(NAMES)))
    reals = Reals.read(archive, [judge], [], quiet, Cache(folder / "cache"))
    return evaluate(painter, reals, [judge], [], PLAN, quiet), painter, reals


def test_the_same_evaluation_twice(archive: Archive, reader: Judge, tmp_path: Path) -> None:
    first, painter, reals = run(archive, reader, tmp_path)
    again, _, _ = run(archive, reader, tmp_path)  # from the cache
    document = first.to_dict()
    assert json.dumps(document, allow_nan=False) == json.dumps(again.to_dict(), allow_nan=False)
    assert document["obedience"][0]["mean"] == 1
    assert document["realism"][0]["count"] == 60
    assert document["coverage"]["looks"]["share"] == 1
    assert "red hair 1.00" in text([first])
    about = {
        "data": {"faces": 120, "fingerprint": archive.fingerprint},
        "networks": [{"name": "reader", "identity": "reader", "independent": True}],
    }
    page = tmp_path / "report.html"
    size = write_report(page, [first, again], [painter, painter], reals, about)
    assert size == page.stat().st_size < 3e6
    html = page.read_text(encoding="utf-8")
    assert "http:" not in html
    assert "https:" not in html
    assert "<script" not in html
    assert html.count("<img") == html.count(" alt=")
    write_report(tmp_path / "twin.html", [first, again], [painter, painter], reals, about)
    assert (tmp_path / "twin.html").read_bytes() == page.read_bytes()


def test_labels_are_put_into_the_models_columns(archive: Archive, tmp_path: Path) -> None:
    rows = rows_for(archive, PAPER)
    assert rows.shape == (120, len(PAPER))
    np.testing.assert_array_equal(rows[:, PAPER.index("smile")], archive.labels[:, 3] > 0.5)
    assert rows[:, PAPER.index("glasses")].sum() == 0
    with pytest.raises(LabelError, match="no tag in common"):
        rows_for(archive, Vocabulary(["hat"]))
    bare = tmp_path / "bare.zip"
    write_archive(bare, iter([Item(np.zeros((16, 16, 3), np.uint8))]))
    with pytest.raises(LabelError, match="has no tags"):
        rows_for(Archive.open(bare), PAPER)


def test_a_straight_walk(reader: Judge) -> None:
    painter = Painter(label_rows(30), spread=25)
    found = smoothness(painter, reader, walks=10, seed=0, psi=1.0, tell=quiet)
    # Pictures of whole grey levels are not quite on the line between their ends.
    assert found.detour.value == pytest.approx(1, abs=0.08)
    assert found.path_length.value == pytest.approx(1, abs=0.1)


def test_truncation_takes_variety(reader: Judge) -> None:
    rows = label_rows(100)
    painter = Painter(rows[:1].repeat(100, axis=0))  # one row: seeds alone make the variety
    real = reader(painter.draw(painter.real_rows.astype(np.float32), range(500, 600), 1.0))[2]
    half, whole = truncation_sweep(
        painter, reader, real, count=100, psis=(0.3, 1.0), seed=0, tell=quiet
    )
    assert half.variety == pytest.approx(0.3, abs=0.06)
    assert whole.variety == pytest.approx(1, abs=0.12)
    assert half.recall < whole.recall
    assert half.obedience.share == whole.obedience.share == 1


def test_coverage_of_a_model_that_draws_one_look(reader: Judge) -> None:
    rows = label_rows(200)
    painter = Painter(rows)
    real = Seen(*reader(painter.draw(rows.astype(np.float32), range(200), 1.0)))
    same = coverage(painter, reader, real.part(0, 100), real, seed=0)
    assert same.looks.share == 1
    assert same.share_gap < 0.1
    red = np.flatnonzero(rows[:, 0])[:1].repeat(100)
    narrow = coverage(painter, reader, real.take(red), real, seed=0)
    assert narrow.looks.share == pytest.approx(1 / 3, abs=0.1)
    assert narrow.real_looks.share == 1
    assert narrow.invented.share == 0
    assert narrow.shares["red hair"][0] == 1
    assert narrow.share_gap > 3 * narrow.real_share_gap


def test_pictures_stream_through_in_order_whatever_the_workers() -> None:
    def source(start: int, stop: int) -> np.ndarray:
        return np.arange(start, stop, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)

    seen, told = [], []
    for workers in (1, 3):
        found = look_through(
            source, 100, [lambda p: (p[:, 0, 0, 0],)], lambda done, _: told.append(done), workers
        )
        assert told == sorted(told)
        assert told.pop() == 100
        told.clear()
        seen.append(found[0][0])
    np.testing.assert_array_equal(seen[0], np.arange(100))
    np.testing.assert_array_equal(seen[0], seen[1])


def test_thumbs_are_means_of_boxes() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    (small,) = thumbs(pictures)
    assert small.shape == (2, 32, 32, 3)
    assert abs(small[0, 0, 0, 0] - pictures[0, :2, :2, 0].mean()) <= 0.5
    assert (
        thumbs(np.full((1, 20, 20, 3), 9, np.uint8))[0].tolist()
        == np.full((1, 32, 32, 3), 9).tolist()
    )


def test_too_few_pictures_say_nothing() -> None:
    with pytest.raises(ConfigError, match="at least 50"):
        Plan(count=10)
    with pytest.raises(ConfigError, match="seed"):
        Plan(seed=-1)
