"""A CSV of tags: ``file,tags`` with ``|`` between the tags, checked against a vocabulary."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kaogen.errors import LabelError, UnknownTagError
from kaogen.tags import EXTRA_TAGS, Vocabulary


class TagTable:
    """What a CSV says about each file.

    Attributes:
        rows: file -> its tags: of the vocabulary, in its order, with what they imply.
        ignored: tags that are known, but not to this vocabulary, and how often they stood there.
        contradictions: group -> files that named several of its tags, although only one can be
            true (several characters' tags, mixed). Those tags are left out, the rest stays.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.rows: dict[str, tuple[str, ...]] = {}
        self.ignored: Counter[str] = Counter()
        self.contradictions: Counter[str] = Counter()
        beyond = [name for name in EXTRA_TAGS if name not in vocabulary]
        self._every = Vocabulary([*vocabulary.names, *beyond])
        self._resolved: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path, vocabulary: Vocabulary) -> TagTable:
        """Read the CSV at ``path``.

        Raises:
            LabelError: it cannot be read, has no header ``file,tags`` or lists a file twice.
            UnknownTagError: a word that is no tag, with its line and the nearest tags.
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
                    table._add(row["file"] or "", row["tags"] or "", place)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LabelError(f"{path} cannot be read as CSV ({error}).") from error
        return table

    def clean(self, tags: Iterable[str], *, imply: bool = True) -> tuple[str, ...]:
        """Tags (spelled as in the vocabulary or in EXTRA_TAGS) -> the label's tags.

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
        return found

    def _add(self, file: str, tags: str, place: str) -> None:
        name = file.strip().replace("\\", "/").removeprefix("./")
        if not name:
            raise LabelError(f"{place} names no file.")
        if name in self.rows:
            raise LabelError(f"{place} lists {name} a second time.")
        words = [word.strip() for word in tags.split("|")]
        self.rows[name] = self.clean(self._resolve(word, place) for word in words if word)

    def _resolve(self, word: str, place: str) -> str:
        if word not in self._resolved:
            try:
                # First, so that "gray hair" is silver hair to a vocabulary that has no gray hair.
                self._resolved[word] = self.vocabulary.resolve(word)
            except UnknownTagError:
                self._resolved[word] = self._every.resolve(word, where=place)
        return self._resolved[word]
