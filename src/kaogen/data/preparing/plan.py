"""What to prepare, and what came of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kaogen.data.finding.crops import MARGIN
from kaogen.data.finding.faces import KINDS
from kaogen.data.preparing.duplicates import DISTANCE
from kaogen.data.preparing.engine import open_engine
from kaogen.data.preparing.filters import BLUR, Filters
from kaogen.data.tagging.combine import RULES
from kaogen.data.tagging.tag_rules import Thresholds
from kaogen.data.tagging.taggers import Combine
from kaogen.errors import ConfigError
from kaogen.tags import PAPER, Vocabulary

WORDS_ALONE: Final = "nothing says its tags (the tagger was not asked)"


@dataclass(frozen=True)
class Preparation:
    """What to prepare.

    Attributes:
        source: folder, zip, WebDataset tars or list of pictures; see :func:`open_source`.
        out: the data set file to write.
        size: edge of square faces in pixels, a power of two, 8 to 1024; or (width, height),
            multiples of 8 in that range.
        tags: CSV ``file,tags``; what it says of a picture counts before any tagger.
        tagger: what :func:`open_tagger` opens, for the pictures that the CSV does not list; None
            leaves those out, or, where nothing else says tags, makes a data set without labels.
        limit: look at the first so many pictures only, by name.
        workers: processes; None for one per CPU; 0 to work in this process, where a picture that
            brings it down does so for good.
        vocabulary: the tags that become labels; None for all that the tagger knows.
        detect: find faces and cut them out; False takes the middle of each picture; None finds
            out by looking at some of them.
        finder: "animeface" or "imgutils".
        margin: around a face, as a share of its edge; 0 cuts tight.
        align: turn faces upright by their eyes.
        faces: how many of a picture are taken at most, the surest first; 0 for all.
        upscale: enlarge small faces by Real-ESRGAN.
        sidecars: whether tags that stand beside the pictures are read.
        combine: how taggers, and sidecars with the tagger, become one.
        thresholds: over the tagger's own.
        filters: fields of :class:`Filters` that differ from :func:`usual_filters`.
        rejected: folder for what is left out, to be looked at.
        report: the page that tells of the data set; None for none.
        engine: "local" or "ray".
        address: of a Ray cluster.
    """

    source: Path
    out: Path
    size: int | tuple[int, int] = 64
    tags: Path | None = None
    tagger: str | None = None
    limit: int | None = None
    workers: int | None = None
    vocabulary: Vocabulary | None = PAPER
    detect: bool | None = None
    finder: str = "animeface"
    margin: float = MARGIN
    align: bool = False
    faces: int = 0
    upscale: bool = False
    sidecars: bool = True
    combine: Combine = "max"
    thresholds: Thresholds = field(default_factory=Thresholds)
    filters: Mapping[str, Any] = field(default_factory=dict)
    rejected: Path | None = None
    report: Path | None = None
    engine: str = "local"
    address: str | None = None

    @property
    def width(self) -> int:
        """Of the faces, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def height(self) -> int:
        """Of the faces, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[1]

    def chosen_filters(self, *, detect: bool) -> Filters:
        """The usual filters with this plan's own."""
        return replace(usual_filters(min(self.width, self.height), detect=detect), **self.filters)

    def check(self) -> None:
        """ConfigError for values that cannot be."""
        self._check_size()
        for option, value, least in (
            ("--limit", self.limit, 1),
            ("--workers", self.workers, 0),
            ("--faces", self.faces, 0),
        ):
            if value is not None and value < least:
                raise ConfigError(f"{option} {value} is not at least {least}.")
        if not 0 <= self.margin <= 3:
            raise ConfigError(f"--margin {self.margin} is not between 0 and 3.")
        if self.finder not in KINDS:
            raise ConfigError(f"--finder {self.finder} is none of {', '.join(KINDS)}.")
        self._check_tagging()
        self.chosen_filters(detect=True).check()
        open_engine(self.engine, workers=self.workers, address=self.address)
        for option, path in (("-o", self.out), ("--report", self.report)):
            if path is not None and path.is_dir():
                raise ConfigError(f"{option} {path} is a folder; a file is needed.")
            if path is not None and not path.absolute().parent.is_dir():
                raise ConfigError(
                    f"{option} {path}: there is no folder {path.absolute().parent}.",
                    hint="Make it first.",
                )

    def _check_tagging(self) -> None:
        if self.combine not in RULES:
            raise ConfigError(f"--combine {self.combine} is none of {', '.join(RULES)}.")
        if self.tagger is None and self.vocabulary is None:
            raise ConfigError("a vocabulary of all tags needs a tagger.", hint="Add --tagger.")
        if self.tagger is None and self.thresholds != Thresholds():
            raise ConfigError("thresholds need a tagger.", hint="Add --tagger.")

    def _check_size(self) -> None:
        width, height = self.width, self.height
        if width == height and width not in {2**power for power in range(3, 11)}:
            raise ConfigError(f"--size {width} is no power of two from 8 to 1024.")
        if any(not 8 <= edge <= 1024 or edge % 8 for edge in (width, height)):
            raise ConfigError(f"--size {width}x{height}: multiples of 8 from 8 to 1024 are needed.")


def usual_filters(size: int, *, detect: bool) -> Filters:
    """What is left out unless it is said otherwise.

    Ready faces are somebody's choice: none. Among faces that were found: those under a quarter of
    the data set's size, blurred ones and near-duplicates.
    """
    if not detect:
        return Filters()
    return Filters(min_size=max(16, size // 4), blur=BLUR, duplicates=DISTANCE)


@dataclass
class Report:
    """What a preparation did.

    Attributes:
        written: faces in the file.
        pictures: pictures that were looked at.
        found: faces found in them; with no finder, pictures that could be read.
        detected: whether faces were looked for.
        why: how that was decided, when the plan left it open; "" otherwise.
        dropped: ``(name, reason)`` of each picture and face that was left out.
        duplicates: ``(name, name of the one it is like)`` of the near-duplicates among them.
        not_in_csv: pictures left out because the CSV does not list them and no tagger was asked.
        smaller: faces that had to be enlarged to the size.
        upscaled: those of them that were enlarged by a network.
        tagged: faces whose tags the tagger gave, alone or with a sidecar.
        from_sidecars: faces whose tags stood beside the picture, at least in part.
        faulty: sidecars that could not be read, as ``(picture, why)``; the first hundred.
        not_in_source: files of the CSV that the source does not have.
        ignored: tags beyond the vocabulary, and how often they stood there or were seen.
        unknown: words that are no tag, and how often they stood there.
        slips: ``(word, count, tag)`` of unknown words that look like a tag misspelt.
        contradictions: group -> faces whose tags of that group were left out, being several.
        labelled: whether the file has labels.
        resumed: pictures that an earlier, unfinished run had already been through.
        seconds: wall time.
    """

    written: int = 0
    pictures: int = 0
    found: int = 0
    detected: bool = False
    why: str = ""
    dropped: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    not_in_csv: int = 0
    smaller: int = 0
    upscaled: int = 0
    tagged: int = 0
    from_sidecars: int = 0
    faulty: list[tuple[str, str]] = field(default_factory=list)
    not_in_source: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    slips: list[tuple[str, int, str]] = field(default_factory=list)
    contradictions: Counter[str] = field(default_factory=Counter)
    labelled: bool = False
    resumed: int = 0
    seconds: float = 0.0

    def reasons(self) -> list[tuple[str, int, str]]:
        """``(reason, count, an example's name)``, most frequent first.

        Reasons that differ only in figures or in what stands in brackets are one.
        """
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, reason in self.dropped:
            groups.setdefault(kind_of(reason), []).append((name, reason))
        table = [(same[0][1], len(same), same[0][0]) for same in groups.values()]
        return sorted(table, key=lambda row: -row[1])


def kind_of(reason: str) -> str:
    """A reason without what is peculiar to one face: figures, and what stands in brackets."""
    return " ".join(re.sub(r"\(.*\)|\d+", "", reason).split())
