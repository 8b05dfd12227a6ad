"""Words to labels: what is no tag is counted, with the tag it may have meant."""

from pathlib import Path

import pytest

from kaogen.data.tagging.tag_table import TagTable
from kaogen.errors import LabelError, UnknownTagError
from kaogen.tags import PAPER


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["file,tags", *rows]) + "\n", encoding="utf-8")
    return path


def test_unknown_words_of_a_csv_are_counted_and_the_rest_stays(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a.png,smile|pnik hair|1girl", "b.png,1girl|tree")
    table = TagTable.read(path, PAPER)
    assert table.rows == {"a.png": ("smile",), "b.png": ()}
    assert table.unknown == {"pnik hair": 1, "1girl": 2, "tree": 1}
    assert table.slips() == [("pnik hair", 1, "pink hair")]


def test_strict_refuses_them_with_their_line(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a.png,smile", "b.png,smile|pnik hair")
    with pytest.raises(UnknownTagError) as caught:
        TagTable.read(path, PAPER, strict=True)
    said = 'unknown tag "pnik hair" in t.csv line 3. Nearest: pink hair'
    assert str(caught.value).startswith(said)
    assert TagTable.read(written(path, "a.png,male|hat"), PAPER, strict=True).ignored == {"male": 1}


def test_words_of_sidecars_become_labels() -> None:
    table = TagTable(PAPER)
    words = ["1girl", "pink_hair", "Twintails", "cat_ears", "male", "笑顔", "saber (fate)"]
    assert set(table.understand(words)) == {
        "pink hair",
        "twin tails",
        "cat ears",
        "animal ears",
        "smile",
    }
    assert table.unknown == {"1girl": 1, "saber (fate)": 1}
    assert table.ignored == {"male": 1}
    assert table.understand(["blue_hair", "red_hair", "smile"]) == ("smile",)
    assert table.contradictions == {"hair colour": 1}


def test_slips_are_only_what_is_close_and_most_frequent_first() -> None:
    table = TagTable(PAPER)
    for word, count in {"smiles": 2, "glases": 5, "cat": 9, "blue sky": 9, "long hat": 1}.items():
        for _ in range(count):
            table.understand([word])
    slips = table.slips()
    assert [(word, tag) for word, _, tag in slips][:2] == [
        ("glases", "glasses"),
        ("smiles", "smile"),
    ]
    assert not {"cat", "blue sky"} & {word for word, _, _ in slips}
    assert table.slips(1) == slips[:1]


def test_a_flood_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaogen.data.tagging.tag_table._MOST_UNKNOWN", 500)
    table = TagTable(PAPER)
    for n in range(700):
        table.understand([f"word {n}", "word 3", "smile"])
    assert len(table.unknown) == 500
    assert table.unknown["word 3"] == 701
    assert table.slips() == []


def test_a_csv_without_the_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,tags\n")
    with pytest.raises(LabelError, match="no header"):
        TagTable.read(tmp_path / "t.csv", PAPER)
