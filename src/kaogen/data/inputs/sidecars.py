"""What people keep beside a picture to say what it shows, read into plain words.

Four forms: text as kohya's and WD's taggers write it (``.txt``, ``.caption``: words between commas,
brackets escaped, weights around words) or gallery-dl (one a line); a post of Danbooru's API; a file
of gallery-dl for any of its sites; the columns of a list. Words come out raw, as they stand there:
which of them mean something is the vocabulary's business, and that most do not is normal.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kaogen.data.inputs.sources import Source
from kaogen.errors import LabelError

RATINGS: Final = ("general", "sensitive", "questionable", "explicit")
"""Danbooru's four, mildest first."""

_MOST_WORDS: Final = 2_000
_LONGEST_WORD: Final = 200
_RATING_WORDS: Final = {
    "g": "general",
    "general": "general",
    "safe": "general",
    "sensitive": "sensitive",
    "q": "questionable",
    "questionable": "questionable",
    "r15+": "questionable",
    "e": "explicit",
    "explicit": "explicit",
    "r-18": "explicit",
    "r-18g": "explicit",
    "r18+": "explicit",
}
# "rating:safe" and the like; the long names stand alone too, and no other tag is called so.
_RATING: Final = re.compile(
    r"rating[:_ ]+(s|{})|(sensitive|questionable|explicit|general)".format(
        "|".join(map(re.escape, _RATING_WORDS))
    )
)
# Kinds of tags that say what is seen; the others are names of people, series and files.
_SEEN: Final = frozenset({"", "0", "general", "default", "theme", "species", "fashion"})
_NUMBERED: Final = {"1": "artist", "3": "copyright", "4": "character", "5": "meta"}
# Zerochan writes "Theme:Blonde Hair"; these prefixes are its kinds.
_PREFIXED: Final = re.compile(
    r"(theme|character|game|series|mangaka|studio|source|group|meta|artiste|visual novel|vtuber"
    r"|company|movie|ova|label|event|circle|outfit|drama cd):(?=\S)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Words:
    """What is said of a picture.

    Attributes:
        words: of what is seen, raw, each once, in their order.
        rating: one of RATINGS, or None where nothing is said.
        kind: "kohya", "danbooru", "gallery-dl", "json" or "list"; "" when nothing could be read.
        names: what a site files under artist, character, copyright or meta: nothing for a label,
            but good for rules that leave pictures out.
        fault: why a sidecar that is there could not be read; "" when all is well.
    """

    words: tuple[str, ...]
    rating: str | None = None
    kind: str = ""
    names: tuple[str, ...] = ()
    fault: str = ""


def read_sidecar(source: Source, name: str) -> Words | None:
    """What is said of the picture ``name``; None when nothing is. Never raises.

    A list's own columns come first, then text, which people edit by hand, then JSON. A rating
    and names that the first one lacks are taken from the next.
    """
    found: Words | None = None
    fault = ""
    for read in (_from_list, _from_text, _from_json):
        try:
            words = read(source, name)
        except LabelError as error:
            fault = fault or error.message
            continue
        if words is None:
            continue
        if found is None or not found.words:
            found = replace(words, rating=words.rating or (found.rating if found else None))
        else:
            found = replace(
                found, rating=found.rating or words.rating, names=found.names or words.names
            )
    if fault:
        found = replace(found or Words(()), fault=fault)
    return found


def parse_text(text: str) -> Words:
    """Words between commas or line ends; where there is neither, between spaces if it must be."""
    separated = re.split(r"[,\n\r、，]", text)
    if len([piece for piece in separated if piece.strip()]) == 1 and "_" in text:
        separated = text.split()  # one tag string, as on the boorus
    rating = None
    words: list[str] = []
    for piece in separated:
        word = _bare(piece)
        said = _RATING.fullmatch(word.casefold())
        if said is None:
            words.append(word)
        elif rating is None:
            rating = "sensitive" if said[1] == "s" else _RATING_WORDS[said[1] or said[2]]
    return Words(_tidy(words), rating, "kohya")


def parse_record(record: Mapping[str, Any], kind: str = "") -> Words | None:
    """The words of one JSON object: a post of Danbooru's API, gallery-dl's file of any site.

    None when it says nothing of tags or rating.
    """
    if not kind:
        gallery = "category" in record and ("subcategory" in record or "extension" in record)
        kind = "gallery-dl" if gallery else "danbooru" if "tag_string" in record else "json"
    seen: list[str] = []
    names: list[str] = []
    said = False
    for key, value in record.items():
        # tag_string_general is Danbooru's own, tags_general what gallery-dl makes of any site.
        match = re.fullmatch(r"(?:tag_string|tags)_(\w+)", key)
        if match and isinstance(value, str | list | tuple):
            (seen if match[1] in _SEEN else names).extend(_words(value, spaced=True))
            said = said or match[1] in _SEEN
    if not said:
        # The whole lot, less the names that are known to be such.
        known = set(names)
        more, others = _from_one(record, spaced=kind in {"danbooru", "gallery-dl"})
        seen.extend(word for word in more if word not in known)
        names.extend(others)
    rating = _rating(record)
    if not seen and not names and rating is None:
        return None
    return Words(_tidy(seen), rating, kind, _tidy(names))


def _from_list(source: Source, name: str) -> Words | None:
    row = source.row(name)
    return None if row is None else parse_record(row, "list")


def _from_text(source: Source, name: str) -> Words | None:
    for suffix in (".txt", ".caption"):
        data = source.sidecar(name, suffix)
        if data is not None:
            return parse_text(_decode(data))
    return None


def _from_json(source: Source, name: str) -> Words | None:
    data = source.sidecar(name, ".json")
    if data is None:
        return None
    try:
        record = json.loads(_decode(data))
    except RecursionError as error:
        raise LabelError("its .json is nested too deeply.") from error
    except ValueError as error:
        raise LabelError(f"its .json is broken ({str(error)[:80]}).") from error
    if isinstance(record, list):
        post = len(record) == 1 and isinstance(record[0], dict) and "name" not in record[0]
        record = record[0] if post else {"tags": record}
    if isinstance(record, dict) and isinstance(record.get("post"), dict):
        record = record["post"]
    return parse_record(record) if isinstance(record, dict) else None


def _from_one(record: Mapping[str, Any], *, spaced: bool) -> tuple[list[str], list[str]]:
    """(words of what is seen, names) from the first key that has any."""
    for key in ("tag_string", "tags"):
        if record.get(key):
            return _by_kind(record[key], spaced=spaced or key == "tag_string")
    for key in ("tag", "text", "caption"):
        if isinstance(record.get(key), str):
            return list(parse_text(record[key]).words), []
    return [], []


def _by_kind(value: object, *, spaced: bool) -> tuple[list[str], list[str]]:
    """(words of what is seen, names) from a string, a list, or a dictionary of lists."""
    seen: list[str] = []
    names: list[str] = []
    if isinstance(value, dict):
        for kind, words in value.items():
            (seen if str(kind) in _SEEN else names).extend(_words(words, spaced=spaced))
        return seen, names
    for item in _words(value, spaced=spaced) if isinstance(value, str) else _list(value):
        kind, word = "", item
        if isinstance(item, dict):
            kind, word = str(item.get("category", item.get("type", ""))), _name_of(item)
        elif isinstance(item, str) and (match := _PREFIXED.match(item)):
            kind, word = match[1].lower(), item[match.end() :]
        if isinstance(word, str):
            (seen if _NUMBERED.get(kind, kind) in _SEEN else names).append(word)
    return seen, names


def _name_of(item: Mapping[str, Any]) -> object:
    """A tag that is an object: Danbooru's dumps, Sankaku, szurubooru."""
    for key in ("name", "name_en", "tag", "names"):
        value = item.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str) and value:
            return value
    return None


def _words(value: object, *, spaced: bool) -> list[str]:
    """The words of a list, or of a string: between spaces on the boorus, else ``|`` or commas."""
    if not isinstance(value, str):
        return [word for word in _list(value) if isinstance(word, str)]
    for separator in ("|", ", ", "\n"):
        if separator in value:
            return value.split(separator)
    return value.split() if spaced or "_" in value else value.split(",")


def _list(value: object) -> list[Any]:
    return list(value[:_MOST_WORDS]) if isinstance(value, list | tuple) else []


def _rating(record: Mapping[str, Any]) -> str | None:
    said = record.get("rating")
    if not isinstance(said, str):
        return None
    word = said.strip().casefold()
    if word == "s":
        # Danbooru's s is "sensitive"; on every other site it is "safe".
        danbooru = "tag_string" in record or "tag_string_general" in record
        return "sensitive" if danbooru else "general"
    return _RATING_WORDS.get(word)


def _bare(piece: str) -> str:
    """A word without the weights and brackets that prompts put around it: ``(smile:1.2)``."""
    word = piece.strip()
    while (inner := _unwrapped(word)) is not None:
        word = re.sub(r":\d*\.?\d+$", "", inner).strip()
    return re.sub(r"\\([()\[\]{}])", r"\1", word)


def _unwrapped(word: str) -> str | None:
    """The inside of brackets that go around the whole word; None where there are none such."""
    if len(word) < 3 or word[0] != "(" or word[-1] != ")" or word[-2] == "\\":
        return None
    depth = 0
    for at, character in enumerate(word):
        escaped = at > 0 and word[at - 1] == "\\"
        depth += (character == "(" and not escaped) - (character == ")" and not escaped)
        if depth == 0 and at < len(word) - 1:
            return None
    return word[1:-1] if depth == 0 else None


def _tidy(words: Iterable[str]) -> tuple[str, ...]:
    """Each once, without what is no word: empty, endless, not for printing."""
    clean: Callable[[str], str] = lambda word: " ".join(html.unescape(word).split())  # noqa: E731
    kept = dict.fromkeys(clean(word) for word in words)
    fine = [word for word in kept if 0 < len(word) <= _LONGEST_WORD and word.isprintable()]
    return tuple(fine[:_MOST_WORDS])


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")  # Windows' editor, when told "Unicode"
    return data.decode("utf-8-sig", "replace")
