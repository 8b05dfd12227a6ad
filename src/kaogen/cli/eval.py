"""``kaogen eval``: how real, varied, obedient and original a model's characters are."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaogen import __version__
from kaogen.errors import ConfigError

if TYPE_CHECKING:
    from kaogen.data.archives.archive import Archive
    from kaogen.metrics.evaluate import Evaluation
    from kaogen.metrics.features import Features
    from kaogen.metrics.judges import Judge


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file or id.")],
    *,
    data: Annotated[Path, typer.Option(help="The data set file that it was trained on.")],
    count: Annotated[int, typer.Option("-n", min=50, max=100_000, help="Characters.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the first; the others follow.")] = 0,
    psi: Annotated[
        float, typer.Option(min=0, max=1.5, help="Of realism, variety and originality.")
    ] = 1.0,
    features: Annotated[
        str | None,
        typer.Option(help="Networks that look: tagger, judge, efficientnet-lite0, inception."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="OTHER", help="A second model, side by side.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The report, a page of HTML.")] = Path(
        "report.html"
    ),
    figures: Annotated[
        Path | None, typer.Option("--json", help="All figures; by default beside the report.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Store each tag's obedience in MODEL's file.")
    ] = False,
) -> None:
    """Evaluate a model: realism, variety, obedience, originality, smoothness.

    The report names, for every figure, the network that judged, how many pictures it saw and what
    real faces reach. It shows training faces beside the pictures that come nearest to them. The
    same command gives the same figures, byte for byte.

    \b
    Example:
      kaogen eval faces64.kaogen --data faces.zip -n 2000 -o report.html
    """
    from kaogen.data.archives.archive import Archive
    from kaogen.metrics.evaluate import Plan, evaluate
    from kaogen.metrics.reals import Reals, rows_for
    from kaogen.metrics.report import write_report
    from kaogen.metrics.report_text import text
    from kaogen.studio.bundle import find_bundle
    from kaogen.studio.draw import open_model
    from kaogen.studio.subject import ModelSubject

    began = time.monotonic()
    plan = Plan(count=count, seed=seed, psi=round(psi, 2))  # as recipes have it
    place = _checked(out, figures)
    studios = [open_model(name) for name in (model, compare) if name is not None]
    with Archive.open(data) as archive:
        judges, others = networks(features, archive)
        subjects = [ModelSubject(s, rows_for(archive, s.bundle.vocabulary)) for s in studios]
        with _Progress() as tell:
            reals = Reals.read(archive, judges, others, tell)
            found = []
            for subject in subjects:
                tell.model = subject.name if len(subjects) > 1 else ""
                found.append(evaluate(subject, reals, judges, others, plan, tell))
        document = to_json(found, archive, judges, others)
        _write(place, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_report(out, found, subjects, reals, document)
    typer.echo(text(found))
    typer.echo(f"{out} and {place}", err=True)
    if write:
        typer.echo(_store(find_bundle(model), found[0]), err=True)
    typer.echo(f"{time.monotonic() - began:.0f} s", err=True)


def networks(names: str | None, archive: Archive) -> tuple[list[Judge], list[Features]]:
    """The judges (taggers), independent ones first, and the other networks, by their names.

    None takes the taggers that ship.
    """
    from kaogen.errors import ModelNotFoundError
    from kaogen.metrics.features import TaggerFeatures, open_features
    from kaogen.metrics.judges import Judge

    opened: list[Features] = []
    for name in dict.fromkeys(part.strip() for part in (names or "judge,tagger").split(",")):
        try:
            opened.append(open_features(name))
        except ModelNotFoundError:
            if names is not None:
                raise
    used = json.dumps((archive.provenance() or {}).get("tagger"))
    judges = [
        # The built-in tagger labels data; any other may have labelled this very file.
        Judge(net, independent=net.name != "tagger" and net.tagger.sha256 not in used)
        for net in opened
        if isinstance(net, TaggerFeatures)
    ]
    called = [net.name for net in opened]
    if len(set(called)) < len(called):
        raise ConfigError(
            f"two networks are called {max(called, key=called.count)}.",
            hint="Figures are told apart by these names: rename a file.",
        )
    if not judges:
        raise ConfigError(
            "obedience needs a tagger among the networks.", hint="Such as --features judge,tagger"
        )
    judges.sort(key=lambda judge: not judge.independent)
    return judges, [net for net in opened if not isinstance(net, TaggerFeatures)]


def to_json(
    evaluations: list[Evaluation],
    archive: Archive,
    judges: list[Judge],
    others: list[Features],
) -> dict[str, Any]:
    """Everything as plain JSON; nothing in it depends on when or where it was made."""
    return {
        "format": "kaogen-evaluation",
        "version": 1,
        "kaogen": __version__,
        "data": {"faces": len(archive), "fingerprint": archive.fingerprint},
        "networks": [
            *(
                {"name": j.name, "identity": j.features.identity, "independent": j.independent}
                for j in judges
            ),
            *({"name": f.name, "identity": f.identity, "independent": True} for f in others),
        ],
        "models": [evaluation.to_dict() for evaluation in evaluations],
    }


def _store(path: Path, evaluation: Evaluation) -> str:
    from kaogen.studio.rewrite import write_measured

    first = evaluation.obedience[0]
    measured = {
        t.tag: (round(t.asked.share, 4), round(t.unasked.share or 0.0, 4))
        for t in first.tags
        if t.asked.share is not None
    }
    manifest = write_measured(path, measured)
    by = first.judge if first.independent else f"{first.judge}, which is not independent"
    return f"{path}: {manifest.id} now holds the obedience of {len(measured)} tags, by {by}"


def _checked(out: Path, figures: Path | None) -> Path:
    """Where the figures go; refuses before minutes of work what could not be written after."""
    for path in (out, figures):
        if path is not None and path.is_dir():
            raise ConfigError(f"{path} is a folder.", hint="Name a file in it.")
    place = figures or out.with_suffix(".json")
    if place == out:
        raise ConfigError(f"{out} cannot be both the page and the figures.")
    for path in (out, place):
        path.parent.mkdir(parents=True, exist_ok=True)
    return place


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


class _Progress:
    """One bar per step on stderr, with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        from kaogen.cli.bars import Rate

        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        ]
        self.model = ""
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        name = f"{self.model}: {what}" if self.model else what
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)
