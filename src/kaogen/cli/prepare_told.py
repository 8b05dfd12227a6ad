"""What ``kaogen prepare`` says: at first, while it works, and in the end."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from kaogen.cli.bars import Rate
from kaogen.data.finding.crops import MARGIN
from kaogen.data.preparing.plan import WORDS_ALONE, Preparation, Report

_MOST_REASONS = 12
_MOST_WORDS = 8
# The filters that are on by themselves, and how they are turned off.
_HOW_TO_KEEP = (
    ("a near-duplicate", "; --duplicates -1 keeps them"),
    ("blurred", "; --blur 0 keeps them"),
    ("smaller than", "; --min-face 0 keeps them"),
    (WORDS_ALONE, "; --tagger builtin tags them"),
)


class Bars:
    """A bar for each step, with rate and time left, on stderr so that what is told can be piped.

    They appear with the first figures: what fails at once is one line and no bar.
    """

    def __init__(self, plan: Preparation) -> None:
        self._plan = plan
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(fine=True),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            speed_estimate_period=120,  # a shard's pictures come all at once
        )
        self._tasks: dict[str, TaskID] = {}

    def update(self, what: str, done: int, total: int) -> None:
        """So many of so many are done."""
        if what not in self._tasks:
            if done and not self._tasks:
                self._console.print(f"Going on where it was stopped: {done:,} are done.")
            self._tasks[what] = self._progress.add_task(what, total=total, completed=done)
            self._progress.start()
        self._progress.update(self._tasks[what], completed=done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress.live.is_started:
            self._progress.stop()
            if kind is KeyboardInterrupt:
                self._console.print("Stopped. The same command goes on from here.")


def hello(plan: Preparation) -> None:
    """Nothing that takes long should begin in silence."""
    Console(stderr=True).print(f"Reading {escape(str(plan.source))} ...", highlight=False)


def tell(plan: Preparation, report: Report) -> None:
    """The end: what was found and kept, what was left out and why, and what comes next."""
    out = plan.out
    labels = "no labels"
    if report.labelled:
        labels = "all tags" if plan.vocabulary is None else f"{len(plan.vocabulary)} tags"
    rate = (report.pictures - report.resumed) / max(report.seconds, 1e-9)
    lines = [
        f"{out}: {report.written:,} faces of {plan.width} x {plan.height}, {labels}, "
        f"{_weight(out.stat().st_size)}, in {_span(report.seconds)} ({rate:,.1f} pictures/s)",
        _how(plan, report),
        *_idle(plan, report),
    ]
    if report.resumed:
        lines.append(f"of them done by an earlier run: {report.resumed:,} pictures")
    lines += [*_left_out(plan, report), *_tagging(plan, report)]
    if report.upscaled:
        lines.append(f"enlarged by Real-ESRGAN: {report.upscaled:,}")
    elif report.smaller:
        lines.append(
            f"enlarged, being smaller than {plan.width} x {plan.height} pixels: {report.smaller:,}"
        )
    lines += ["", *_next(plan, report)]
    Console(highlight=False, soft_wrap=True).print(escape("\n".join(lines)))


def _how(plan: Preparation, report: Report) -> str:
    if report.detected:
        why = f" ({report.why}; --no-detect takes them as they are)" if report.why else ""
        return (
            f"faces found by {plan.finder}: {report.found:,} in {report.pictures:,} pictures{why}"
        )
    why = f" ({report.why}; --detect looks for faces in them)" if report.why else ""
    return f"taken as ready faces: {report.pictures:,} pictures{why}"


def _idle(plan: Preparation, report: Report) -> list[str]:
    """Options that say something of faces to be found, where none were looked for."""
    given = {
        "--margin": plan.margin != MARGIN,
        "--align": plan.align,
        "--faces": plan.faces != 0,
    }
    idle = [] if report.detected else [option for option, said in given.items() if said]
    return [f"not used, since no faces were looked for: {', '.join(idle)}"] if idle else []


def _left_out(plan: Preparation, report: Report) -> list[str]:
    lines = []
    reasons = report.reasons()
    for reason, count, example in reasons[:_MOST_REASONS]:
        line = f"left out: {count:,}, such as {example}: {reason}"
        lines.append(
            line + next((how for word, how in _HOW_TO_KEEP if reason.startswith(word)), "")
        )
    rest = sum(count for _, count, _ in reasons[_MOST_REASONS:])
    if rest:
        lines.append(f"left out for other reasons: {rest:,}")
    if report.not_in_csv:
        lines.append(f"not in the CSV, so left out: {report.not_in_csv:,} (--tagger tags those)")
    if report.not_in_source:
        lines.append(f"in the CSV but not in {plan.source}: {report.not_in_source:,}")
    return lines


def _tagging(plan: Preparation, report: Report) -> list[str]:
    lines = []
    if report.from_sidecars:
        lines.append(f"tags from files beside the pictures: {report.from_sidecars:,} faces")
    if report.tagged:
        lines.append(f"tagged by {plan.tagger}: {report.tagged:,}")
    if report.faulty:
        name, why = report.faulty[0]
        lines.append(
            f"tag files that cannot be read: {len(report.faulty):,}, such as {name}: {why}"
        )
    if report.slips:
        slips = ", ".join(f"{word} ({tag}?) {n:,}" for word, n, tag in report.slips[:_MOST_WORDS])
        lines.append(f"perhaps misspelt, so not counted: {slips}")
    slipped = {word for word, _, _ in report.slips}
    unknown = Counter({w: n for w, n in report.unknown.items() if w not in slipped})
    if unknown:
        lines.append(f"words that are no tags here: {_counts(unknown)}")
    if report.ignored:
        lines.append(f"ignored tags beyond the vocabulary: {_counts(report.ignored)}")
    if report.contradictions:
        lines.append(f"contradicting tags left out: {_counts(report.contradictions)}")
    return lines


def _next(plan: Preparation, report: Report) -> list[str]:
    lines = []
    if plan.report is not None:
        lines.append(f"Look at it:    {plan.report}")
    if plan.rejected is not None and report.dropped:
        lines.append(f"Left out:      {plan.rejected}/")
    presets = {64: "tiny64", 128: "base128", 256: "paper256", 512: "paper512", 1024: "paper1024"}
    preset = presets.get(plan.width) if plan.width == plan.height else None
    if preset is not None:
        lines.append(
            f"Train on it:   kaogen train {plan.out} --preset {preset} --out runs/{plan.out.stem}"
        )
    return lines


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _weight(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _counts(counter: Counter[str]) -> str:
    ordered = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{name} {count:,}" for name, count in ordered[:_MOST_WORDS])
    more = len(ordered) - _MOST_WORDS
    return f"{shown} and {more:,} more" if more > 0 else shown
