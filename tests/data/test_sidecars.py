"""Words beside pictures in the forms people have them, and files that are made to do harm."""

import json
from pathlib import Path
from typing import Any

import pytest

from kaogen.data.inputs.sidecars import RATINGS, Words, parse_record, parse_text, read_sidecar
from kaogen.data.inputs.sources import open_source


def beside(tmp_path: Path, **files: str | bytes) -> Words | None:
    """What is read of a.png with these files beside it, by suffix: txt, json, png_json."""
    (tmp_path / "a.png").write_bytes(b"x")
    for suffix, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / f"a.{suffix.replace('_', '.')}").write_bytes(data)
    return read_sidecar(open_source(tmp_path), "a.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1girl, pink hair, smile\n", ("1girl", "pink hair", "smile")),
        ("1girl, pink_hair,  smile,", ("1girl", "pink_hair", "smile")),
        ("1girl\npink_hair\nsmile\n", ("1girl", "pink_hair", "smile")),  # gallery-dl's tags
        ("1girl pink_hair smile", ("1girl", "pink_hair", "smile")),
        ("pink hair", ("pink hair",)),
        (r"saber \(fate\), joker_\(dc\), :d", ("saber (fate)", "joker_(dc)", ":d")),
        ("(smile:1.2), ((hat)), (pink hair:.9)", ("smile", "hat", "pink hair")),
        (";), :(, (o)_(o), ^_^, >:)", (";)", ":(", "(o)_(o)", "^_^", ">:)")),
        ("\ufeffsmile, 笑顔、ピンク髪", ("smile", "笑顔", "ピンク髪")),
        ("smile, smile, SMILE", ("smile", "SMILE")),
        ("A girl with long hair.", ("A girl with long hair.",)),
        ("", ()),
        (" ,, \n", ()),
    ],
)
def test_text(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    found = beside(tmp_path, txt=text)
    assert found is not None
    assert (found.words, found.rating, found.kind, found.fault) == (words, None, "kohya", "")


@pytest.mark.parametrize(
    ("word", "rating"),
    [
        ("rating:safe", "general"),
        ("rating:s", "sensitive"),
        ("rating_explicit", "explicit"),
        ("Rating: General", "general"),
        ("questionable", "questionable"),
        ("sensitive", "sensitive"),
        ("s", None),
        ("safe", None),
    ],
)
def test_ratings_in_text(word: str, rating: str | None) -> None:
    found = parse_text(f"1girl, {word}, smile")
    assert found.rating == rating
    assert rating is None or (rating in RATINGS and found.words == ("1girl", "smile"))


def test_other_encodings_and_suffixes(tmp_path: Path) -> None:
    assert parse(beside(tmp_path, caption="smile, hat")) == ("smile", "hat")
    assert parse(beside(tmp_path, txt="smile, 帽子".encode("utf-16"))) == ("smile", "帽子")
    broken = beside(tmp_path, txt=b"smile, \xff\xfe\x80")
    assert broken is not None
    assert broken.words[0] == "smile"


def parse(found: Words | None) -> tuple[str, ...]:
    assert found is not None
    return found.words


# Each as the site's API or gallery-dl writes it, cut down to the keys that matter.
POSTS: dict[str, tuple[dict[str, Any], Words]] = {
    "danbooru": (
        {
            "id": 1,
            "rating": "s",
            "tag_count": 5,
            "tag_count_general": 2,
            "tag_string": "1girl bob_(x) highres smile someone",
            "tag_string_artist": "someone",
            "tag_string_character": "bob_(x)",
            "tag_string_copyright": "",
            "tag_string_general": "1girl smile",
            "tag_string_meta": "highres",
        },
        Words(("1girl", "smile"), "sensitive", "danbooru", ("someone", "bob_(x)", "highres")),
    ),
    "gallery-dl, danbooru": (
        {
            "category": "danbooru",
            "subcategory": "post",
            "rating": "g",
            "tags": ["1girl", "bob", "smile"],
            "tags_character": ["bob"],
            "tags_general": ["1girl", "smile"],
            "tags_meta": [],
        },
        Words(("1girl", "smile"), "general", "gallery-dl", ("bob",)),
    ),
    "gallery-dl, gelbooru": (
        {
            "category": "gelbooru",
            "subcategory": "tag",
            "rating": "questionable",
            "tags": "1girl smile don&#039;t_cry",
        },
        Words(("1girl", "smile", "don't_cry"), "questionable", "gallery-dl"),
    ),
    "gallery-dl, yandere": (
        {
            "category": "yandere",
            "subcategory": "post",
            "rating": "s",
            "tags": "armor ouzoku sword",
            "tags_copyright": "ouzoku",
            "tags_general": "armor sword",
        },
        Words(("armor", "sword"), "general", "gallery-dl", ("ouzoku",)),
    ),
    "gallery-dl, e621": (
        {
            "category": "e621",
            "subcategory": "post",
            "rating": "e",
            "tags": {"general": ["smile"], "species": ["cat"], "artist": ["x"], "meta": []},
        },
        Words(("smile", "cat"), "explicit", "gallery-dl", ("x",)),
    ),
    "gallery-dl, zerochan": (
        {
            "category": "zerochan",
            "subcategory": "image",
            "tags": ["Mangaka:YeFan", "Character:Perth", "Theme:Blonde Hair", "Theme:Braids"],
        },
        Words(("Blonde Hair", "Braids"), None, "gallery-dl", ("YeFan", "Perth")),
    ),
    "gallery-dl, pixiv": (
        {"category": "pixiv", "subcategory": "work", "rating": "R-18", "tags": ["女の子", "笑顔"]},
        Words(("女の子", "笑顔"), "explicit", "gallery-dl"),
    ),
    "danbooru's dumps": (
        {
            "id": "1",
            "rating": "q",
            "tags": [
                {"id": "9", "name": "1girl", "category": "0"},
                {"id": "8", "name": "someone", "category": "1"},
                {"id": "7", "name": "smile", "category": 0},
            ],
        },
        Words(("1girl", "smile"), "questionable", "json", ("someone",)),
    ),
    "sankaku": (
        {"rating": "s", "tags": [{"name_en": "smile", "type": 0}, {"name_en": "x", "type": 4}]},
        Words(("smile",), "general", "json", ("x",)),
    ),
    "szurubooru": (
        {"tags": [{"names": ["smile", "smiling"], "category": "default"}]},
        Words(("smile",), None, "json"),
    ),
    "img2dataset": (
        {"url": "https://x", "caption": "pink hair, smile", "status": "success", "width": 3},
        Words(("pink hair", "smile"), None, "json"),
    ),
    "a plain one": ({"tags": "pink hair, smile"}, Words(("pink hair", "smile"), None, "json")),
    "one with bars": ({"tags": "pink hair|smile"}, Words(("pink hair", "smile"), None, "json")),
}


@pytest.mark.parametrize("name", POSTS)
def test_posts(name: str, tmp_path: Path) -> None:
    record, want = POSTS[name]
    assert parse_record(record) == want
    assert beside(tmp_path, png_json=json.dumps(record)) == want
    assert beside(tmp_path, json=json.dumps(record, indent=4, ensure_ascii=False)) == want


def test_posts_in_a_wrapping_and_bare_lists(tmp_path: Path) -> None:
    record, want = POSTS["danbooru"]
    assert beside(tmp_path, json=json.dumps({"post": record})) == want
    assert beside(tmp_path, json=json.dumps([record])) == want
    assert parse(beside(tmp_path, json='["smile", "hat"]')) == ("smile", "hat")
    for nothing in ("{}", "[]", "7", "null", '"smile"', '{"tags": null}', '{"id": 3}'):
        assert beside(tmp_path, json=nothing) is None


def test_text_wins_and_json_gives_what_it_lacks(tmp_path: Path) -> None:
    record, _ = POSTS["danbooru"]
    found = beside(tmp_path, txt="hat", json=json.dumps(record))
    assert found == Words(("hat",), "sensitive", "kohya", ("someone", "bob_(x)", "highres"))
    (tmp_path / "a.txt").write_text("")
    assert beside(tmp_path, json=json.dumps(record)) == POSTS["danbooru"][1]


HOSTILE = {
    "deep": ("[" * 500_000, "nested too deeply"),
    "deep objects": ('{"tags":' * 50_000, "nested too deeply"),
    "cut": ('{"tags": ["smile"', "is broken"),
    "html": ("<html>not found</html>", "is broken"),
    "empty": ("", "is broken"),
    "digits": ('{"tags": ' + "9" * 100_000 + "}", "is broken"),
    "large": ('{"tags": "' + "x" * 2**20 + '"}', "larger than 1 MiB"),
    "nul": ("\0" * 1000, "is broken"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_a_fault_and_never_an_error(name: str, tmp_path: Path) -> None:
    text, said = HOSTILE[name]
    found = beside(tmp_path, json=text)
    assert found is not None
    assert (found.words, found.rating) == ((), None)
    assert said in found.fault
    assert len(found.fault) < 200
    # What can be read still counts.
    found = beside(tmp_path, txt="smile", json=text)
    assert found is not None
    assert found.words == ("smile",)
    assert said in found.fault


@pytest.mark.parametrize(
    "record",
    [
        {"tags": 7},
        {"tags": [1, None, {"x": 1}, {"name": 3}, [["smile"]], {"names": []}]},
        {"tags": {"general": {"a": "b"}, "x": 3}},
        {"tags_general": {"x": "y"}, "tag_string_": 3, "rating": 4},
        {"tag_string": ["x"], "tag_string_general": None, "rating": "unheard of"},
        {"tags": "\u200b\x1b[31m|" + "x" * 500},
    ],
)
def test_odd_values_give_no_words(record: dict[str, Any]) -> None:
    found = parse_record(record)
    assert found is None or found.words in ((), ("x",))


def test_words_are_bounded_and_fit_to_print(tmp_path: Path) -> None:
    found = beside(tmp_path, txt=", ".join(f"w{n}" for n in range(50_000)))
    assert len(parse(found)) == 2000
    odd = "fine, \x1b[31mred, bell\x07, " + "x" * 300 + ", two  spaces"
    assert parse(beside(tmp_path, txt=odd)) == ("fine", "two spaces")


def test_nothing_beside_is_nothing(tmp_path: Path) -> None:
    assert beside(tmp_path) is None
