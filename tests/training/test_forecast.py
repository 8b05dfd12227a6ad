"""`--dry-run` and the live line: what is foretold, and that nothing is written."""

import json
import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from kaogen.cli import train_told
from kaogen.cli.main import main
from kaogen.cli.train import kept_back
from kaogen.cli.train_options import OPTIONS
from kaogen.data.archives import archive as archives
from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.errors import ConfigError
from kaogen.training.forecast import forecast
from kaogen.training.health import Trouble
from kaogen.training.loop import Trainer
from training.conftest import CONFIG, NET, write_faces


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data") / "faces.zip", size=64, count=40)


def small(path: Path, size: int = 16) -> Archive:
    """The same faces as 16 px ones."""
    out = path.with_name(f"{size}.zip")
    whole = Archive.open(path)
    assert whole.vocabulary is not None
    items = [
        Item(image=whole.image(i)[:size, :size], tags=("smile",), source=f"{i}.png")
        for i in range(len(whole))
    ]
    write_archive(out, items, whole.vocabulary, {})
    return Archive.open(out)


def test_a_forecast_counts_and_measures(archive: Path) -> None:
    config = replace(CONFIG, path_weight=2.0, kimg=8.0, tick_kimg=1.0, holdout=10)
    told = forecast(small(archive), NET, config)
    assert (told.faces, told.tags, told.activations) == (40, 4, "float32")
    g, d, trunk = told.parameters
    assert g > 0
    assert d > 0
    assert trunk == 0
    assert told.gflop[0] > 0
    assert told.gflop[1] > 0
    # A real step, measured here, is what was foretold within what this machine wavers.
    assert told.rate == pytest.approx(8000 / (told.hours * 3600))
    assert 0 < told.seconds < 30
    assert told.memory is None or told.memory > told.data > 0
    assert 0 < told.disk < 1
    assert told.to_dict()["train"] == config.to_dict()


def test_a_forecast_refuses_what_a_run_would(archive: Path) -> None:
    with pytest.raises(ConfigError, match="its pictures are 64 x 64"):
        forecast(Archive.open(archive), NET, CONFIG)
    with pytest.raises(ConfigError, match="only 40 faces"):
        forecast(small(archive), NET, replace(CONFIG, holdout=39))


def test_lazy_phases_are_all_timed_and_weighed(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    step = Trainer.step

    def slowly(self: Trainer) -> dict[str, float]:
        names = [phase.name for phase in self.phases]
        seen.append("+".join(names))
        time.sleep(0.2 * len(names))
        return step(self)

    monkeypatch.setattr(Trainer, "step", slowly)
    config = replace(CONFIG, r1_interval=2, path_weight=2.0, path_interval=4)
    told = forecast(small(archive), NET, config)
    assert seen == ["", "", "", "", "r1", "path"]
    assert told.seconds >= 0.2 / 2 * 0.5  # r1's share, whatever else wavers


def test_dry_run_says_all_and_writes_nothing(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", str(archive), "--out", str(out), "--dry-run", "--batch", "4"]
    threads = torch.get_num_threads()
    try:
        assert main([*words, "--kimg", "100"]) == 0
    finally:
        torch.set_num_threads(threads)
    output = capsys.readouterr().out
    for told in ('"resolution": 64', '"batch": 4', "Parameters", "Memory", "100 kimg", "8 hours"):
        assert told in output
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []


def test_faces_held_out_are_a_new_runs_unless_it_has_begun(tmp_path: Path) -> None:
    assert kept_back(tmp_path, 300) == 0
    assert kept_back(tmp_path, 28_000) == 256
    (tmp_path / "config.json").write_text(json.dumps({"train": {"holdout": 64}}))
    assert kept_back(tmp_path, 28_000) == 64
    (tmp_path / "config.json").write_text(json.dumps({"train": {}}))  # an older kaogen's
    assert kept_back(tmp_path, 28_000) == 0
    (tmp_path / "config.json").write_text("{")
    assert kept_back(tmp_path, 28_000) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (70, "70 s"), (600, "10 min"), (7980, "2 h 13 min"), (273_600, "3 d 4 h")],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert train_told.duration(seconds) == words


def test_the_clock_tells_the_pace_of_the_last_minutes() -> None:
    clock = train_told.Clock(1000)
    start = clock.points[0][0]
    for second in range(1, 2000):
        clock.see(1000 + second * (10 if second < 1000 else 50), start + second)
    assert clock.rate == pytest.approx(50, rel=0.1)
    assert len(clock.points) < 700
    clock = train_told.Clock(0)
    assert clock.pace(1000) == ""
    clock.see(600, clock.points[0][0] + 10)
    assert clock.pace(6600) == "60 img/s, 100 s left".replace("100 s", "2 min")


def test_a_line_has_kimg_losses_and_p() -> None:
    assert train_told.kimg(12_400, 200_000) == "12.4/200 kimg"
    told = {"g": 0.7, "d": 1.334, "p": 0.12, "rt": 0.2, "real": 1.0}
    assert train_told.figures(told) == "D 1.334 G 0.700 r_t 0.200 p 0.120"


def test_a_warning_is_said_once_and_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    console, known = Console(width=200), dict[str, str]()
    trouble = Trouble("slow", "It has become slow: 3 [bold] images.", "Is it hot?")
    for troubles in ([trouble], [trouble], [], []):
        train_told.warn(console, troubles, known)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "Warning: It has become slow: 3 [bold] images. Is it hot?",
        "No longer so: slow.",
    ]


def test_the_guide_tells_of_every_option() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    flags = [option.split("/") for _, option, *_ in OPTIONS]
    missing = [flag for names in flags for flag in names if f"`{flag}" not in guide]
    assert missing == []
    assert max(len(line) for line in guide.splitlines() if not line.startswith("|")) <= 100


def test_pictures_decoded_ahead_are_the_same_and_a_refused_start_does_not_wait(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Archive.open(archive)
    plain = whole.pixels()
    whole.prefetch()
    assert pickle.loads(pickle.dumps(whole)).pixels().shape == plain.shape
    assert np.array_equal(whole.pixels(), plain)
    decoded: list[int] = []
    monkeypatch.setattr(archives, "_DECODE_CHUNK", 1)
    monkeypatch.setattr(Archive, "_decode", lambda self, index: slowly(decoded, plain[index]))
    with whole:
        whole.prefetch()
    assert len(decoded) < len(whole) // 2


def slowly(decoded: list[int], picture: np.ndarray) -> np.ndarray:
    decoded.append(1)
    time.sleep(0.02)
    return picture
