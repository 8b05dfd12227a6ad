"""Choosing a vocabulary: by bits, by what other tags tell, by how well a tag is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaogen.data.tagging.tag_prior import why_useless
from kaogen.data.tagging.tag_select import read_vocabulary, select
from kaogen.data.tagging.tagged import Tagged
from kaogen.errors import ConfigError, LabelError, UnknownTagError
from kaogen.tags import PAPER, PAPER_TAGS, Vocabulary

RANDOM = np.random.default_rng(5)


def tagged(shown: dict[str, np.ndarray], **known: dict[str, float]) -> Tagged:
    """A set that shows these tags; `sure` and `holds` by name where they are known."""
    table = np.stack(list(shown.values()), axis=1).astype(bool)
    sure, holds = (
        np.array([known.get(what, {}).get(name, np.nan) for name in shown])
        for what in ("sure", "holds")
    )
    return Tagged("set.zip", len(table), tuple(shown), table, table.mean(axis=0), sure, holds)


def coin(share: float, count: int = 4000) -> np.ndarray:
    return RANDOM.random(count) < share


def chosen(data: Tagged, count: int, **options: Any) -> list[str]:
    return [choice.name for choice in select(data, count, **options).chosen]


def reasons(data: Tagged, count: int, **options: Any) -> dict[str, str]:
    return {choice.name: choice.reason for choice in select(data, count, **options).missed}


def test_the_tags_that_tell_most_come_first_in_bits() -> None:
    data = tagged({"hat": coin(0.05), "smile": coin(0.5), "blush": coin(0.2)})
    picks = select(data, 3).chosen
    assert [choice.name for choice in picks] == ["smile", "blush", "hat"]
    share = data.share[2]
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert picks[1].bits == pytest.approx(entropy, abs=2e-3)
    assert picks[0].faces == data.shown[:, 1].sum()
    assert picks[0].reason == "tells what no other does"


def test_what_another_tag_tells_is_worth_no_more() -> None:
    smile, hat = coin(0.5), coin(0.1)
    much = smile & ~coin(0.05)
    data = tagged({"smile": smile, "grin": much, "frown": ~smile, "hat": hat})
    assert chosen(data, 2) == ["smile", "hat"]
    missed = reasons(data, 2)
    assert missed["frown"] == "100% told by smile"
    assert missed["grin"].endswith("told by smile")
    # H(X | Y) of a table that can be checked by hand: Y tells half of X's faces for sure.
    x = np.array([1, 1, 0, 0] * 50)
    y = np.array([1, 0, 0, 0] * 50)
    picks = select(tagged({"x": x, "y": y}), 2).chosen
    left = 0.5 * 1.0 + 0.5 * 0.0  # H(Y | X): 1 bit where X holds, else none
    assert (picks[0].name, picks[1].name) == ("x", "y")
    assert picks[1].bits == pytest.approx(left)
    assert picks[1].told_by == "x"


def test_of_two_names_of_one_thing_the_narrower_is_chosen() -> None:
    cut = coin(0.2)
    data = tagged({"bangs": cut, "blunt bangs": cut, "hat": coin(0.1)})
    assert chosen(data, 2) == ["blunt bangs", "hat"]
    assert reasons(data, 2)["bangs"] == "100% told by blunt bangs"


def test_what_the_tagger_does_not_know_and_what_the_crop_cuts_off_come_last() -> None:
    shown = {"smile": coin(0.3), "glasses": coin(0.3), "collar": coin(0.3), "hat": coin(0.1)}
    sure = {"smile": 0.9, "glasses": 0.2, "collar": 0.9, "hat": 0.8}
    holds = {"smile": 0.95, "collar": 0.1}
    data = tagged(shown, sure=sure, holds=holds)
    assert chosen(data, 2) == ["smile", "hat"]
    missed = reasons(data, 2)
    assert missed["glasses"] == "the tagger seldom confirms it"
    assert missed["collar"] == "the crop often cuts it off"
    picks = {c.name: c for c in select(data, 4).chosen}
    assert picks["glasses"].reason.endswith("though the tagger seldom confirms it")
    assert picks["hat"].holds is None


def test_what_is_of_no_use_is_left_out_with_its_reason() -> None:
    shown = {
        "smile": coin(0.3),
        "hat": coin(0.2),
        "1girl": coin(0.9),
        "thighhighs": coin(0.3),
        "bangs": coin(0.99),
        "tears": np.arange(4000) < 6,
        "fang": np.zeros(4000),
    }
    data = tagged(shown)
    selection = select(data, 59)
    assert [choice.name for choice in selection.chosen] == ["smile", "hat"]
    assert selection.vocabulary == Vocabulary(["smile", "hat"])
    assert reasons(data, 59) == {
        "1girl": "known to say nothing of a face",
        "thighhighs": "known to lie outside a face crop",
        "bangs": "nearly every face shows it",
        "tears": "too few faces show it: 10 are needed",
    }
    assert "needed" not in reasons(data, 1, least=6)["tears"]
    assert "thighhighs" in chosen(data, 59, prior=False)
    assert chosen(data, 2, keep=["TEARS"]) == ["tears", "smile"]
    assert reasons(data, 1, drop="^ha|bang")["hat"] == "dropped, as asked"
    assert len(reasons(data, 1, near=1)) == 1
    assert reasons(data, 1)["hat"] == "adds less than the last one chosen, smile"


def test_what_cannot_be_chosen() -> None:
    data = tagged({"smile": coin(0.3)})
    with pytest.raises(ConfigError, match="-n 0"):
        select(data, 0)
    with pytest.raises(ConfigError, match="no regular expression"):
        select(data, 1, drop="(")
    with pytest.raises(UnknownTagError, match=r"smle.*--keep.*smile"):
        select(data, 1, keep=["smle"])
    with pytest.raises(ConfigError, match=r"set\.zip has no tag"):
        select(data, 1, drop="smile")


def test_the_vocabulary_file(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    selection = select(tagged({"smile": coin(0.5), "teal hair": coin(0.2), "hat": coin(0.1)}), 2)
    selection.write(path)
    assert read_vocabulary(path) == Vocabulary(["smile", "teal hair"])
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["format"] == "kaogen-tags"
    assert told["why"]["smile"]["bits"] == pytest.approx(1, abs=0.01)
    assert list(told["missed"]) == ["hat"]
    assert [file.name for file in tmp_path.iterdir()] == ["v.json"]
    path.write_text("smile\n\n teal hair \n", encoding="utf-8")
    assert read_vocabulary(path) == Vocabulary(["smile", "teal hair"])
    for text, words in [
        ("", "lists no tags"),
        ("[1]", "no vocabulary file"),
        ('{"format": "kaogen-tags", "version": 2, "tags": ["a"]}', "version 2"),
        ('{"format": "kaogen-tags", "version": 1, "tags": [1]}', "lists no tags"),
        ('{"format": "kaogen-tags", "version": 1}', "lists no tags"),
        ("{", "not valid JSON"),
        ("smile\nSmile", "twice"),
        ("a|b", "cannot have"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(LabelError, match=words) as caught:
            read_vocabulary(path)
        assert "v.json" in str(caught.value)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(LabelError, match="no UTF-8"):
        read_vocabulary(path)
    with pytest.raises(LabelError, match="cannot be read"):
        read_vocabulary(tmp_path / "none.json")
    with pytest.raises(LabelError, match="cannot be written"):
        selection.write(tmp_path / "none" / "v.json")


def test_the_prior_spares_the_papers_tags_and_tags_of_the_head() -> None:
    for name in (*PAPER_TAGS, "twin tails", "head wings", "hand mirror hairband"[12:], "sidelocks"):
        assert why_useless(name) == "", name
    for name in ("large breasts", "hand on own cheek", "black thighhighs", "holding sword"):
        assert "outside" in why_useless(name)
    for name in ("2girls", "6+girls", "solo", "white background", "english text", "fate (series)"):
        assert "nothing" in why_useless(name)
    assert not any(why_useless(name) for name in PAPER.names)
