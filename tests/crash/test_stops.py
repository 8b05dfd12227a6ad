"""Stops at every step, full disks, numbers that are none: the last good state is kept."""

import errno
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from crash.runs import CONFIG, NET, ROWS, Session, weights, without_pictures
from kaogen.data.archives.archive import Archive
from kaogen.errors import CheckpointError, TrainingError
from kaogen.training import checkpoint, progress
from kaogen.training.batches import Rows
from kaogen.training.loop import Trainer
from kaogen.training.run import Run, Tick

# 50 steps of 4, the quickest there are.
FIFTY = replace(
    CONFIG, kimg=0.2, tick_kimg=0.02, augment="none", path_weight=0.0, r1_gamma=0.0, mixing=0.0
)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch.setattr)


def nobody(_tick: Tick) -> None:
    """Nobody listens."""


def stop_now(_tick: Tick) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("no_pictures")
def test_stopped_and_gone_on_after_every_step_the_order_is_that_of_one_run(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[NDArray[np.int64]] = []
    at = Rows.at

    def noted(rows: Rows, position: int, count: int) -> NDArray[np.int64]:
        drawn.append(at(rows, position, count))
        return drawn[-1]

    monkeypatch.setattr(Rows, "at", noted)
    archive = Archive.open(faces)
    assert Run(tmp_path / "a", archive, NET, FIFTY).train(nobody)
    straight, drawn = drawn, []
    for step in range(1, 51):
        run = Run(tmp_path / "b", archive, NET, FIFTY)
        assert run.trainer.seen == 4 * (step - 1)
        assert run.train(stop_now) == (step == 50)
    assert [list(rows) for rows in drawn] == [list(rows) for rows in straight]
    pool = run.trainer.draws.rows.pool  # balanced: rows with rare tags stand in it more often
    epoch = np.concatenate(drawn)[: len(pool)]
    assert sorted(epoch) == sorted(pool)
    assert set(epoch) == set(range(ROWS))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_a_disk_that_is_full_during_a_save_leaves_the_checkpoint_before(
    faces: Path, undisturbed: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with Session(faces, folder, replace(CONFIG, kimg=0.04)) as session:
        assert session.codes() == [0]
    before = checkpoint.latest(folder)
    size = (before / checkpoint.WEIGHTS).stat().st_size
    with Session(faces, folder, largest=size // 2) as session:
        assert session.codes() == [4]
        (error,) = session.errors()
    assert "could not be written" in error
    assert "The checkpoints before it are whole" in error
    assert [p.name for p in (folder / "checkpoints").iterdir() if p.name[0] == "."] == []
    assert checkpoint.latest(folder) == before
    checkpoint.load(before)
    with Session(faces, folder) as session:
        assert session.codes() == [0]
    assert weights(folder) == undisturbed


def test_a_full_disk_is_one_line_wherever_it_strikes(faces: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, Archive.open(faces), NET, CONFIG)
    (tmp_path / "progress.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=os.strerror(errno.ENOSPC)):
        run.train(nobody)


@pytest.mark.usefixtures("no_pictures")
def test_weights_that_are_no_numbers_are_never_saved(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, Archive.open(faces), NET, CONFIG)
    one_step = Trainer.step

    def step(trainer: Trainer) -> dict[str, float]:
        losses = one_step(trainer)
        if trainer.seen == 24:  # an update that spoils the weights after a sound loss, and a save
            trainer.g.synthesis.get_parameter("b4.const").data[0] = torch.nan
        return losses

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(TrainingError, match=r"diverged: .*b4\.const is not a number.* --lr"):
        run.train(nobody)
    assert [p.name for p in checkpoint.listing(tmp_path)] == ["0000000012"]
    monkeypatch.setattr(Trainer, "step", one_step)
    again = Run(tmp_path, Archive.open(faces), NET, CONFIG)
    assert again.trainer.seen == 12
    assert again.train(nobody)


def test_a_line_that_a_kill_cut_short_costs_no_other(tmp_path: Path) -> None:
    progress.append(tmp_path, seen=4)
    with (tmp_path / progress.NAME).open("a") as handle:
        handle.write('{"time": 17')
    progress.append(tmp_path, start=4)
    progress.append(tmp_path, seen=8)
    ticks, starts = progress.history(tmp_path)
    assert ([tick["seen"] for tick in ticks], starts) == ([4, 8], [4])


@pytest.mark.usefixtures("no_pictures")
def test_a_loss_that_is_no_number_stops_with_the_last_checkpoint(
    faces: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path, Archive.open(faces), NET, CONFIG)

    def spoil(tick: Tick) -> None:
        if tick.seen == 16:
            run.trainer.g.synthesis.get_parameter("b4.const").data.fill_(torch.nan)

    with pytest.raises(
        TrainingError, match=r"diverged at 20 images: .*The last checkpoint is good"
    ):
        run.train(spoil)
    assert checkpoint.latest(tmp_path).name == "0000000012"


@pytest.mark.usefixtures("no_pictures")
def test_a_checkpoint_that_has_changed_is_refused_and_the_one_before_serves(
    faces: Path, tmp_path: Path
) -> None:
    Run(tmp_path, Archive.open(faces), NET, replace(CONFIG, kimg=0.024)).train(nobody)
    newest = checkpoint.latest(tmp_path)
    data = bytearray((newest / checkpoint.WEIGHTS).read_bytes())
    data[-1] ^= 1
    (newest / checkpoint.WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"has changed since it was written.* Remove that"):
        Run(tmp_path, Archive.open(faces), NET, CONFIG)
    newest.rename(tmp_path / "bad")
    assert Run(tmp_path, Archive.open(faces), NET, CONFIG).trainer.seen == 12
