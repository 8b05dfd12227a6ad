"""The numbers of a data set, as the terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from kaogen.data.archives.set_stats import Pair, Stats

_BAR = 24


def show_stats(name: str, stats: Stats) -> None:
    """Print a data set's numbers: a few lines, then its tags with bars, then pairs of tags."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    grey = {1: "grey", 3: "RGB", 4: "RGBA"}[stats.channels]
    console.print(
        f"{name}: {stats.images:,} faces of {stats.width} x {stats.height} {grey}, "
        f"{stats.file_bytes / 1e6:,.1f} MB ({stats.file_bytes / stats.images / 1e3:,.1f} kB each)"
    )
    if stats.pictures:
        most = f", at most {stats.most_of_one} of one" if stats.most_of_one > 1 else ""
        console.print(f"from {stats.pictures:,} source pictures{most}")
    if not stats.labelled:
        console.print("no labels")
        return
    what = "tags" if stats.named else "label columns without names"
    console.print(
        f"{stats.label_width} {what}, {stats.tags_per_face:.1f} a face, "
        f"{stats.combinations:,} different rows; {stats.untagged:,} faces with none"
    )
    if stats.scores:
        console.print(f"scores of a tagger for {stats.scores} tags")
    console.print()
    console.print(_tags(stats))
    never = [tag for tag, count in stats.tags.items() if count == 0]
    if never:
        console.print(f"never: {', '.join(never)}")
    for title, pairs in (("often together", stats.together), ("seldom together", stats.apart)):
        if pairs:
            console.print()
            console.print(_pairs(title, pairs))


def _tags(stats: Stats) -> Table:
    table = _table("tag", "faces", "share", "")
    most = max(stats.tags.values(), default=1) or 1
    for tag, count in sorted(stats.tags.items(), key=lambda row: (-row[1], row[0])):
        if count:
            length = "█" * max(1, round(_BAR * count / most))
            table.add_row(tag, f"{count:,}", f"{count / stats.images:.1%}", length)
    return table


def _pairs(title: str, pairs: Sequence[Pair]) -> Table:
    table = _table(title, "faces", "of the first", "chance x")
    for pair in pairs:
        words = f"{pair.first} + {pair.second}"
        table.add_row(words, f"{pair.faces:,}", f"{pair.share:.0%}", f"{pair.lift:.2g}")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right" if name else "left")
    return table
