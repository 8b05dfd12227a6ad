"""The whole way on tiny data, as a person goes it: prepare, train, resume, export, draw, serve."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import kaogen

pytest.importorskip("torch", reason="training needs torch: pip install 'kaogen[train]'")

KAOGEN = [sys.executable, "-m", "kaogen.cli.main"]
COLOURS = {"pink hair": (240, 130, 180), "blue hair": (70, 90, 220), "green hair": (60, 190, 90)}
# The plain discriminator needs no tagger. One thread: two would wait for each other on a busy
# machine, and the weights compared below must not depend on their number.
TRAINING = ("--preset", "tiny64", "--critic", "stylegan2", "--batch", "4", "--threads", "1")
LOOK = ("pink hair", "--seed", "42")


def run(*words: object, status: int = 0) -> str:
    """Run a command line; what it printed, on both streams."""
    done = subprocess.run(
        [*KAOGEN, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def draw_faces(folder: Path, count: int = 18) -> None:
    """A folder of blobs with coloured tops, and a CSV that says which; one file is broken."""
    rng = np.random.default_rng(0)
    rows = ["file,tags"]
    folder.mkdir()
    for k in range(count):
        tag, colour = list(COLOURS.items())[k % 3]
        pixels = np.full((80, 80, 3), 230, np.uint8)
        pixels[10:45, 10:70] = colour
        pixels[35:70, 20:60] = (250, 220, 200)
        pixels = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:02}.png")
        rows.append(f"{k:02}.png,{tag}" + ("|smile" if k % 2 else ""))
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    rows.append("broken.png,smile")
    (folder.parent / "tags.csv").write_text("\n".join(rows) + "\n")


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The server's address; it must stop cleanly."""
    command = [*KAOGEN, "serve", "--port", "0", "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+/", process.stdout.readline())
            assert found
            yield found[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()


def weights_of(run_folder: Path) -> str:
    """The hash of a run's newest weights."""
    newest = sorted((run_folder / "checkpoints").iterdir())[-1]
    return hashlib.sha256((newest / "weights.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
def test_the_whole_way(tmp_path: Path) -> None:
    draw_faces(tmp_path / "faces")
    data, model = tmp_path / "faces.zip", tmp_path / "mini.kaogen"
    told = run("prepare", tmp_path / "faces", "--tags", tmp_path / "tags.csv", "-o", data)
    assert "18 faces" in told
    assert "broken.png" in told

    first, whole = tmp_path / "runs" / "first", tmp_path / "runs" / "whole"
    run("train", data, "--out", first, *TRAINING, "--kimg", "0.008")
    told = run("train", data, "--out", first, *TRAINING, "--kimg", "0.016")
    assert "going on at 8 images" in told
    run("train", data, "--out", whole, *TRAINING, "--kimg", "0.016")
    assert weights_of(first) == weights_of(whole), "a resumed run ends as an uninterrupted one"

    words = ("export", first, "--archive", data, "--min-examples", "3", "-o", model)
    assert "4 tags learnt" in run(*words)
    assert model.stat().st_size < 8e6

    picture, sheet = tmp_path / "one.png", tmp_path / "nine.png"
    run("draw", *LOOK, "--model", model, "-o", picture)
    run("draw", *LOOK, "-n", "9", "--model", model, "-o", sheet)
    with Image.open(sheet) as page:
        assert page.size[0] > 3 * 256
    assert 'not learnt "glasses"' in run("draw", "glasses", "--model", model, status=2)

    by_library = kaogen.draw("pink hair", seed=42, model=model)
    assert by_library.png() == picture.read_bytes()
    assert "pink hair" in by_library.tags
    with serving(model) as url:
        with urlopen(f"{url}v1/characters.png?tags=pink_hair&seed=42", timeout=20) as answer:
            assert answer.read() == picture.read_bytes(), "library, CLI and API give the same bytes"
        with urlopen(f"{url}v1/tags", timeout=20) as answer:
            groups = json.load(answer)["groups"]
        with urlopen(f"{url}v1/characters.png", timeout=20) as answer:
            assert Image.open(io.BytesIO(answer.read())).size == (256, 256)
    learnt = {tag["name"] for group in groups for tag in group["tags"] if tag["learnt"]}
    assert learnt == {*COLOURS, "smile"}
