"""Tags of the field's taggers in the words of a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kaogen.errors import InputError
from kaogen.tags import EXTRA_TAGS, PAPER_TAGS, Vocabulary, fold

# tag: narrower tags that Danbooru tags instead of it, or counts to it
_NARROWER = """
twin tails: low twintails, short twintails, high twintails
ponytail: high ponytail, low ponytail, side ponytail, short ponytail, folded ponytail
braid: single braid, twin braids, side braid, french braid, crown braid, braided ponytail
long hair: very long hair, absurdly long hair, low-tied long hair
short hair: very short hair, pixie cut, bob cut
bangs: parted bangs, swept bangs, asymmetrical bangs, choppy bangs, crossed bangs
animal ears: fox ears, dog ears, wolf ears, rabbit ears, horse ears, bear ears, mouse ears
hat: beret, witch hat, baseball cap, straw hat, top hat, sun hat, cabbie hat, peaked cap, beanie
glasses: red-framed eyewear, black-framed eyewear, under-rim eyewear, round eyewear, bespectacled
jewelry: necklace, pendant, hoop earrings
earrings: hoop earrings, stud earrings
tears: crying with eyes open, tearing up, streaming tears, teardrop
tongue: long tongue
fang: fang out
smile: light smile, evil smile, grin, smirk
hair ornament: x hair ornament, star hair ornament, heart hair ornament, hair scrunchie
necktie: short necktie, red necktie, blue necktie, black necktie
flower: rose, hibiscus
ribbon: neck ribbon
gloves: black gloves, white gloves, fingerless gloves, elbow gloves
choker: black choker, ribbon choker
hairband: black hairband, white hairband, frilled hairband
brown hair: light brown hair, dark brown hair
blonde hair: light blonde hair
bicolored eyes: heterochromia
"""


def _read_narrower() -> dict[str, str]:
    rows = (line.split(":") for line in _NARROWER.strip().splitlines())
    return {fold(word): broad for broad, words in rows for word in words.split(",")}


NARROWER = _read_narrower()
"""Narrower tag, folded -> the tag that it counts to."""


def plain_name(tag: str) -> str:
    """Danbooru's spelling with spaces for underscores; faces such as ``^_^`` stay as they are."""
    return tag.strip().replace("_", " ") if any(c.isalpha() for c in tag[1:-1]) else tag.strip()


def resolve(word: str, vocabulary: Vocabulary, beyond: Vocabulary) -> str | None:
    """The tag of the vocabulary (else of the one beyond) that a foreign tag means, or None."""
    for words in (vocabulary, beyond):
        for spelling in (word, NARROWER.get(fold(word), "")):
            found = words.find(spelling)
            if found is not None:
                return found
    return None


def map_columns(
    columns: Sequence[str | None], vocabulary: Vocabulary | None
) -> tuple[tuple[str, ...], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which columns mean which tag.

    Returns the names in the vocabulary's order, then the other known ones (in the columns' order
    without a vocabulary); the columns sorted by name; and where each name's columns start. Tags
    that could be no name of a vocabulary (such as ``;d``, which would be read as two) are left out.
    """
    found: dict[str, list[int]] = {}
    if vocabulary is None:
        keys: dict[str, str] = {}
        for place, word in enumerate(columns):
            if word is not None and may_be_a_name(plain_name(word)):
                name = keys.setdefault(fold(plain_name(word)), plain_name(word))
                found.setdefault(name, []).append(place)
        names = tuple(found)
    else:
        # All known tags stay: red hair must not pass for the best of two other colours.
        known = (*PAPER_TAGS, *EXTRA_TAGS)
        beyond = Vocabulary([name for name in known if name not in vocabulary])
        for place, word in enumerate(columns):
            tag = None if word is None else resolve(word, vocabulary, beyond)
            if tag is not None:
                found.setdefault(tag, []).append(place)
        names = tuple(name for name in (*vocabulary.names, *beyond.names) if name in found)
    counts = [len(found[name]) for name in names]
    sources = [place for name in names for place in found[name]]
    starts = np.cumsum([0, *counts])[:-1]
    return names, np.array(sources, dtype=np.intp), starts.astype(np.intp)


def may_be_a_name(name: str) -> bool:
    """Whether a vocabulary can have a tag of this name."""
    try:
        Vocabulary([name])
    except InputError:
        return False
    return True
