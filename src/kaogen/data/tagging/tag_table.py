"""Words about pictures -> labels: a CSV ``file,tags`` with ``|`` between the tags, or sidecars."""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from kaogen.errors import LabelError, UnknownTagError
from kaogen.tags import EXTRA_TAGS, PAPER_TAGS, Vocabulary, fold

_MOST_UNKNOWN: Final = 100_000
_ALIKE: Final = 0.8  # difflib's ratio from which an unknown word looks like a slip of a tag


class TagTable:
    """What a CSV, and words from elsewhere, say about each file.

    Attributes:
        rows: file -> its tags: of the vocabulary, in its order, with what they imply.
        beyond: file, or picture that it names -> its words that are no tags of the vocabulary,
            of those that have any: rules may still look at them.
        ignored: tags that are known, but not to this vocabulary, and how often they stood there.
        unknown: words that are no tag, and how often they stood there; of different ones the first
            100,000 are counted.
        contradictions: group -> files that named several of its tags, although only one can be
            true (several characters' tags, mixed). Those tags are left out, the rest stays.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.rows: dict[str, tuple[str, ...]] = {}
        self.beyond: dict[str, tuple[str, ...]] = {}
        self.ignored: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.contradictions: Counter[str] = Counter()
        known = (*PAPER_TAGS, *EXTRA_TAGS)
        beyond = [name for name in known if name not in vocabulary]
        self._every = Vocabulary([*vocabulary.names, *beyond])
        self._resolved: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path, vocabulary: Vocabulary, *, strict: bool = False) -> TagTable:
        """Read the CSV at ``path``.

        Args:
            path: the CSV.
            vocabulary: the tags that become labels.
            strict: refuse words that are no tag instead of counting them.

        Raises:
            LabelError: it cannot be read, has no header ``file,tags`` or lists a file twice.
            UnknownTagError: with ``strict``, a word that is no tag, with its line and the nearest.
        """
        table = cls(vocabulary)
        try:
            # Excel writes a byte order mark.
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                if {"file", "tags"} - set(reader.fieldnames or ()):
                    raise LabelError(f"{path} has no header line `file,tags`.")
                for row in reader:
                    place = f"{path.name} line {reader.line_num}"
                    table._add(row["file"] or "", row["tags"] or "", place, strict=strict)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LabelError(f"{path} cannot be read as CSV ({error}).") from error
        return table

    def understand(self, words: Iterable[str]) -> tuple[str, ...]:
        """Raw words of one picture -> the label's tags; what is no tag is counted."""
        found = (self._resolve(word) for word in words)
        return self.clean(name for name in found if name)

    def clean(self, tags: Iterable[str], *, imply: bool = True) -> tuple[str, ...]:
        """Tags (spelled as in the vocabulary or as kaogen spells them) -> the label's tags.

        Counts what it leaves out in ``ignored`` and ``contradictions``. ``imply`` adds what the
        tags imply; a tagger has done that itself, within what it has learnt.
        """
        seen = set(tags)
        known = [name for name in seen if name in self.vocabulary]
        self.ignored.update(name for name in seen if name not in self.vocabulary)
        for group, rivals in self._every.exclusive.items():
            if len(seen.intersection(rivals)) > 1:
                self.contradictions[group] += 1
                known = [name for name in known if name not in rivals]
        return self.vocabulary.with_implied(known) if imply else self.vocabulary.canonical(known)

    def slips(self, most: int = 20) -> list[tuple[str, int, str]]:
        """``(word, count, nearest tag)`` of unknown words that look like a tag misspelt.

        The most frequent first. Only the 1,000 most frequent unknown words are compared.
        """
        found = []
        for word, count in self.unknown.most_common(1000):
            near = self._nearest(word)
            if near:
                found.append((word, count, near))
        return found[:most]

    def by_picture(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Picture -> tags, for those of ``names`` that the CSV lists.

        A row names a picture by its whole name inside the source, or by its last part where only
        one picture has that.
        """
        pictures = list(names)
        last = Counter(PurePosixPath(name).name for name in pictures)
        found: dict[str, tuple[str, ...]] = {}
        for name in pictures:
            short = PurePosixPath(name).name
            key = name if name in self.rows or last[short] > 1 else short
            if key in self.rows:
                found[name] = self.rows[key]
                if key in self.beyond:
                    self.beyond[name] = self.beyond[key]
        return found

    def _add(self, file: str, tags: str, place: str, *, strict: bool) -> None:
        name = file.strip().replace("\\", "/").removeprefix("./")
        if not name:
            raise LabelError(f"{place} names no file.")
        if name in self.rows:
            raise LabelError(f"{place} lists {name} a second time.")
        words = [word for word in map(str.strip, tags.split("|")) if word]
        if strict:
            for word in words:
                if not self._known(word):
                    raise UnknownTagError(word, self._every.nearest(word), place)
        self.rows[name] = self.understand(words)
        beyond = tuple(word for word in words if self._known(word) not in self.vocabulary)
        if beyond:
            self.beyond[name] = beyond

    def _resolve(self, word: str) -> str:
        """The tag's name; "" for a word that is none, which is counted."""
        name = self._known(word)
        if not name and (word in self.unknown or len(self.unknown) < _MOST_UNKNOWN):
            self.unknown[word] += 1
        return name

    def _known(self, word: str) -> str:
        if word in self._resolved:
            return self._resolved[word]
        # The vocabulary first, so that "gray hair" is silver hair to one that has no gray hair.
        name = self.vocabulary.find(word) or self._every.find(word) or ""
        if name or len(self._resolved) < _MOST_UNKNOWN:
            self._resolved[word] = name
        return name

    def _nearest(self, word: str) -> str:
        near = self._every.nearest(word, 1)
        if not near:
            return ""
        ratio = difflib.SequenceMatcher(None, fold(word), fold(near[0])).ratio()
        return near[0] if ratio >= _ALIKE else ""
