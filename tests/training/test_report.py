"""What a run leaves for a person: grids with captions, curves, the evolution, progress, events."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kaogen.data.archives.crc32c import masked_crc32c
from kaogen.training import checkpoint, curves, evolution, grid, progress, tensorboard
from kaogen.training.health import Trouble
from kaogen.training.loop import Trainer
from kaogen.training.probe import Probe, measure
from kaogen.training.report import Reporter
from training.conftest import CONFIG, NET

Make = Callable[..., Trainer]
VOCABULARY = ["pink hair", "blue eyes", "smile", "glasses"]


def faces(count: int, size: int = 64, channels: int = 3) -> grid.Pixels:
    colours = np.random.default_rng(0).integers(0, 255, (count, 1, 1, channels), dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (count, size, size, channels)))


@pytest.fixture
def told(make_trainer: Make, tmp_path: Path) -> Reporter:
    """A reporter that has told the start and two ticks."""
    trainer = make_trainer(config=replace(CONFIG, holdout=16, tick_kimg=0.008))
    reporter = Reporter(tmp_path, trainer, VOCABULARY)
    reporter.start({"train": trainer.config.to_dict()})
    for minutes in (1.0, 2.0):
        reporter.tick(50.0, minutes, trainer.step())
    return reporter


def test_a_run_folder_has_all_that_there_is_to_see(told: Reporter) -> None:
    run = told.run
    assert sorted(p.name for p in (run / "grids").iterdir()) == [
        "0000000000.png",
        "0000000008.png",
        "0000000016.png",
    ]
    assert told.close() == run / "evolution.webp"
    assert not list(run.rglob("*.tmp"))
    settings = json.loads((run / "settings.json").read_text())
    assert settings["train"]["batch"] == CONFIG.batch
    assert settings["versions"]["torch"] == torch.__version__
    with Image.open(run / curves.NAME) as page:
        assert page.width == 1184
    lines = [json.loads(s) for s in (run / progress.NAME).read_text().splitlines()]
    assert [entry.get("seen", entry.get("start")) for entry in lines] == [0, 8, 16]
    want = {"d", "g", "r1", "rt", "real", "fake", "held", "variety", "z_variety", "rate", "lr_g"}
    assert want <= set(lines[1])


def test_the_grid_says_where_its_faces_are_and_shows_them_there(tmp_path: Path) -> None:
    pictures = faces(24)
    captions = [["pink hair", "a tag with a name that does not fit", *VOCABULARY, "bow"]] * 6
    page, places = grid.draw(pictures, 6, captions, "run: 1 kimg", characters="abc", seen=1000)
    grid.save(page, places, tmp_path / "grids" / "0000001000.png")
    read = grid.places_of(tmp_path / "grids" / "0000001000.png")
    assert read == places
    assert (read.columns, read.rows, read.width, read.height, read.seen) == (6, 4, 128, 128, 1000)
    for number, picture in enumerate(pictures):
        left, upper, right, lower = read.box(*divmod(number, 6))
        shown = np.asarray(page)[upper:lower, left:right]
        assert (shown == picture[0, 0]).all()
    above = np.asarray(page.convert("L"))[60 : read.top - 2]
    assert (above < 128).any()  # there are words


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_of_any_kind_and_shape_stand_on_a_grid(channels: int) -> None:
    wide = np.repeat(faces(12, 24, channels), 2, axis=2)
    page, places = grid.draw(wide, 4, [], "run")
    assert (places.width, places.height) == (240, 120)
    assert page.mode == "RGB"


@pytest.mark.parametrize(
    ("size", "shown", "shape"),
    [(16, 112, (12, 8)), (64, 128, (12, 8)), (256, 256, (6, 4)), (1024, 384, (4, 3))],
)
def test_a_grid_has_a_bounded_size(size: int, shown: int, shape: tuple[int, int]) -> None:
    assert grid.shown_size(size, size) == (shown, shown)
    assert grid.shape_for(size, size) == shape


def test_characters_show_many_tags_and_are_the_same_each_time() -> None:
    source = np.random.default_rng(0)
    labels = np.zeros((5000, 14), np.float32)
    labels[np.arange(5000), source.choice(10, 5000, p=[0.55, *[0.05] * 9])] = 1
    labels[np.arange(5000), 10 + source.integers(0, 4, 5000)] = 1
    picked = grid.pick_characters(labels, 12, seed=3)
    assert set(np.flatnonzero(picked.any(axis=0))) == set(range(14))
    assert (picked == grid.pick_characters(labels, 12, seed=3)).all()
    names = [f"thing {i}" for i in range(10)] + ["red hair", "long hair", "blue eyes", "smile"]
    first = [names_of[0] for names_of in grid.captions_of(picked, names)]
    assert set(first) >= {"red hair", "blue eyes"}


def test_one_row_of_labels_without_any_tag_can_be_shown() -> None:
    picked = grid.pick_characters(np.zeros((3, 4), np.float32), 4, seed=0)
    assert grid.captions_of(picked, VOCABULARY) == [[], [], [], []]


def test_while_labels_do_not_count_the_grid_says_so(make_trainer: Make, tmp_path: Path) -> None:
    trainer = make_trainer(config=replace(CONFIG, uncond_kimg=0.016, blend_kimg=0.016))
    reporter = Reporter(tmp_path, trainer, VOCABULARY)
    notes = []
    for trainer.seen in (0, 24, 32):
        notes.append(reporter.note())
    assert [warn for _, warn in notes] == [True, True, False]
    assert "do not count yet" in notes[0][0]
    assert "50%" in notes[1][0]


def test_grids_are_thinned_evenly(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:010d}.png").touch()
    kept = [int(path.stem) for path in grid.thin(tmp_path)]
    assert kept == sorted(int(path.stem) for path in tmp_path.iterdir())
    assert len(kept) <= 128
    assert (kept[0], kept[-1]) == (0, 299)
    assert max(np.diff(kept)) <= 4


def test_the_evolution_shows_the_same_characters_in_a_bounded_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolution, "FRAMES", 6)

    def add(seen: int, characters: str) -> None:
        shade = np.full((24, 64, 64, 3), seen % 251, np.uint8)
        page, places = grid.draw(shade, 6, [], "", characters=characters, seen=seen)
        grid.save(page, places, tmp_path / "grids" / f"{seen:010d}.png")

    add(0, "old")
    add(500, "new")
    assert evolution.build(tmp_path) is None
    for number in range(1, 9):
        add(500 + 1000 * number, "new")
    (tmp_path / "grids" / "0000099999.png").write_bytes(b"not a picture")
    Image.new("RGB", (768, 512)).save(tmp_path / "grids" / "0000099998.png")  # an older kaogen's
    path = evolution.build(tmp_path)
    assert path is not None
    with Image.open(path) as film:
        assert film.format == "WEBP"
        assert film.n_frames == 6
        assert film.width < 900
    assert path.stat().st_size < 2**20


def test_history_follows_a_run_through_kills_and_restarts(tmp_path: Path) -> None:
    for entry in ({"start": 0}, {"seen": 8}, {"seen": 16, "d": 1.0}, {"seen": 24}):
        progress.append(tmp_path, **entry)
    with (tmp_path / progress.NAME).open("a") as file:
        file.write('{"seen": 32, "d"\n[1]\n')  # cut short by a kill
    for entry in ({"start": 16}, {"seen": 24, "d": 2.0}):
        progress.append(tmp_path, **entry)
    ticks, starts = progress.history(tmp_path)
    assert [(tick["seen"], tick.get("d")) for tick in ticks] == [(8, None), (16, 1.0), (24, 2.0)]
    assert starts == [16]
    assert progress.history(tmp_path / "none") == ([], [])


def test_curves_bear_whatever_a_run_tells() -> None:
    wild = [{"seen": 1000 * i, "d": 1.0, "g": 1e9 if i == 5 else 0.5} for i in range(1, 200)]
    assert curves.bounds(curves.CHARTS[0], [t["g"] for t in wild])[1] < 10
    for ticks in ([], wild[:1], [{"seen": 1, "d": None, "g": float("nan"), "rt": -0.2}], wild):
        assert curves.draw(ticks, [0, 500], "run", "All is wrong. " * 40).mode == "RGB"
    assert curves.steps(0, 219.4, 6) == [0, 50, 100, 150, 200]
    assert [curves.figure(x) for x in (0, 1.3333, 0.00002, -0.25, 12345)] == [
        *("0", "1.33", "2e-05", "-0.25", "12,345")
    ]


def records(path: Path) -> Iterator[bytes]:
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length, check) = struct.unpack_from("<QI", data, at)
        assert check == masked_crc32c(data[at : at + 8])
        body = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length) == (masked_crc32c(body),)
        yield body
        at += 16 + length


def fields(data: bytes) -> list[tuple[int, Any]]:
    """A message's fields, as protocol buffers are laid out."""

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            octet = data[at]
            at += 1
            value |= (octet & 127) << shift
            shift += 7
            if octet < 128:
                return value

    out: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        key = number()
        if key & 7 == 0:
            out.append((key >> 3, number()))
            continue
        size = {1: 8, 5: 4}.get(key & 7) or number()
        piece = data[at : at + size]
        form = {1: "<d", 5: "<f"}.get(key & 7)
        out.append((key >> 3, struct.unpack(form, piece)[0] if form else piece))
        at += size
    return out


def test_tensorboard_gets_scalars_grids_and_settings(told: Reporter) -> None:
    (path,) = (told.run / tensorboard.FOLDER).iterdir()
    assert path.name.startswith("events.out.tfevents.")
    version, start, settings, *ticks = [dict(fields(body)) for body in records(path)]
    assert version[3] == b"brain.Event:2"
    assert dict(fields(start[7])) == {1: 1}
    assert b"```json" in settings[5]
    values = [(e[2], dict(fields(v))) for e in ticks for _, v in fields(e[5])]
    scalars = {(step, v[1].decode()): v[2] for step, v in values if 2 in v}
    line = json.loads((told.run / progress.NAME).read_text().splitlines()[-1])
    assert scalars[16, "Loss/D"] == pytest.approx(line["d"])
    assert scalars[8, "Variety/all"] > 0
    (_, shown), *_ = [(step, v) for step, v in values if v[1] == b"grid"]
    stored = dict(fields(shown[4]))
    assert stored[4][:2] == b"\xff\xd8"  # a JPEG
    assert stored[2] <= 1280


def test_looking_changes_nothing(make_trainer: Make, tmp_path: Path) -> None:
    config = replace(CONFIG, holdout=16)
    watched, alone = make_trainer(config=config), make_trainer(config=config)
    reporter = Reporter(tmp_path, watched, VOCABULARY)
    for _ in range(3):
        alone.step()
        reporter.tick(1.0, 1.0, watched.step())
    assert checkpoint.digest(watched.tensors()) == checkpoint.digest(alone.tensors())


def test_measures_see_a_generator_that_ignores_its_latent(make_trainer: Make) -> None:
    trainer = make_trainer()
    probe = Probe.of(trainer)
    before = measure(trainer, probe)
    with torch.no_grad():
        # The label's half of the first layer stays, the latent's goes.
        trainer.g.get_parameter("mapping.dense0.weight")[:, : NET.z_dim] = 0
    after = measure(trainer, probe)
    assert after["z_variety"] < 1e-3 < before["z_variety"]
    with torch.no_grad():
        trainer.g.get_parameter("mapping.dense0.weight").zero_()
    assert measure(trainer, probe)["variety"] < 1e-3


def test_held_out_faces_are_never_drawn_and_tell_what_d_knows(make_trainer: Make) -> None:
    trainer = make_trainer(config=replace(CONFIG, holdout=18, r1_gamma=0.0, lr_g=1e-9))
    probe = Probe.of(trainer)
    assert len(probe.held) == 16  # whole groups
    drawn = {int(row) for seen in range(0, 400, 8) for row in trainer.draws.rows.at(seen, 8)}
    assert not drawn & set(probe.held.tolist())
    assert len(drawn) == 22
    told = measure(trainer, probe)
    assert np.isfinite(told["held"])
    assert ("rv" in told) == ("rv_error" in told)


def test_warnings_stand_in_progress(told: Reporter) -> None:
    for number in range(3):
        told.trainer.seen += 8000  # D may be ahead at the beginning
        troubles = told.tick(1.0, 3.0 + number, {"d": 0.001, "g": 0.5}, hurry=True)
    assert [t.name for t in troubles] == ["d wins", "slow"]
    assert isinstance(troubles[0], Trouble)
    line = json.loads((told.run / progress.NAME).read_text().splitlines()[-1])
    assert "G learns nothing more" in line["warnings"]["d wins"]
