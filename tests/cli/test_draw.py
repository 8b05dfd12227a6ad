"""``kaogen draw``."""

from pathlib import Path

import pytest
from PIL import Image

import kaogen
from kaogen.cli.main import main
from kaogen.recipe import from_png
from kaogen.studio.sheets import GAP

PINK = "pink hair, smile"


@pytest.fixture
def model(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAOGEN_MODEL", str(random_model))
    return random_model


def test_one_is_the_same_as_the_librarys(model: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "new" / "one.png"
    assert main(["draw", PINK, "--seed", "42", "--psi", "0.5", "-o", str(out)]) == 0
    assert out.read_bytes() == kaogen.draw(PINK, seed=42, psi=0.5).png()
    assert "pink hair, smile, seed:42, psi:0.5" in capsys.readouterr().out


def test_a_recipes_text_draws_itself_again(model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    assert main(["draw", "blue hair, -hat", "--size", "64", "-o", str(first)]) == 0
    text = from_png(first).to_text()
    assert main(["draw", text, "-o", str(second)]) == 0
    assert first.read_bytes() == second.read_bytes()


def test_several_make_a_sheet(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    size = ["--size", "32", "--seed", "1"]
    assert main(["draw", PINK, "-n", "9", *size, "-o", str(out)]) == 0
    with Image.open(out) as page:
        assert page.size == (3 * (32 + GAP) - GAP,) * 2
        corner = page.crop((0, 0, 32, 32))
    assert corner.tobytes() == kaogen.draw(PINK, seed=1, size=32).image.tobytes()
    wide = tmp_path / "out.webp"
    assert main(["draw", PINK, "-n", "4", *size, "--columns", "4", "-o", str(wide)]) == 0
    with Image.open(wide) as page:
        assert page.size == (4 * (32 + GAP) - GAP, 32)


def test_into_a_folder(model: Path, tmp_path: Path) -> None:
    assert main(["draw", PINK, "-n", "3", "--seed", "5", "-o", str(tmp_path / "many")]) == 0
    names = sorted(path.name for path in (tmp_path / "many").iterdir())
    assert names == ["5.png", "6.png", "7.png"]
    assert from_png(tmp_path / "many" / "6.png").seed == 6


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["pnk hair"], 2, 'unknown tag "pnk hair" in text. Nearest: pink hair'),
        (["pink hair, blue hair"], 2, "exclude each other"),
        (["lips"], 2, 'has not learnt "lips"'),
        (["smile", "--psi", "9"], 2, "psi must be"),
        (["smile", "--seed", "-1"], 2, "seed must be"),
        (["smile", "--size", "5"], 2, "size must be"),
        (["smile", "-n", "0"], 2, "-n"),
        (["smile", "-o", "x.jpg"], 2, ".png or .webp"),
        (["smile", "--model", "nowhere.kaogen"], 4, "there is no model at "),
        (["smile", "--model", "other"], 4, 'there is no model "other"'),
        (["smile, model:random-00000000"], 4, "asks for model"),
    ],
)
def test_failures_are_one_line(
    words: list[str], status: int, says: str, model: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", *words]) == status
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("kaogen: error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_broken_model(tmp_path: Path, capsys) -> None:
    (tmp_path / "x.kaogen").write_bytes(b"no zip")
    assert main(["draw", "smile", "--model", str(tmp_path / "x.kaogen")]) == 4
    assert "x.kaogen is not a model file" in capsys.readouterr().err


def test_rare_combinations_are_told(model: Path, tmp_path: Path, capsys) -> None:
    many = "pink hair, red eyes, hat, glasses, braid, choker"
    assert main(["draw", many, "--size", "32", "-o", str(tmp_path / "x.png")]) == 0
    assert "No face of the training set combines these tags" in capsys.readouterr().out
