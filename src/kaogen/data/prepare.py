"""Ready faces and their tags -> one data set file.

A picture that cannot be read never stops a run: it is left out with its reason, and counted.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaogen.data.archive_writer import Item, write_archive
from kaogen.data.looks import Job, Look, look_in_order
from kaogen.data.sources import open_source
from kaogen.data.tag_table import TagTable
from kaogen.data.taggers import Tagger
from kaogen.errors import ConfigError, DataError
from kaogen.tags import PAPER, Vocabulary

Progress = Callable[[int, int], None]
Tags = tuple[str, ...]

# Fixed, never derived from the number of workers: a tagger's batches must not depend on it.
_CHUNK = 64


@dataclass(frozen=True)
class Preparation:
    """What to prepare.

    Attributes:
        source: folder or zip of ready faces.
        out: the data set file to write.
        size: edge of the faces in pixels, a power of two, 8 to 1024.
        tags: CSV ``file,tags``; what it says of a face counts before any tagger.
        tagger: "builtin" or the path of a tagger's ``.onnx``, for the faces that the CSV does not
            list; None leaves those out, or, where there is no CSV either, makes a data set
            without labels.
        limit: look at the first so many pictures only, by name.
        workers: processes; None for one per CPU.
        vocabulary: the tags that become labels.
    """

    source: Path
    out: Path
    size: int = 64
    tags: Path | None = None
    tagger: str | None = None
    limit: int | None = None
    workers: int | None = None
    vocabulary: Vocabulary = PAPER

    def check(self) -> None:
        """ConfigError for values that cannot be."""
        if self.size not in {2**power for power in range(3, 11)}:
            raise ConfigError(f"--size {self.size} is no power of two from 8 to 1024.")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit {self.limit} is not at least 1.")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers {self.workers} is not at least 1.")


@dataclass
class Report:
    """What a preparation did.

    Attributes:
        written: faces in the file.
        dropped: ``(name, reason)`` of each one that could not be used.
        not_in_csv: pictures left out because the CSV does not list them and no tagger was asked.
        smaller: faces that had to be enlarged to the size.
        tagged: faces whose tags came from the tagger.
        not_in_source: files of the CSV that the source does not have.
        ignored: tags beyond the vocabulary, and how often they stood in the CSV or were seen.
        contradictions: group -> faces whose tags of that group were left out, being several.
        seconds: wall time.
    """

    written: int = 0
    dropped: list[tuple[str, str]] = field(default_factory=list)
    not_in_csv: int = 0
    smaller: int = 0
    tagged: int = 0
    not_in_source: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    contradictions: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def reasons(self) -> list[tuple[str, int, str]]:
        """``(reason, count, an example's name)``, most frequent first.

        Reasons that differ only in figures or in what stands in brackets are one.
        """
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, reason in self.dropped:
            groups.setdefault(re.sub(r"\(.*\)|\d+", "", reason), []).append((name, reason))
        table = [(same[0][1], len(same), same[0][0]) for same in groups.values()]
        return sorted(table, key=lambda row: -row[1])


def prepare(plan: Preparation, progress: Progress | None = None) -> Report:
    """Write the data set file that ``plan`` describes; ``progress(done, total)`` as it goes.

    Raises:
        ConfigError: a value of the plan cannot be.
        DataError: the source, the CSV or the output cannot be used, or no face is left.
        UnknownTagError: the CSV has a word that is no tag.
        ModelError: the tagger cannot be used.
    """
    plan.check()
    start = time.perf_counter()
    table = TagTable(plan.vocabulary)
    if plan.tags is not None:
        table = TagTable.read(plan.tags, plan.vocabulary)
    tagger = Tagger.load(plan.tagger) if plan.tagger is not None else None
    source = open_source(plan.source)
    listed = table.by_picture(source.names)
    report = Report(
        dropped=list(source.refused),
        not_in_source=len(table.rows) - len(listed),
        ignored=table.ignored,
        contradictions=table.contradictions,
    )
    names = _choose(plan, source.names, listed, report)
    looks = _look_at(plan, names, listed, progress)
    provenance: dict[str, Any] = {
        "source": source.describe(),
        "tags": _describe_file(plan.tags),
        "tagger": tagger.describe() if tagger is not None else None,
        "dropped": report.dropped,  # still growing; written after the last face
    }
    labels = plan.vocabulary if plan.tags is not None or tagger is not None else None
    items = _items(looks, listed if labels is not None else None, table, report)
    report.written = write_archive(plan.out, items, labels, provenance)
    report.seconds = time.perf_counter() - start
    return report


def _choose(
    plan: Preparation, names: Sequence[str], listed: Mapping[str, Tags], report: Report
) -> list[str]:
    """The pictures to look at; the others are counted in ``report``."""
    chosen = list(names)
    if plan.tags is not None and plan.tagger is None:
        chosen = [name for name in names if name in listed]
        report.not_in_csv = len(names) - len(chosen)
    if not names:
        raise DataError(f"{plan.source} has no pictures.", hint=_first_reason(report))
    if not chosen:
        raise DataError(f"{plan.tags} lists none of the {len(names):,} pictures in {plan.source}.")
    return chosen[: plan.limit]


def _look_at(
    plan: Preparation, names: Sequence[str], listed: Mapping[str, Tags], progress: Progress | None
) -> Iterator[Look]:
    job = Job(plan.source, plan.size, plan.tagger)
    asked = [(name, plan.tagger is not None and name not in listed) for name in names]
    chunks = [tuple(asked[i : i + _CHUNK]) for i in range(0, len(asked), _CHUNK)]
    done = 0
    for looks in look_in_order(job, chunks, plan.workers or _cpus()):
        yield from looks
        done += len(looks)
        if progress is not None:
            progress(done, len(names))


def _items(
    looks: Iterable[Look],
    listed: Mapping[str, Tags] | None,
    table: TagTable,
    report: Report,
) -> Iterator[Item]:
    """Keep what could be read; count the rest in ``report``."""
    kept = 0
    for look in looks:
        if look.reason:
            report.dropped.append((look.name, look.reason))
            continue
        tags = None if listed is None else listed.get(look.name)
        if look.tags is not None:
            tags = table.clean(look.tags, imply=False)
            report.tagged += 1
        report.smaller += look.enlarged
        yield Item(look.png, tags, source=look.name, sha256=look.sha256)
        kept += 1
    if not kept:
        raise DataError("No picture could be used.", hint=_first_reason(report))


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _describe_file(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _first_reason(report: Report) -> str:
    reasons = report.reasons()
    return (
        f"{reasons[0][1]:,} left out, such as {reasons[0][2]}: {reasons[0][0]}" if reasons else ""
    )
