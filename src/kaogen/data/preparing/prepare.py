"""Pictures -> one data set file: looked at in shards, then judged as a whole, then written.

A picture that cannot be used never stops a run: it is left out with its reason, and counted. The
file's bytes depend on the pictures and the settings alone: not on workers, engines or how often
the run was interrupted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import PIL

from kaogen import __version__
from kaogen.data.archives.archive_writer import Item, write_archive
from kaogen.data.inputs.sources import Source, open_source
from kaogen.data.page.report import write_report
from kaogen.data.preparing.aside import Aside, check_place
from kaogen.data.preparing.engine import open_engine
from kaogen.data.preparing.filters import Filters, NsfwScorer
from kaogen.data.preparing.gallery import Gallery
from kaogen.data.preparing.looks import Job
from kaogen.data.preparing.pipeline import Progress, cut_into_shards, in_order, work_through
from kaogen.data.preparing.plan import Preparation, Report
from kaogen.data.preparing.ready import are_ready, open_for
from kaogen.data.preparing.shards import Work
from kaogen.data.preparing.survey import survey
from kaogen.data.tagging.labels import Labeller
from kaogen.data.tagging.tag_table import TagTable
from kaogen.data.tagging.taggers import AnyTagger, open_tagger
from kaogen.errors import DataError, LabelError
from kaogen.tags import Vocabulary

__all__ = ["Preparation", "Report", "prepare"]

Tags = tuple[str, ...]

# Changes whenever the same pictures and settings give other shards.
_CODE = 1


def prepare(plan: Preparation, progress: Progress | None = None) -> Report:
    """Write the data set file that ``plan`` describes.

    ``progress(what, done, total)`` is called as it goes. What is done stays in ``OUT.work`` until
    the file is there: the same call goes on where an earlier one was stopped.

    Raises:
        ConfigError: a value of the plan cannot be.
        DataError: the source, the CSV or the output cannot be used, or no face is left.
        ModelError: the tagger cannot be used.
        MissingExtraError: the plan needs a part that is not installed.
    """
    start = time.perf_counter()
    plan.check()
    if plan.rejected is not None:
        check_place(plan.rejected)
    run = _Run(plan, progress)
    run.look()
    run.survey()
    run.write()
    run.work.remove()
    run.report.seconds = time.perf_counter() - start
    return run.report


class _Run:
    """One preparation, step by step; each step leaves what the next one needs."""

    def __init__(self, plan: Preparation, progress: Progress | None) -> None:
        self.plan = plan
        self.progress: Progress = progress or (lambda what, done, total: None)
        self.report = Report()
        self.tagger: AnyTagger | None = None
        if plan.tagger is not None:
            self.tagger = open_tagger(
                plan.tagger, plan.vocabulary, combine=plan.combine, thresholds=plan.thresholds
            )
        self.vocabulary = plan.vocabulary or Vocabulary(self.tagger.names if self.tagger else ())
        self.table = _read_table(plan.tags, self.vocabulary)
        self.source = open_source(plan.source)
        self.listed = self.table.by_picture(self.source.names)
        self.report.dropped = list(self.source.refused)
        self.report.not_in_source = len(self.table.rows) - len(self.listed)
        self.names = _choose(plan, self.source.names, self.listed, self.report)
        self.report.pictures = len(self.names)
        self.report.detected, self.report.why = _detect(plan, self.source, self.names)
        self.filters = plan.chosen_filters(detect=self.report.detected)
        self.job = _job(plan, self.filters, detect=self.report.detected)
        self.finder = open_for(self.job.finder).describe() if self.job.finder else None
        self.networks = _networks(self.job)
        self.cut = cut_into_shards(self.names, plan.height, plan.width)
        self.made = self._made()
        self.work = Work(plan.out, self._key())

    def look(self) -> None:
        """Work through the pictures that no earlier run has been through."""
        plan = self.plan
        self.report.resumed = work_through(
            open_engine(plan.engine, workers=plan.workers, address=plan.address),
            self.job,
            self.source,
            self.cut,
            self.work,
            shared=plan.engine == "local",
            progress=self.progress,
        )

    def survey(self) -> None:
        """Find out what only the whole set can tell."""
        told_by_all = self.plan.tags is not None or self.tagger is not None
        # Its own table: words are counted once, when the labels are written.
        judge = self._labeller(TagTable(self.vocabulary), labelled=True)
        judge.table.beyond = self.table.beyond
        self.told = survey(
            in_order(self.work, len(self.cut), pictures=False),
            self.filters,
            lambda one: bool(self.filters.drop) and bool(judge.label(one).reason),
            need_words=not told_by_all,
            tags=lambda one: judge.label(one).tags or (),
            progress=lambda done, total: self.progress("comparing faces", done, total),
        )
        self.report.found = self.told.found
        self.report.faulty = self.told.faulty
        self.report.labelled = told_by_all or self.told.worded > 0

    def write(self) -> None:
        """Write the data set file, what is kept aside, and the page."""
        plan, report = self.plan, self.report
        gallery = Gallery(self.told)
        with ExitStack() as stack:
            aside = stack.enter_context(closing(Aside(plan.rejected))) if plan.rejected else None
            report.written = write_archive(
                plan.out,
                self._items(gallery, aside),
                self.vocabulary if report.labelled else None,
                {**self.made, "dropped": report.dropped},  # growing; written after the last face
                score_names=self.tagger.names if self.tagger is not None else None,
            )
            if aside is not None:
                aside.finish()
        report.ignored, report.unknown = self.table.ignored, self.table.unknown
        report.slips = self.table.slips()
        report.contradictions = self.table.contradictions
        if plan.report is not None:
            write_report(
                plan.report,
                archive=plan.out,
                report=report,
                rejected=gallery.rejected,
                pairs=gallery.pairs,
                twins=gallery.twins,
                sizes=gallery.sizes,
                facts=self._facts(),
            )

    def _items(self, gallery: Gallery, aside: Aside | None) -> Iterator[Item]:
        """Every face that is kept; what is left out is counted."""
        report, told = self.report, self.told
        labeller = self._labeller(self.table, labelled=report.labelled)
        number, kept_any = -1, False
        for one in in_order(self.work, len(self.cut), pictures=True):
            reason, tags = one.reason, None
            if not reason:
                number += 1
                self.progress("writing faces", number + 1, told.fine)
                gallery.fine(number, one)
                if number in told.like:
                    kept = told.names[told.like[number]]
                    reason = f"a near-duplicate ({kept})"
                    report.duplicates.append((one.name, kept))
                else:
                    labelled = labeller.label(one)
                    reason, tags = labelled.reason, labelled.tags
                    report.tagged += labelled.tagger and not reason
                    report.from_sidecars += labelled.sidecar and not reason
            if reason:
                report.dropped.append((one.name, reason))
                if aside is not None:
                    aside.add(one, reason)
                if number not in told.like or one.reason:
                    gallery.left_out(one, reason)
                continue
            report.smaller += one.enlarged
            report.upscaled += one.upscaled
            gallery.kept(one)
            assert one.png is not None
            yield Item(one.png, tags, None, one.name, one.sha256, one.scores, one.box)
            kept_any = True
        if not kept_any:
            self.work.remove()
            raise DataError("No picture could be used.", hint=_first_reason(report))

    def _labeller(self, table: TagTable, *, labelled: bool) -> Labeller:
        return Labeller(
            table, self.listed, self.tagger, self.plan.combine, self.filters, labelled=labelled
        )

    def _made(self) -> dict[str, Any]:
        """How the data set is made, for its provenance: nothing of this machine's paths."""
        job = asdict(self.job)
        del job["tagger"], job["vocabulary"], job["keep"]
        return {
            "source": self.source.describe(),
            "tags": _describe_file(self.plan.tags),
            "tagger": None if self.tagger is None else self.tagger.describe(),
            "finder": self.finder,
            **self.networks,
            "settings": {**job, "filters": asdict(self.filters)},
            "made_by": {"kaogen": __version__, "pillow": PIL.__version__},
        }

    def _key(self) -> dict[str, Any]:
        """All that decides what the shards hold."""
        names = hashlib.sha256("\n".join(self.names).encode()).hexdigest()
        job = {**asdict(self.job), "vocabulary": list(self.job.vocabulary or ())}
        tagger = None if self.tagger is None else self.tagger.describe()
        seen = [self.source.describe(), self.finder, tagger, self.made["made_by"]]
        seen += self.networks.values()
        return {"code": _CODE, "names": names, "job": job, "seen": seen}

    def _facts(self) -> list[tuple[str, str]]:
        """What the page tells of how the data set was made."""
        job, filters, report = self.job, self.filters, self.report
        chosen = {name: value for name, value in asdict(filters).items() if value}
        tagger = self.plan.tagger or "none"
        return [
            ("Pictures", f"{report.pictures:,} of {self.plan.source.name}"),
            ("Faces", f"found by {job.finder}, margin {job.margin:g}" if job.detect else "ready"),
            ("Size", f"{job.width} x {job.height} pixels"),
            ("Filters", ", ".join(f"{n} {v}" for n, v in chosen.items()) or "none"),
            ("Tagger", tagger if "/" not in tagger else Path(tagger).name),
            ("Sidecars", "read" if job.sidecars else "not read"),
        ]


def _read_table(path: Path | None, vocabulary: Vocabulary) -> TagTable:
    if path is None:
        return TagTable(vocabulary)
    if not path.is_file():
        raise LabelError(
            f"--tags {path}: there is no such file.",
            hint="It is a CSV with the header `file,tags`.",
        )
    return TagTable.read(path, vocabulary)


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


def _detect(plan: Preparation, source: Source, names: Sequence[str]) -> tuple[bool, str]:
    """Whether faces are looked for, and why, where the plan leaves it open."""
    if plan.detect is not None:
        return plan.detect, ""
    aspect = plan.width / plan.height
    here = plan.workers == 0
    ready, why = are_ready(source, names, aspect=aspect, finder=plan.finder, here=here)
    return not ready, why


def _job(plan: Preparation, filters: Filters, *, detect: bool) -> Job:
    return Job(
        height=plan.height,
        width=plan.width,
        finder=plan.finder if detect or filters.not_face is not None else None,
        detect=detect,
        margin=plan.margin,
        align=plan.align,
        faces=plan.faces,
        upscale=plan.upscale,
        tagger=plan.tagger,
        combine=plan.combine,
        vocabulary=None if plan.vocabulary is None else plan.vocabulary.names,
        # The CSV alone counts where it is all there is.
        sidecars=plan.sidecars and (plan.tags is None or plan.tagger is not None),
        # The others look at the whole set, or at tags: not in the workers.
        filters=replace(filters, duplicates=None, drop=""),
        keep=plan.rejected is not None,
    )


def _networks(job: Job) -> dict[str, Any]:
    """The optional networks that the job uses; opened here, so that what is missing is told first.

    They decide what a shard holds, so a data set tells of them and unfinished work keeps to them.
    """
    used: dict[str, Any] = {}
    if job.upscale:
        from kaogen.data.finding.upscale import Upscaler

        used["upscaler"] = Upscaler.open().describe()
    if job.filters.nsfw is not None:
        used["nsfw"] = NsfwScorer.open().describe()
    return used


def _describe_file(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _first_reason(report: Report) -> str:
    reasons = report.reasons()
    return (
        f"{reasons[0][1]:,} left out, such as {reasons[0][2]}: {reasons[0][0]}" if reasons else ""
    )
