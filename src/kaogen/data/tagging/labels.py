"""Whose word counts for a face's tags: the CSV's, a sidecar's, the tagger's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kaogen.data.preparing.filters import Filters
from kaogen.data.preparing.found import Found
from kaogen.data.preparing.plan import WORDS_ALONE
from kaogen.data.tagging.combine import Merger
from kaogen.data.tagging.tag_table import TagTable
from kaogen.data.tagging.taggers import AnyTagger, Combine

Tags = tuple[str, ...]


@dataclass(frozen=True)
class Labelled:
    """A face's label, or why it is left out.

    Attributes:
        tags: of the vocabulary; None in a data set without labels.
        reason: why it is left out; "" to keep it.
        tagger: whether the tagger had a say.
        sidecar: whether the sidecar had.
    """

    tags: Tags | None
    reason: str = ""
    tagger: bool = False
    sidecar: bool = False


class Labeller:
    """Gives faces their labels.

    The CSV alone counts for the pictures that it lists. Of the others, a sidecar and the tagger
    are merged by the rule; a picture of several faces is the tagger's alone, for nobody knows
    which face the sidecar means.

    Args:
        table: turns words into tags and counts those that are none.
        listed: picture -> tags, from the CSV.
        tagger: the one whose scores the faces carry, or None.
        combine: the rule.
        filters: with the tags that are not wanted.
        labelled: whether the data set has labels at all.
    """

    def __init__(
        self,
        table: TagTable,
        listed: Mapping[str, Tags],
        tagger: AnyTagger | None,
        combine: Combine,
        filters: Filters,
        *,
        labelled: bool,
    ) -> None:
        self.table = table
        self.listed = listed
        self.tagger = tagger
        self.filters = filters
        self.labelled = labelled
        self._merger = None if tagger is None else Merger(tagger, table.vocabulary, combine)

    def label(self, one: Found) -> Labelled:
        """The label of a face that is fine otherwise."""
        labelled, also = self._label(one)
        if self.filters.drop:
            words = one.words
            rating = [f"rating:{words.rating}"] if words is not None and words.rating else []
            beside = [*words.words, *words.names, *rating] if words is not None else []
            beyond = self.table.beyond.get(one.name, ())
            reason = self.filters.tag_reason([*(labelled.tags or ()), *also, *beyond, *beside])
            if reason:
                return Labelled(labelled.tags, reason)
        return labelled

    def _label(self, one: Found) -> tuple[Labelled, Tags]:
        """The label, and all tags that the tagger saw."""
        if one.name in self.listed:
            return Labelled(self.listed[one.name]), ()
        words = one.words.words if one.words is not None else ()
        if self.tagger is None or self._merger is None:
            if words:
                return Labelled(self.table.understand(words), sidecar=True), ()
            return (Labelled(None, WORDS_ALONE) if self.labelled else Labelled(None)), ()
        if one.faces > 1:
            words = ()
        written = self.table.understand(words) if words else None
        row = None if one.scores is None else one.scores.astype(np.float32)
        seen = tuple(name for name, _ in self._merger.tags(row, written))
        tags = self.table.clean(seen, imply=False)
        return Labelled(tags, tagger=True, sidecar=bool(words)), seen
