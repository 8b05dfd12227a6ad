"""Lists of pictures: CSV and JSON lines, as people have them and as a stranger may send them."""

import json
from pathlib import Path

import pytest

from kaogen.data.inputs.sidecars import read_sidecar
from kaogen.data.inputs.sources import open_source
from kaogen.errors import DataError, ImageError, LabelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    (root / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.webp"):
        (root / name).write_bytes(name.encode())
    (tmp_path / "outside.png").write_bytes(b"secret")
    return root


def listed(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "file,tags\na.png,smile|hat\nsub/c.webp,\n"),
        ("l.csv", "\ufefffile,tags\r\n.\\a.png,smile|hat\r\n\r\nsub\\c.webp,\r\n"),
        ("l.csv", 'id,path,tags\n1,a.png,"smile, hat"\n2,"sub/c.webp",\n'),
        ("l.tsv", "Image\tTags\na.png\tsmile, hat\nsub/c.webp\t\n"),
        ("l.jsonl", '{"file_name": "a.png", "tags": ["smile", "hat"]}\n\n{"image": "sub/c.webp"}'),
        ("l.ndjson", '{"path": "a.png", "text": "smile, hat"}\n{"file": "./sub/c.webp"}\n'),
        ("l.jsonl", '{"path": "a.png", "tag_string": "smile hat"}\n{"file": "./sub/c.webp"}\n'),
    ],
)
def test_the_forms_of_lists(folder: Path, name: str, text: str) -> None:
    source = open_source(listed(folder, name, text))
    assert source.names == ("a.png", "sub/c.webp")
    assert source.refused == []
    assert source.read("sub/c.webp") == b"sub/c.webp"
    words = read_sidecar(source, "a.png")
    assert words is not None
    assert (words.words, words.kind) == (("smile", "hat"), "list")
    assert read_sidecar(source, "sub/c.webp") is None
    assert source.describe()["kind"] == "list"
    with pytest.raises(ImageError, match="does not name it"):
        source.read("b.png")  # it is in the folder, but not in the list


def test_a_row_wins_over_the_file_beside_and_takes_the_rating_from_it(folder: Path) -> None:
    (folder / "a.txt").write_text("hat, rating:explicit")
    (folder / "b.txt").write_text("hat")
    source = open_source(listed(folder, "l.csv", "file,tags\na.png,smile\nb.png,\n"))
    first, second = (read_sidecar(source, name) for name in source.names)
    assert first is not None
    assert (first.words, first.rating, first.kind) == (("smile",), "explicit", "list")
    assert second is not None
    assert (second.words, second.kind) == (("hat",), "kohya")


@pytest.mark.parametrize("given", ["../outside.png", "sub/../../outside.png", "/etc/hosts.png"])
def test_a_list_names_only_what_is_in_its_folder(folder: Path, given: str) -> None:
    path = listed(folder, "l.csv", f"file\n{given}\na.png\n")
    source = open_source(path)
    assert source.names == ("a.png",)
    assert source.refused == [("l.csv line 2", f"{given}: it lies outside the list's folder.")]


def test_whoever_means_it_names_a_folder_above(folder: Path) -> None:
    inside = str(folder / "b.png")
    path = listed(folder, "l.csv", f"file\nset/a.png\noutside.png\n{inside}\n")
    source = open_source(path, root=folder.parent)
    assert source.names == ("outside.png", "set/a.png", "set/b.png")
    assert source.read("outside.png") == b"secret"
    # An absolute path into the list's own folder is fine as it is.
    assert open_source(listed(folder, "m.csv", f"file\n{inside}\n")).names == ("b.png",)


def test_broken_lines_are_refused_with_their_number_and_the_rest_is_read(folder: Path) -> None:
    lines = [
        '{"file": "a.png"}',
        '{"file": ',
        "[1, 2]",
        "{}",
        '{"file": 7}',
        '{"file": "a\\u0000.png"}',
        "[" * 100_000,
        '{"file": "a.png"}',
        '{"file": "film.mp4"}',
        '{"file": "sub/._a.png"}',
        '{"file": "b.png"}',
    ]
    source = open_source(listed(folder, "l.jsonl", "\n".join(lines)))
    assert source.names == ("a.png", "b.png")
    refused = dict(source.refused)
    assert refused.pop("a.png") == "its name stands there twice; the first counts."
    assert refused.pop("film.mp4") == "not a picture file by its name."
    assert sorted(refused) == [f"l.jsonl line {n}" for n in (10, 2, 3, 4, 5, 6, 7)]
    assert "nested too deeply" in refused["l.jsonl line 7"]


def test_cells_may_hold_line_ends_and_stray_quotes(folder: Path) -> None:
    text = 'file,title,tags\na.png,"two\nlines, and ""more""",hat\nb.png,6" tall,smile\n'
    source = open_source(listed(folder, "l.csv", text))
    assert source.names == ("a.png", "b.png")
    row = source.part(["b.png"]).row("b.png")
    assert row is not None
    assert (row["title"], row["tags"]) == ('6" tall', "smile")
    assert (source.row("a.png") or {})["title"] == 'two\nlines, and "more"'


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("l.csv", b"", "no header"),
        ("l.csv", b"name,tags\nx,y\n", "no header with a column that names the files"),
        ("l.csv", b'file\n"' + b"x\n" * 80_000, "line 2: it cannot be read|field larger"),
        ("l.jsonl", b'{"file": "' + b"x" * 2_000_000, "line 1 is longer than a MiB"),
    ],
)
def test_what_is_no_list_is_one_clear_error(
    folder: Path, name: str, data: bytes, said: str
) -> None:
    path = folder / name
    path.write_bytes(data)
    try:
        source = open_source(path)
    except DataError as error:
        assert any(part in str(error) for part in said.split("|"))  # noqa: PT017
    else:
        assert source.names == ()
        assert any(part in str(source.refused) for part in said.split("|"))


def test_a_list_that_changed_is_noticed(folder: Path) -> None:
    path = listed(folder, "l.csv", "file,tags\na.png,smile\n")
    source = open_source(path)
    path.write_text("file,tags\nb.png,hat\na.png,x\n")
    with pytest.raises(LabelError, match="not where it was"):
        source.row("a.png")
    words = read_sidecar(source, "a.png")
    assert words is not None
    assert (words.words, words.fault) == ((), "the row of a.png is not where it was.")


def test_names_that_are_no_text_are_refused(folder: Path) -> None:
    path = folder / "l.csv"
    path.write_bytes(b"file\n\xff\xfe.png\na.png\n")
    source = open_source(path)
    assert source.names == ("a.png",)
    assert source.refused[0][1] == "its name is unsafe."
    json.dumps(source.refused)
