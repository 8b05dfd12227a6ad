"""One page that shows a data set: ``report.html``, self-contained, for any data set file.

What a preparation knows beyond the file (what it left out, how faces were cut) may be given too;
a part of the page without data is left out. The page runs no scripts and fetches nothing; its words
come from strangers' files and are escaped (see :mod:`kaogen.data.page.report_html`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kaogen import __version__
from kaogen.data.archives.archive import Archive
from kaogen.data.page.report_html import Html, h, navigation, page, percent
from kaogen.data.page.report_parts import (
    Rejected,
    Summary,
    Twin,
    facts_section,
    left_out_section,
    margins_section,
    sizes_section,
    twins_section,
)
from kaogen.data.page.report_pictures import Pixels, rgb, sheet
from kaogen.data.page.report_tags import (
    Face,
    Tags,
    scores_section,
    sheets_section,
    spread,
    tag_section,
    together_section,
)
from kaogen.errors import DataError

__all__ = ["Rejected", "Summary", "Twin", "write_report"]

_OVERVIEW = 24
_OVERVIEW_COLUMNS = 6
# Entries of the provenance that tell of files, and what the page calls them.
_FILES = {
    "source": "Source",
    "tags": "Tag table",
    "tagger": "Tagger's file",
    "finder": "Finder",
}


def write_report(
    path: str | os.PathLike[str],
    *,
    archive: Archive | str | os.PathLike[str],
    report: Summary | None = None,
    rejected: Sequence[Rejected] = (),
    pairs: Sequence[tuple[bytes, bytes]] = (),
    twins: Sequence[Twin] = (),
    sizes: Sequence[int] = (),
    facts: Sequence[tuple[str, str]] = (),
    title: str = "",
) -> int:
    """Write the page and return its size in bytes; it appears whole or not at all.

    The same data gives the same bytes. Of what is given, the first few of each kind are shown; up
    to 12 rejected ones per reason, 12 pairs and 24 twins need be given.

    Args:
        path: the HTML file to write.
        archive: the data set file.
        report: figures of the preparation, or None.
        rejected: a few of what was left out, near-duplicates excepted.
        pairs: ``(tight crop, crop with margin)`` of a few faces, as PNG files' bytes.
        twins: a few near-duplicates.
        sizes: shorter edge of each face in its picture's pixels; by default from the boxes that
            the data set file tells.
        facts: ``(name, value)`` of how it was made: the command, the finder, the filters.
        title: the heading; by default the file's name.

    Raises:
        ArchiveError: the data set file cannot be read.
        DataError: the page cannot be written.
    """
    opened = archive if isinstance(archive, Archive) else Archive.open(archive)
    tags = _tags(opened)
    scored = opened.scores()

    def face(index: int) -> Pixels:
        return rgb(opened.image(index))

    parts = [
        left_out_section(report, rejected) if report is not None else None,
        margins_section(pairs),
        tag_section(tags) if tags is not None else None,
        sheets_section(tags, face) if tags is not None else None,
        scores_section(*scored, tags, face) if scored is not None else None,
        together_section(tags) if tags is not None else None,
        sizes_section(sizes or _edges(opened.provenance() or {}), min(opened.resolution)),
        twins_section(twins),
        facts_section([*facts, *_told(opened)]),
    ]
    shown = [part for part in parts if part is not None]
    name = title or opened.path.name
    body = (
        h("header", h("div", _hero(opened, name, tags, report, face), class_="wrap")),
        navigation(shown),
        h("main", *(part.html for part in shown), class_="wrap"),
        h("footer", h("div", f"Made by kaogen {__version__}.", class_="wrap")),
    )
    return _write(Path(path), page(f"{name} · kaogen data set", *body))


def _tags(archive: Archive) -> Tags | None:
    if archive.labels is None:
        return None
    vocabulary = archive.vocabulary
    width = archive.labels.shape[1]
    names = (
        vocabulary.names if vocabulary is not None else tuple(f"class {i}" for i in range(width))
    )
    return Tags(names, archive.labels >= 0.5, vocabulary)


def _hero(
    archive: Archive, name: str, tags: Tags | None, report: Summary | None, face: Face
) -> Html:
    height, width = archive.resolution
    words = f"{len(tags.names):,} tags" if tags is not None else "no labels"
    lead = f"{len(archive):,} faces of {width} × {height} pixels, {words}."
    tiles = [
        ("faces", f"{len(archive):,}"),
        ("file size", _bytes(archive.path.stat().st_size)),
    ]
    if tags is not None:
        tiles.append(("tags on a face", f"{tags.shown.sum(axis=1).mean():.1f}"))
        tiles.append(("tags used", f"{int((tags.counts > 0).sum()):,} of {len(tags.names):,}"))
    if report is not None:
        out = sum(count for _, count, _ in report.reasons())
        tiles.append(("left out", percent(out / max(1, out + report.written))))
    if len(tiles) == 5:
        tiles.insert(1, ("pixels", f"{width} × {height}"))
    told = [h("div", h("dt", label), h("dd", value)) for label, value in tiles]
    chosen = spread(np.arange(len(archive)), _OVERVIEW)
    faces = [face(int(k)) for k in chosen]
    columns = min(_OVERVIEW_COLUMNS, len(faces))
    picture = sheet(faces, columns, f"{len(faces)} faces from all over the data set", 96)
    return h(
        "div",
        h(
            "div",
            h("p", "kaogen data set", class_="eyebrow"),
            h("h1", name),
            h("p", lead, class_="lead"),
            h("dl", *told, class_="tiles", style=f"--columns:{3 if len(told) % 3 == 0 else 2}"),
        ),
        picture,
        class_="hero",
    )


def _edges(provenance: Mapping[str, Any]) -> list[int]:
    """Shorter edges of the faces' boxes, where the data set file tells them."""
    files = provenance.get("files")
    found = []
    for row in files if isinstance(files, list) else ():
        try:
            left, top, right, bottom = (float(value) for value in row[3])
            found.append(max(1, int(min(right - left, bottom - top))))
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            continue
    return found


def _told(archive: Archive) -> list[tuple[str, str]]:
    """What the data set file says of itself."""
    provenance = archive.provenance() or {}
    rows = []
    for key, name in _FILES.items():
        told = provenance.get(key)
        if isinstance(told, Mapping):
            words = {k: str(v) for k, v in told.items() if isinstance(v, str | int | float)}
            first = words.pop("name", None) or words.pop("finder", "")
            rows.append((name, ", ".join([first, *map(" ".join, words.items())])))
    return [*rows, ("Fingerprint", archive.fingerprint)]


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size / 1e3:,.0f} kB"


def _write(path: Path, text: str) -> int:
    data = text.encode()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error}).") from error
    return len(data)
