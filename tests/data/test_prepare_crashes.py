"""Killed workers, killed runs, Ray: the same bytes in the end, and nothing lost in silence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hostile_sources import KillingSource
from kaogen.data.archives.archive import Archive
from kaogen.data.preparing import engine
from kaogen.data.preparing import prepare as module
from kaogen.data.preparing.prepare import Preparation, Report, prepare
from kaogen.errors import DataError

COUNT = 40  # five shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(5)
    for n in range(COUNT):
        pixels = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{n:03d}.png")
    return path


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("whole") / "out.zip"
    run(folder, out, workers=0)
    return out.read_bytes()


def run(folder: Path, out: Path, **options: Any) -> Report:
    return prepare(Preparation(folder, out, **{"size": 16, "tagger": "builtin"} | options))


def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **options: Any) -> None:
    flags = tmp_path / "flags"
    flags.mkdir(exist_ok=True)
    monkeypatch.setattr(module, "open_source", lambda path: KillingSource(path, flags, **options))


def test_the_bytes_are_the_same_for_any_number_of_workers_and_a_killed_one(
    folder: Path, undisturbed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zip"
    run(folder, out, workers=3)
    assert out.read_bytes() == undisturbed
    hostile(monkeypatch, tmp_path, once=("002.png", "011.png", "030.png"))
    report = run(folder, out, workers=2)
    assert sorted(path.name for path in (tmp_path / "flags").iterdir()) == [
        "002.png",
        "011.png",
        "030.png",
    ]
    assert (report.written, report.dropped) == (COUNT, [])
    assert out.read_bytes() == undisturbed
    assert not out.with_name("out.zip.work").exists()


def test_a_picture_that_always_kills_its_worker_is_left_out_and_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zip"
    hostile(monkeypatch, tmp_path, always=("011.png", "012.png"))
    monkeypatch.setattr(engine, "ATTEMPTS", 1)  # trying again is tested elsewhere, and takes time
    options = {"tagger": None, "detect": False}
    report = run(folder, out, workers=2, **options)
    why = "looking at it failed (its worker process was killed (SIGKILL))"
    assert report.dropped == [("011.png", why), ("012.png", why)]
    assert report.written == COUNT - 2
    first = out.read_bytes()
    run(folder, out, workers=1, **options)
    assert out.read_bytes() == first
    with Archive.open(out) as archive:
        assert [source for _, source, _ in archive.files()][10:12] == ["010.png", "013.png"]


def test_when_everything_kills_its_worker_the_run_stops(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaogen.data.preparing.pipeline._SMALLEST_SHARD", 20)
    monkeypatch.setattr(engine, "ATTEMPTS", 1)
    hostile(monkeypatch, tmp_path, always=tuple(f"{n:03d}.png" for n in range(COUNT)))
    with pytest.raises(DataError, match="every one of 20 pictures") as caught:
        run(folder, tmp_path / "out.zip", tagger=None, detect=False, workers=2)
    assert "--workers 0" in caught.value.hint


SLOWLY = """
import sys
from pathlib import Path
from hostile_sources import KillingSource
from kaogen.data.preparing import prepare as module
from kaogen.data.preparing.prepare import Preparation, prepare

if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    module.open_source = lambda path: KillingSource(path, path, slow=0.05)
    prepare(Preparation(folder, out, size=16, tagger="builtin", detect=False, workers=2))
"""


def test_a_killed_run_goes_on_where_it_was(
    folder: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    out, script = tmp_path / "out.zip", tmp_path / "slowly.py"
    script.write_text(SLOWLY)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, str(script), str(folder), str(out)]
    child = subprocess.Popen(words, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("out.zip.work/*/*.shard"))) < 2:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)  # the parent alone: its workers must end by themselves
    finally:
        child.wait()
    assert not out.exists()
    while still_running(child.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = sorted(tmp_path.glob("out.zip.work/*/*.shard"))
    assert 2 <= len(before) < 5
    seen: list[tuple[str, int, int]] = []
    plan = Preparation(folder, out, size=16, tagger="builtin", detect=False, workers=0)
    report = prepare(plan, lambda *told: seen.append(told))
    assert report.resumed == 8 * len(before)
    assert seen[0] == ("looking at pictures", report.resumed, COUNT)
    assert out.read_bytes() == undisturbed
    assert sorted(os.listdir(tmp_path)) == ["out.zip", "slowly.py"]  # noqa: PTH208


def still_running(session: int) -> bool:
    """Whether any process of that session is left."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                return True
    return False


def test_other_settings_do_not_take_an_old_runs_shards(
    folder: Path, undisturbed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zip"

    def stop(what: str, done: int, total: int) -> None:
        if what == "writing faces":
            raise KeyboardInterrupt

    for options in ({"size": 8}, {}):
        with pytest.raises(KeyboardInterrupt):
            prepare(Preparation(folder, out, workers=0, **{"size": 16} | options), stop)  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("out.zip.work/*"))) == 2
    report = run(folder, out, workers=0)  # with the tagger: a third plan
    assert report.resumed == 0
    assert out.read_bytes() == undisturbed
    assert not out.with_name("out.zip.work").exists()


def test_a_damaged_shard_is_made_anew(folder: Path, undisturbed: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"

    def bend(what: str, done: int, total: int) -> None:
        if (what, done) == ("looking at pictures", total):
            shard = sorted(tmp_path.glob("out.zip.work/*/*.shard"))[3]
            data = bytearray(shard.read_bytes())
            data[-5] ^= 1
            shard.write_bytes(data)

    plan = Preparation(folder, out, size=16, tagger="builtin", workers=0)
    with pytest.raises(DataError, match=r"000003\.shard is damaged .* Run the same|removed"):
        prepare(plan, bend)
    report = prepare(plan)
    assert report.resumed == COUNT - 8
    assert out.read_bytes() == undisturbed


@pytest.mark.slow
def test_ray_gives_the_same_bytes_with_a_worker_killed(
    folder: Path, undisturbed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="pip install 'kaogen[cluster]'")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    out = tmp_path / "out.zip"
    hostile(monkeypatch, tmp_path, once=("011.png",))
    report = run(folder, out, detect=False, engine="ray", workers=2)
    assert (tmp_path / "flags" / "011.png").exists()
    assert (report.written, report.dropped) == (COUNT, [])
    assert out.read_bytes() == undisturbed
