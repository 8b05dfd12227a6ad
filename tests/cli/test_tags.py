"""``kaogen tags``: choosing a vocabulary, and scores with bars."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from data.conftest import write_tagger
from data.tagger_graphs import wd
from kaogen.cli import main as cli
from kaogen.data.archives.archive_writer import encode_png
from kaogen.data.tagging.tag_select import read_vocabulary
from kaogen.tags import Vocabulary


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = cli.main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV of 200 faces: half smile, a fifth wears a hat, everyone is one girl."""
    path = tmp_path / "tags.csv"
    rows = (
        "|".join(["1girl", *(["smile"] if i % 2 else []), *(["hat"] if i % 5 == 0 else [])])
        for i in range(200)
    )
    path.write_text("file,tags\n" + "".join(f"{i}.png,{r}\n" for i, r in enumerate(rows)))
    return path


def test_a_vocabulary_is_chosen_shown_and_written(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "v.json"
    status, told, _ = run(capsys, "tags", "select", table, "-n", 3, "-o", out)
    assert status == 0
    assert read_vocabulary(out) == Vocabulary(["smile", "hat"])
    lines = told.splitlines()
    assert lines[0] == "tags.csv: 200 faces, 3 tags; chosen: 2"
    assert lines[2].split()[:7] == ["1.", "smile", "100", "50.0%", "–", "–", "1.000"]
    assert lines[4] == "not chosen, nearest first"
    assert lines[5].endswith("known to say nothing of a face")
    assert lines[6:] == ["only 2 of 3 tags are of use", f"{out}: a vocabulary of 2 tags"]
    status, told, _ = run(capsys, "tags", "select", table, "-n", 1, "--keep", "hat", "--near", 0)
    assert "1. hat" in told
    assert told.rstrip().endswith("asked for")


def test_a_tagger_shows_scores_with_bars_sorted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tagger = write_tagger(tmp_path / "t.onnx", smile=0.45)
    picture = tmp_path / "faces" / "red.png"
    picture.parent.mkdir()
    picture.write_bytes(encode_png(np.full((20, 30, 3), (204, 51, 0), np.uint8)))
    status, told, _ = run(capsys, "tags", "show", picture, "--tagger", tagger)
    assert status == 0
    assert told.splitlines() == [
        f"{picture}  30 x 20",
        "  0.800 ███████████████████▎     ● red hair",
        "  0.450 ██████████▊                smile",
        "  0.200 ████▊                      green hair",
    ]
    (picture.parent / "zz.png").write_bytes(b"broken")
    status, told, err = run(capsys, "tags", "show", picture.parent, "--tagger", tagger, "--json",
                     "--threshold", "smile=0.4")  # fmt: skip
    assert (status, err) == (
        0,
        f"{picture.parent}/zz.png: not a JPEG, PNG, WebP or AVIF picture.\n",
    )
    [shown] = json.loads(told)
    assert shown["tags"] == ["red hair", "smile"]
    assert list(shown["scores"]) == ["red hair", "smile", "green hair", "blue hair"]
    _, told, _ = run(capsys, "tags", "show", picture, "--tagger", tagger, "--least", 0.9)
    assert told.splitlines()[1] == "  no tag has a score of 0.9"


def test_foreign_taggers_show_all_their_tags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "red.png"
    picture.write_bytes(encode_png(np.full((20, 20, 3), (204, 51, 0), np.uint8)))
    status, told, _ = run(capsys, "tags", "show", picture, "--tagger", wd(tmp_path), "--top", 1)
    assert status == 0
    assert told.splitlines()[1:] == ["  0.800 ███████████████████▎     ● corner red"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["select", "none.csv"], 3, "none.csv cannot be read"),
        (["select", "TABLE", "-n", "0"], 2, "-n 0"),
        (["select", "TABLE", "--look", "0"], 2, "--look"),
        (["select", "TABLE", "--keep", "hart"], 2, "hart.*hat"),
        (["select", "TABLE", "--tagger", "wd"], 2, "none that is known"),
        (["show", "none.png"], 1, "none.png"),
        (["show", "TABLE"], 3, "tags.csv: not a JPEG"),
        (["show", "TABLE", "--threshold", "smile=3"], 2, "no threshold from 0 to 1"),
        (["show", "TABLE", "--threshold", "smlie=0.3"], 2, "smile"),
        (
            ["show", "TABLE", "--tagger", "builtin+builtin", "--combine", "min"],
            2,
            "max, mean, first",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    table: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    given = [str(table) if word == "TABLE" else word for word in words]
    code, out, err = run(capsys, "tags", *given)
    assert (code, out) == (status, "")
    assert err.startswith("kaogen: error: ")
    assert err.count("\n") == 1
    assert re.search(said, err)
