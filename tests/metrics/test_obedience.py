"""Obedience, with models that obey wholly or not at all."""

from pathlib import Path

import numpy as np
import pytest

from kaogen.metrics.judges import EditSpace, Judge, Seen
from kaogen.metrics.obedience import Obedience, obedience
from kaogen.metrics.rates import Rate
from kaogen.metrics.report_text import made_form
from kaogen.metrics.switches import bound, pick_rows, plan_shots, switch
from metrics.painted import NAMES, Painter, label_rows, open_judge


@pytest.fixture
def reader(tmp_path: Path) -> Judge:
    return open_judge(tmp_path)


def measured(painter: Painter, judge: Judge, each: int = 60) -> Obedience:
    truth = Painter(painter.real_rows)
    rows = painter.real_rows.astype(np.float32)
    real = Seen(*judge(truth.draw(rows, range(len(rows)), 1.0)))
    told = lambda what, done, total: None  # noqa: E731
    (found,), _ = obedience(painter, [judge], [real], each=each, seed=0, psi=0.7, tell=told)
    return found


def test_a_model_that_obeys(reader: Judge) -> None:
    found = measured(Painter(label_rows(90)), reader)
    assert [tag.tag for tag in found.tags] == list(NAMES)
    for tag in found.tags:
        assert (tag.asked.share, tag.unasked.share) == (1.0, 0.0)
        assert (tag.real.share, tag.real_unasked.share) == (1.0, 0.0)
        assert (tag.appears.share, tag.disappears.share) == (1.0, 1.0)
        assert tag.others == 0
        assert tag.scores < 0.001
        # All that changes lies along the direction that the judge reads the tag from.
        assert tag.identity < 0.1
    assert (found.mean, found.ceiling, found.row, found.real_row) == (1, 1, 1, 1)
    assert made_form(found)[0][0] == ("red hair", "1.00")


def test_shuffled_labels_give_chance(reader: Judge) -> None:
    found = measured(Painter(label_rows(90), deaf=True), reader, each=200)
    by_name = {tag.tag: tag for tag in found.tags}
    for name, chance in (("red hair", 1 / 3), ("blue hair", 1 / 3), ("smile", 1 / 2)):
        low, high = by_name[name].asked.interval
        assert low < chance < high
        assert by_name[name].asked.share == pytest.approx(by_name[name].unasked.share, abs=0.12)
        assert by_name[name].appears.share == 0  # the same seed, the same picture
        assert by_name[name].identity == 0


def test_wilsons_interval() -> None:
    # Brown, Cai, DasGupta 2001 and any calculator: no share lies outside 0..1, none has no width.
    assert Rate(0, 10).interval == pytest.approx((0, 0.27753), abs=1e-4)
    assert Rate(5, 10).interval == pytest.approx((0.23659, 0.76341), abs=1e-4)
    assert Rate(10, 10).interval == pytest.approx((0.72247, 1), abs=1e-4)
    assert Rate(0, 0).share is None
    assert Rate(0, 0).to_dict()["share"] is None
    assert Rate(1, 2) + Rate(2, 3) == Rate(3, 5)


def test_switching_replaces_rivals_and_brings_what_is_implied() -> None:
    painter = Painter(label_rows(10))

    def switched(tags: list[str], tag: str, *, on: bool) -> tuple[str, ...]:
        row = np.array(painter.vocabulary.encode(tags), np.float32)
        return painter.vocabulary.decode(switch(row, tag, painter, on=on).tolist())

    assert switched(["red hair", "smile"], "blue hair", on=True) == ("blue hair", "smile")
    assert switched(["red hair"], ":d", on=True) == ("red hair", "smile", ":d")
    assert switched(["red hair", "smile", ":d"], "smile", on=False) == ("red hair",)
    assert switched(["red hair", "smile", ":d"], ":d", on=False) == ("red hair", "smile")
    assert bound("smile", painter.vocabulary) == {"smile", ":d"}
    assert bound("red hair", painter.vocabulary) == set(NAMES[:3])


def test_shots_change_one_thing_at_a_time() -> None:
    painter = Painter(label_rows(50))
    shots = plan_shots(painter, 20, 7)
    for tag in NAMES:
        column = painter.vocabulary.index(tag)
        assert len(shots.asked[tag]) == len(shots.off[tag]) == 20
        assert all(shots.rows[place][column] for place in shots.asked[tag])
        for pairs, after_has in ((shots.on, 1), (shots.off, 0)):
            for before, after in pairs[tag]:
                assert shots.seeds[before] == shots.seeds[after]
                assert shots.rows[after][column] == after_has != shots.rows[before][column]
                changed = np.flatnonzero(shots.rows[after] != shots.rows[before])
                assert {NAMES[i] for i in changed} <= bound(tag, painter.vocabulary)


def test_rows_are_picked_by_seed_each_once_before_any_again() -> None:
    rows = np.eye(6, dtype=bool)
    picked = pick_rows(rows, 12, 3, "word")
    assert (picked.sum(axis=0) == 2).all()
    assert (picked[:6].sum(axis=0) == 1).all()
    np.testing.assert_array_equal(picked, pick_rows(rows, 12, 3, "word"))
    assert (picked != pick_rows(rows, 12, 4, "word")).any()


def test_verdicts_are_the_taggers_own(reader: Judge) -> None:
    scores = np.random.default_rng(0).random((300, len(NAMES))).round(1).astype(np.float32)
    for shown, row in zip(reader.verdicts(scores), scores, strict=True):
        told = {name for name, _ in reader.features.tagger.tags(row)}
        assert {reader.tags[i] for i in np.flatnonzero(shown)} == told


def test_what_lies_outside_an_edit() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 4)).astype(np.float32)
    scores = 1 / (1 + np.exp(-features[:, :2]))  # read from the first two features
    space = EditSpace(features, scores)
    change = np.array([[3, 0, 1, 0], [0, 2, 0, 0]], np.float32)
    outside = np.linalg.norm(space.outside(change, [0]), axis=1)
    assert outside == pytest.approx([1, 2], abs=0.02)
    assert np.linalg.norm(space.outside(change, [0, 1]), axis=1) == pytest.approx([1, 0], abs=0.02)
    assert np.linalg.norm(space.outside(change, []), axis=1) == pytest.approx([10**0.5, 2])
