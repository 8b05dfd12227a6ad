"""kill -9 at observed steps and inside saves: the same weights in the end."""

import signal
import time
from pathlib import Path

import pytest

from crash.observed import SAVE, STEP
from crash.runs import CONFIG, Session, weights
from kaogen.training import checkpoint


def left_behind(folder: Path) -> list[str]:
    """What an undisturbed run does not leave in its folder."""
    kept = {p.name for p in checkpoint.listing(folder)}
    found = [p.name for p in (folder / "checkpoints").iterdir() if p.name not in kept]
    return found + [p.name for p in folder.glob(".tmp-*")]


def test_killed_at_steps_and_inside_saves_the_weights_end_the_same(
    faces: Path, undisturbed: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    # Steps of 4 images, a checkpoint every 12; each kill strikes later in the run than the last.
    kills = [(STEP, 4), *((point, 24 + 12 * i) for i, point in enumerate(SAVE)), (STEP, 104)]
    before = 0
    for point, seen in kills:
        with Session(faces, folder, pause=(0, point, seen)) as session:
            at = session.wait_for(point, seen)
            session.send(signal.SIGKILL)
            assert session.codes() == [-signal.SIGKILL]
        start = next(w.seen for w in session.said() if w.point == STEP) - CONFIG.batch
        assert start >= before - 12, "it did not go on from the newest checkpoint"
        assert at.seen > before, "no progress since the last kill"
        before = at.seen
    with Session(faces, folder) as session:
        assert session.codes() == [0]
    assert weights(folder) == undisturbed
    assert left_behind(folder) == []


def test_sigterm_saves_the_step_under_way_and_ends_in_time(
    faces: Path, undisturbed: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for seen in (20, 44):
        with Session(faces, folder, pictures=seen == 20) as session:
            session.wait_for(STEP, seen)
            session.send(signal.SIGTERM)
            start = time.monotonic()
            assert session.codes() == [130]
            assert time.monotonic() - start < 10
        last = max(word.seen for word in session.said())
        assert seen <= last < CONFIG.kimg * 1000
        assert checkpoint.latest(folder).name == f"{last:010d}"
    with Session(faces, folder) as session:
        assert session.codes() == [0]
    assert weights(folder) == undisturbed


def test_a_second_process_does_not_train_in_the_same_folder(faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Session(faces, folder, pause=(0, STEP, 8)) as session:
        session.wait_for(STEP, 8)
        with Session(faces, folder) as second:
            assert second.codes() == [2]
            assert second.errors() == [
                f"Another process is training in {folder}. "
                "Wait for it to end, or give another --out."
            ]
        assert session.ranks[0].is_alive()


@pytest.mark.parametrize("rank", [0, 1])
def test_sigterm_to_one_rank_stops_both_at_one_step(faces: Path, tmp_path: Path, rank: int) -> None:
    folder = tmp_path / "run"
    with Session(faces, folder, world=2) as session:
        session.wait_for(STEP, 8, rank)
        session.send(signal.SIGTERM, rank)
        assert session.codes() == [130, 130]
    ends = [max(w.seen for w in session.said() if w.rank == r) for r in (0, 1)]
    assert ends[0] == ends[1] == int(checkpoint.latest(folder).name)
    with Session(faces, folder) as session:  # and one process may go on
        assert session.codes() == [0]
    assert next(w.seen for w in session.said() if w.point == STEP) == ends[0] + CONFIG.batch


def test_one_rank_of_two_killed_three_times_the_weights_end_the_same(
    faces: Path, undisturbed_pair: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for killed, point, seen in ((1, STEP, 16), (0, STEP, 40), (0, "weights without state", 72)):
        with Session(faces, folder, world=2, pause=(killed, point, seen)) as session:
            session.wait_for(point, seen, killed)
            session.send(signal.SIGKILL, killed)
            codes = session.codes()
        assert codes[killed] == -signal.SIGKILL
        assert codes[1 - killed] == 7
        assert session.errors() == [
            f"Rank {1 - killed} of 2 has lost the others: one of them has ended. "
            "Run the same command to go on from the last checkpoint."
        ]
    with Session(faces, folder, world=2) as session:
        assert session.codes() == [0, 0]
    assert weights(folder) == undisturbed_pair
    assert not (folder / "not").exists(), "only rank 0 writes"
    assert left_behind(folder) == []
