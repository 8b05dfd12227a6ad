"""Engines: every parcel is done or told; a worker's death takes nothing else along."""

from pathlib import Path
from typing import Any

import pytest

from engine_tasks import die, double, fail, refuse
from kaogen.data.preparing.engine import Here, Lost, Pool, open_engine
from kaogen.errors import ConfigError, ModelError


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_parcel_is_done_once(workers: int) -> None:
    engine: Any = open_engine("local", workers=workers)
    assert isinstance(engine, Pool if workers else Here)
    assert sorted(engine.run(double, range(20))) == [(n, 2 * n) for n in range(20)]
    assert list(engine.run(double, [])) == []


def test_a_dying_worker_is_replaced_and_its_parcel_tried_again(tmp_path: Path) -> None:
    engine: Any = open_engine("local", workers=2)
    done = dict(engine.run(die, [(n, str(tmp_path)) for n in range(12)]))
    lost = done.pop(7)
    assert lost == Lost("its worker process was killed (SIGKILL)")
    assert done == {n: 2 * n for n in range(12) if n != 7}
    assert (tmp_path / "tries").read_text() == "xxx"


def test_an_unforeseen_error_is_told_and_ours_is_raised() -> None:
    engine: Any = open_engine("local", workers=2)
    done = dict(engine.run(fail, range(6)))
    assert done[3] == Lost("MemoryError: no room")
    assert len(done) == 6
    with pytest.raises(ModelError, match="no model for"):
        list(engine.run(refuse, range(6)))


def test_parcels_are_read_as_the_work_goes() -> None:
    taken: list[int] = []

    def endless() -> Any:
        for n in range(10**9):
            taken.append(n)
            yield n

    engine: Any = open_engine("local", workers=2)
    results = engine.run(double, endless())
    for _ in range(5):
        next(results)
    results.close()
    assert len(taken) <= 8


def test_engines_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="neither local nor ray"):
        open_engine("slurm")
    with pytest.raises(ConfigError, match="--engine ray"):
        open_engine("local", address="auto")
