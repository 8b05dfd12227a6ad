"""The vocabulary: tags, their groups, aliases and names in four languages; condition vectors.

A model carries its own vocabulary. ``PAPER`` is the default: the 59 tags of the paper in the
paper's order, which is also the order of its condition vector. Words are understood in the paper's
and in Danbooru's spelling (``twintails``, ``pink_hair``, ``grey``) and in English, Japanese,
Chinese and Korean.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kaogen.errors import ConfigError, LabelError, TagConflictError, UnknownTagError
from kaogen.tagtable import COLOUR_WORDS, EXTRA_TABLE, GROUP_TABLE, PAPER_TABLE

LANGUAGES = ("en", "ja", "zh", "ko")
_LONGEST_WORD = 100


@dataclass(frozen=True)
class Tag:
    """One trait: its canonical name, group ("" for none), names by language, what else names it."""

    name: str
    group: str = ""
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    aliases: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Tags that belong together; ``exclusive`` when a face has one of them at most."""

    name: str
    names: Mapping[str, str] = field(hash=False)
    exclusive: bool
    tags: tuple[str, ...]


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _list(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split(",") if word.strip())


def _read_tags(table: str) -> dict[str, Tag]:
    tags = {}
    for name, group, ja, zh, ko, *rest in _rows(table):
        aliases, implies = (*rest, "", "")[:2]
        names = {"en": name, "ja": ja, "zh": zh, "ko": ko}
        tags[name] = Tag(name, group, names, _list(aliases), _list(implies))
    return tags


def _read_groups(table: str, tags: Iterable[Tag]) -> tuple[Group, ...]:
    known = tuple(tags)
    return tuple(
        Group(
            name,
            {"en": name, "ja": ja, "zh": zh, "ko": ko},
            exclusive == "one",
            tuple(tag.name for tag in known if tag.group == name),
        )
        for name, ja, zh, ko, exclusive in _rows(table)
    )


_PAPER = _read_tags(PAPER_TABLE)
_EXTRA = _read_tags(EXTRA_TABLE)
_ALL = _PAPER | _EXTRA

PAPER_TAGS = tuple(_PAPER)
EXTRA_TAGS = tuple(_EXTRA)
GROUPS = _read_groups(GROUP_TABLE, _PAPER.values())
"""The nine groups with the paper's tags; `Vocabulary.groups` gives those of a vocabulary."""

# Last word -> the group of a tag that kaogen does not know; with a colour before it, the other.
_GUESSES = {
    "hair": ("hair length and style", "hair colour"),
    "eyes": ("mouth and expression", "eye colour"),
    "ears": ("ears", "ears"),
}
_COLOURS = frozenset(COLOUR_WORDS.split())

# Sets of which a face has one tag at most: name -> tags.
EXCLUSIVE: dict[str, tuple[str, ...]] = {
    group.name: tuple(tag.name for tag in _ALL.values() if tag.group == group.name)
    for group in GROUPS
    if group.exclusive
} | {"hair length": ("short hair", "long hair")}


def tag(name: str) -> Tag:
    """Look a tag up by its canonical name.

    One that kaogen does not know has only its name, and the group that its last word tells: "teal
    hair" is a hair colour, "wavy hair" a style.
    """
    return _ALL.get(name) or Tag(name, _guess_group(name), dict.fromkeys(LANGUAGES, name))


def fold(word: str) -> str:
    """Reduce a word to what matters when words are compared.

    Case, underscores, hyphens, full-width forms and the spelling of "grey" do not matter.
    """
    folded = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", word).casefold()).strip()
    return re.sub(r"\bgrey\b", "gray", folded)


def _guess_group(name: str) -> str:
    *before, last = fold(name).split(" ")
    plain, coloured = _GUESSES.get(last, ("", ""))
    return coloured if before and before[-1] in _COLOURS else plain


class Vocabulary:
    """The tags that a model or data set knows, in the order of its condition vector.

    Args:
        names: canonical names, any number, in order; others than kaogen's own are welcome.

    Raises:
        ConfigError: a name is empty, given twice, too long, or has a character that separates tags.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._index = {name: place for place, name in enumerate(self.names)}
        self._words: dict[str, str] = {}
        for name in self.names:
            key = fold(name)
            if not key or len(name) > _LONGEST_WORD or re.search(r"^[-\s]|[,|\n、，;]|\s$", name):
                raise ConfigError(f"a vocabulary cannot have the tag {name!r}.")
            if key in self._words:
                raise ConfigError(f"a vocabulary has the tag {name!r} twice.")
            self._words[key] = name
        # Names come first, so that "gray hair" is an alias of silver hair only where there is
        # no tag gray hair.
        for name in self.names:
            for word in (*tag(name).aliases, *tag(name).names.values()):
                self._words.setdefault(fold(word), name)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tags)"

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups that have tags here, with those; tags without a group are in "other"."""
        found = []
        for group in (*GROUPS, Group("", dict(_OTHER), False, ())):
            members = tuple(name for name in self.names if tag(name).group == group.name)
            if members:
                name = group.name or "other"
                found.append(Group(name, group.names, group.exclusive, members))
        return tuple(found)

    @property
    def exclusive(self) -> dict[str, tuple[str, ...]]:
        """Sets of tags here of which a face has one at most, by name."""
        own = [tag(name) for name in self.names]
        sets = {
            key: dict.fromkeys((*names, *(t.name for t in own if t.group == key)))
            for key, names in EXCLUSIVE.items()
        }
        here = {key: tuple(n for n in names if n in self) for key, names in sets.items()}
        return {key: names for key, names in here.items() if len(names) > 1}

    def index(self, name: str) -> int:
        """Place of a canonical name in the condition vector.

        Raises:
            UnknownTagError: there is no such tag.
        """
        if name not in self._index:
            raise UnknownTagError(name, self.nearest(name))
        return self._index[name]

    def find(self, word: str) -> str | None:
        """`resolve`, with None for a word that names no tag."""
        return self._words.get(fold(word)) if len(word) <= _LONGEST_WORD else None

    def resolve(self, word: str, *, where: str = "") -> str:
        """Turn any spelling, alias or translation into the canonical name.

        Raises:
            UnknownTagError: the word names no tag; carries the nearest ones.
        """
        name = self.find(word)
        if name is None:
            raise UnknownTagError(word, self.nearest(word), where)
        return name

    def nearest(self, word: str, count: int = 3) -> tuple[str, ...]:
        """The tags that a mistaken word may have meant, best first."""
        if len(word) > _LONGEST_WORD:
            return ()
        key = fold(word)
        close = difflib.get_close_matches(key, self._words, count * 2, cutoff=0.6)
        parts = [w for w in self._words if key and key in w.split(" ")]
        return tuple(dict.fromkeys(self._words[w] for w in (*parts, *close)))[:count]

    def parse(self, text: str, *, where: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Read ``"pink_hair, -glasses"`` into (asked for, refused), canonical and in order.

        Commas, semicolons and line ends separate; "-", "no " and "without " refuse.

        Raises:
            UnknownTagError: a word names no tag.
        """
        yes: list[str] = []
        no: list[str] = []
        for piece in re.split(r"[,;\n、，；]", text):
            word = piece.strip()
            if not word:
                continue
            bare = re.sub(r"^(?:[-−]\s*|(?:no|without)[\s_]+)", "", word, flags=re.IGNORECASE)
            (yes if bare == word else no).append(self.resolve(bare, where=where))
        return self.canonical(yes), self.canonical(no)

    def check(self, yes: Iterable[str], no: Iterable[str] = ()) -> None:
        """Refuse tags that cannot hold together.

        Raises:
            TagConflictError: two of an exclusive set, a tag both asked for and refused, or one
                that is refused and yet implied.
            UnknownTagError: a name is not of this vocabulary.
        """
        wanted, refused = self.canonical(yes), self.canonical(no)
        for names in self.exclusive.values():
            both = [name for name in wanted if name in names]
            if len(both) > 1:
                raise TagConflictError(
                    f'"{both[0]}" and "{both[1]}" exclude each other.', hint="Pick one of them."
                )
        for name in refused:
            if name in wanted:
                raise TagConflictError(f'"{name}" is both asked for and refused.')
            cause = next((w for w in wanted if name in self.with_implied([w])), None)
            if cause is not None:
                raise TagConflictError(f'"{cause}" implies "{name}", which is refused.')

    def with_implied(self, yes: Iterable[str]) -> tuple[str, ...]:
        """Add the tags of this vocabulary that the given ones imply; vocabulary order."""
        found: dict[str, None] = {}
        waiting = list(yes)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = None
                waiting.extend(tag(name).implies)
        return tuple(name for name in self.names if name in found)

    def canonical(self, yes: Iterable[str]) -> tuple[str, ...]:
        """Sort canonical names into vocabulary order, each once.

        Raises:
            UnknownTagError: a name is not of this vocabulary.
        """
        return tuple(sorted(set(yes), key=self.index))

    def encode(self, yes: Iterable[str]) -> list[float]:
        """Condition vector of canonical names: 1.0 where the tag is among them, else 0.0.

        Raises:
            UnknownTagError: a name is not of this vocabulary.
        """
        vector = [0.0] * len(self)
        for name in yes:
            vector[self.index(name)] = 1.0
        return vector

    def decode(self, vector: Sequence[float], threshold: float = 0.5) -> tuple[str, ...]:
        """Names of the places at or above ``threshold``; the inverse of `encode`.

        Raises:
            LabelError: the vector's length is not the vocabulary's.
        """
        if len(vector) != len(self):
            raise LabelError(f"a label has {len(vector)} values; the vocabulary has {len(self)}.")
        return tuple(n for n, value in zip(self.names, vector, strict=True) if value >= threshold)


_OTHER = {"en": "other", "ja": "その他", "zh": "其他", "ko": "기타"}

PAPER = Vocabulary(PAPER_TAGS)
"""The paper's 59 tags, the default everywhere."""
