"""``kaogen export``'s own part: names, cards and figures. The rest is in tests/interop."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'kaogen[train]'")

from kaogen.cli.export import name_of
from kaogen.cli.main import main


@pytest.mark.parametrize(
    ("file", "name"),
    [("faces.kaogen", "faces"), ("My Model 2.kaogen", "my-model-2"), ("顔.kaogen", "model")],
)
def test_names(file: str, name: str) -> None:
    assert name_of(Path(file)) == name


def test_failures_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, data = str(tmp_path / "m.kaogen"), str(tmp_path / "faces.zip")
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"smile": 0.5}))
    binary = tmp_path / "card.md"
    binary.write_bytes(b"\xff\xfe\xff")
    words = ["export", str(tmp_path), "--archive", data, "-o", out]
    for extra, status, says in [
        ([], 4, "holds no checkpoint"),
        (["--precision", "int4"], 2, "unknown precision"),
        (["--name", "../up"], 2, "cannot be a model's name"),
        (["--measured", str(wrong)], 2, "must hold"),
        (["--measured", str(binary)], 2, "not a text file"),
        (["--card", str(binary)], 2, "not a text file"),
        (["--card", str(tmp_path / "none.md")], 1, "none.md"),
    ]:
        assert main([*words, *extra]) == status
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert not Path(out).exists()
