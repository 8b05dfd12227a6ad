"""The vocabulary: the paper's 59 tags, spellings, conflicts and condition vectors."""

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaogen.errors import ConfigError, InputError, LabelError, TagConflictError, UnknownTagError
from kaogen.tags import (
    EXCLUSIVE,
    EXTRA_TAGS,
    GROUPS,
    LANGUAGES,
    PAPER,
    PAPER_TAGS,
    Vocabulary,
    fold,
    tag,
)

ALL = Vocabulary((*PAPER_TAGS, *EXTRA_TAGS))
# As the paper prints them, row by row.
PAPER_ORDER = """
pink hair, blush, open mouth, hair ornament, short hair, looking at viewer, flower, aqua eyes,
long hair, blue eyes, collarbone, school uniform, green eyes, braid, hair clip, red eyes, blue hair,
ribbon, bow, hair ribbon, pink eyes, silver hair, white hair, red hair, twin tails, black hair,
tears, hair flower, smile, blonde hair, choker, bare shoulders, gloves, hair bow, brown hair,
brown eyes, yellow eyes, orange hair, animal ears, jewelry, cleavage, bangs, pointy ears, earrings,
purple eyes, purple hair, hairband, green hair, hat, cat ears, :d, glasses, fang, lips, necktie,
black eyes, ponytail, tongue, blunt bangs
"""


def test_the_papers_tags_in_the_papers_order() -> None:
    assert list(PAPER_TAGS) == [word.strip() for word in PAPER_ORDER.split(",")]
    assert len(PAPER) == 59


def test_nine_groups_hold_each_tag_once() -> None:
    sizes = {group.name: len(group.tags) for group in GROUPS}
    assert sizes == {
        "hair colour": 11,
        "eye colour": 9,
        "hair length and style": 7,
        "hair accessories": 10,
        "mouth and expression": 8,
        "gaze": 1,
        "ears": 3,
        "accessories": 6,
        "body and clothes": 4,
    }
    assert sorted(name for group in GROUPS for name in group.tags) == sorted(PAPER_TAGS)
    assert [group.name for group in GROUPS if group.exclusive] == ["hair colour", "eye colour"]
    assert [group.name for group in ALL.groups][-1] == "other"  # "bad"


def test_every_tag_and_group_has_four_names() -> None:
    for name in ALL.names:
        assert set(tag(name).names) == set(LANGUAGES)
        assert all(tag(name).names.values())
    for group in GROUPS:
        assert all(group.names[language] for language in LANGUAGES)


def test_no_word_means_two_tags() -> None:
    meaning: dict[str, str] = {}
    for name in ALL.names:
        for word in {fold(w) for w in (name, *tag(name).aliases, *tag(name).names.values())}:
            if word == "gray hair":  # silver hair, where there is no gray hair
                continue
            assert meaning.setdefault(word, name) == name


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("twintails", "twin tails"),
        ("Pink_Hair", "pink hair"),
        ("  blue   eyes ", "blue eyes"),
        ("hairclip", "hair clip"),
        ("grey hair", "silver hair"),
        ("blond-hair", "blonde hair"),
        (":D", ":d"),
        ("猫耳", "cat ears"),
        ("双马尾", "twin tails"),
        ("안경", "glasses"),
        ("ｓｍｉｌｅ", "smile"),
    ],
)
def test_spellings(word: str, name: str) -> None:
    assert PAPER.resolve(word) == name


def test_an_alias_gives_way_to_a_tag_of_that_name() -> None:
    assert ALL.resolve("grey hair") == "gray hair"
    assert ALL.resolve("silver hair") == "silver hair"


@pytest.mark.parametrize(
    ("word", "near"),
    [("glases", "glasses"), ("pink", "pink hair"), ("twin tail", "twin tails"), ("hart", "hat")],
)
def test_unknown_words_name_the_nearest(word: str, near: str) -> None:
    with pytest.raises(UnknownTagError, match=near) as caught:
        PAPER.resolve(word, where="tags")
    assert caught.value.word == word
    assert near in caught.value.suggestions
    assert " in tags" in str(caught.value)


def test_parse_reads_both_ways_of_wanting() -> None:
    assert PAPER.parse("smile; pink_hair,, -glasses\nno hat、without_blush, smile") == (
        ("pink hair", "smile"),
        ("blush", "hat", "glasses"),
    )
    assert PAPER.parse("  ") == ((), ())


@pytest.mark.parametrize(
    ("yes", "no", "said"),
    [
        (["pink hair", "blue hair"], [], "exclude each other"),
        (["red eyes", "blue eyes"], [], "exclude each other"),
        (["long hair", "short hair"], [], "exclude each other"),
        (["smile"], ["smile"], "both asked for and refused"),
        (["cat ears"], ["animal ears"], "implies"),
        ([":d"], ["smile"], "implies"),
    ],
)
def test_conflicts(yes: list[str], no: list[str], said: str) -> None:
    with pytest.raises(TagConflictError, match=said):
        PAPER.check(yes, no)


def test_what_agrees_passes() -> None:
    PAPER.check(["pink hair", "long hair", "hair ribbon", ":d"], ["cat ears", "red hair"])
    with pytest.raises(TagConflictError):
        ALL.check(["aqua hair", "blue hair"])
    assert EXCLUSIVE["hair length"] == ("short hair", "long hair")


def test_implications() -> None:
    assert PAPER.with_implied([":d", "hair flower"]) == (
        "open mouth",
        "flower",
        "hair flower",
        "smile",
        ":d",
    )
    assert Vocabulary(["cat ears"]).with_implied(["cat ears"]) == ("cat ears",)
    for name in ALL.names:
        assert all(implied in ALL for implied in tag(name).implies)


def test_vectors() -> None:
    vector = PAPER.encode(["blush", "blunt bangs"])
    assert vector == [0.0, 1.0, *[0.0] * 56, 1.0]
    assert PAPER.decode(vector) == ("blush", "blunt bangs")
    assert PAPER.decode([0.6, *[0.0] * 58], threshold=0.7) == ()
    with pytest.raises(LabelError, match="59"):
        PAPER.decode([1.0])
    with pytest.raises(UnknownTagError):
        PAPER.encode(["Pink Hair"])


def test_a_vocabulary_of_ones_own() -> None:
    mine = Vocabulary(["smile", "robot", ":3"])
    assert mine.resolve("ROBOT") == "robot"
    assert mine.groups[-1].tags == ("robot", ":3")
    assert mine.exclusive == {}
    assert pickle.loads(pickle.dumps(mine)) == mine
    assert hash(mine) == hash(Vocabulary(["smile", "robot", ":3"]))
    assert mine != PAPER
    for names in (["a,b"], ["-a"], [""], ["a", "A"], ["a b", "a_b"], ["x" * 200], ["a|b"], [" a"]):
        with pytest.raises(ConfigError):
            Vocabulary(names)


def test_groups_of_tags_beyond_its_own_are_guessed_from_their_last_word() -> None:
    mine = Vocabulary(
        ["teal hair", "pink hair", "wavy hair", "empty eyes", "amber eyes", "fox ears"]
    )
    assert {group.name: group.tags for group in mine.groups} == {
        "hair colour": ("teal hair", "pink hair"),
        "eye colour": ("amber eyes",),
        "hair length and style": ("wavy hair",),
        "mouth and expression": ("empty eyes",),
        "ears": ("fox ears",),
    }
    assert mine.exclusive == {"hair colour": ("pink hair", "teal hair")}
    with pytest.raises(TagConflictError, match="exclude each other"):
        mine.check(["teal hair", "pink hair"])
    assert tag("hair").group == "hair length and style"


@given(st.sets(st.sampled_from(PAPER_TAGS)))
def test_vectors_round_trip(names: set[str]) -> None:
    assert set(PAPER.decode(PAPER.encode(names))) == names
    assert PAPER.parse(", ".join(names)) == (PAPER.canonical(names), ())


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        yes, no = PAPER.parse(text)
        assert set(yes) | set(no) <= set(PAPER.names)
