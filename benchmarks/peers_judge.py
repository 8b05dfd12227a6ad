"""Judging what `peers.py` trained: distances, obedience, a table and a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from kaogen.data.archives.archive import Archive
from kaogen.metrics.cache import archive_features
from kaogen.metrics.distances import Estimate, halves, measure
from kaogen.metrics.features import Features
from kaogen.metrics.judges import Judge, Seen
from kaogen.metrics.obedience import Obedience, obedience
from kaogen.tags import Vocabulary
from kaogen.training.report import tile, to_uint8
from peers_methods import Trained, say

BATCH = 32
FEWEST = 50  # faces with a tag, below which nobody could learn it
FIGURES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
GRID = (8, 6)  # rows and columns of each method's panel


class TorchSubject:
    """A trained method as a `Subject` of the library's obedience; it knows no truncation."""

    psi = 1.0

    def __init__(self, trained: Trained, archive: Archive) -> None:
        assert archive.labels is not None
        assert archive.vocabulary is not None
        self.trained = trained
        self.name = trained.method.name
        self.resolution = archive.resolution[0]
        self.vocabulary: Vocabulary = archive.vocabulary
        self.real_rows = archive.labels > 0.5
        counts = self.real_rows.sum(axis=0)
        names = zip(archive.vocabulary.names, counts, strict=True)
        self.tags = tuple(name for name, count in names if count >= min(FEWEST, len(archive) / 20))

    def draw(self, rows: np.ndarray, seeds: Sequence[int], psi: float = 1.0) -> np.ndarray:
        """Label rows [n, L] and n seeds -> uint8 [n, H, W, 3]."""
        assert psi == 1.0
        size, parts = self.trained.z_dim, []
        z = np.stack([np.random.default_rng(s).standard_normal(size, np.float32) for s in seeds])
        with torch.inference_mode():
            for i in range(0, len(rows), BATCH):
                labels = torch.from_numpy(rows[i : i + BATCH].astype(np.float32))
                parts.append(
                    to_uint8(self.trained.generator(torch.from_numpy(z[i : i + BATCH]), labels))
                )
        return np.concatenate(parts)

    def interpolate(self, *_: Any) -> np.ndarray:
        raise NotImplementedError("smoothness is not compared")


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        count: pictures of each method, and real faces that they were compared with.
        distances: features -> "real" (other real faces) or a method's name -> figures.
        obedience: method -> result.
        notes: features -> what to know of them.

    """

    count: int
    distances: dict[str, dict[str, dict[str, Estimate]]]
    obedience: dict[str, Obedience]
    notes: dict[str, str]


def compare(
    trained: Sequence[Trained],
    archive: Archive,
    networks: Sequence[Features],
    judge: Judge,
    *,
    count: int,
    each: int,
    rounds: int,
    seed: int,
) -> Comparison:
    """Judge all methods on the same label rows and seeds, against the same real faces."""
    one, other = halves(len(archive), count, seed)
    count = len(one)
    subjects = [TorchSubject(t, archive) for t in trained]
    # The rows asked for are those of the other half: what a perfect model would be drawn with.
    asked = subjects[0].real_rows[other].astype(np.float32)
    distances = {}
    drawn = {s.name: s.draw(asked, range(seed, seed + count)) for s in subjects}
    for network in networks:
        say(f"judging    {count:,} pictures each by {network.name}")
        real = archive_features(archive, network, one)
        sets = {"real": archive_features(archive, network, other)}
        sets |= {name: network(images) for name, images in drawn.items()}
        distances[network.name] = {
            name: measure(real, rows, rounds=rounds, seed=seed) for name, rows in sets.items()
        }
    obeyed = {}
    seen = Seen(*judge(np.stack([archive.image(int(i)) for i in one])))
    for subject in subjects:
        say(f"judging    obedience of {subject.name} by {judge.name}")
        subject.real_rows = subject.real_rows[one]
        results, _ = obedience(
            subject, [judge], [seen], each=each, seed=seed, psi=1.0, tell=lambda *_: None
        )
        obeyed[subject.name] = results[0]
    return Comparison(count, distances, obeyed, {n.name: n.note for n in networks})


def table(trained: Sequence[Trained], found: Comparison, minutes: float) -> str:
    """The result as Markdown."""
    threads = trained[0].state["asked"]["threads"]
    lines = [
        f"Trained for {minutes:g} minutes each on {threads} CPU threads, on the same faces, "
        "from the beginning.",
        "",
        "| method | images seen | images/s | activations | G, D parameters |",
        "|---|---:|---:|---|---:|",
    ]
    for t in trained:
        sizes = " / ".join(f"{t.state['parameters'][k] / 1e6:.1f} M" for k in ("g", "d"))
        lines.append(
            f"| {t.method.name} | {t.state['seen']:,} | {t.state['rate']:.0f} | "
            f"{t.state['precision']} | {sizes} |"
        )
    lines += ["", *(f"- {t.method.name}: {t.method.what}" for t in trained)]
    for name, rows in found.distances.items():
        lines += ["", f"**{name}**, {found.count:,} pictures against as many real faces"]
        lines += [found.notes[name]] if found.notes[name] else []
        note = rows["real"]["frechet"].note
        lines += [f"Note: {note}"] if note else []
        lines += [
            "",
            f"| | {' | '.join(FIGURES[:1])} | kernel x 1000 | {' | '.join(FIGURES[2:])} |",
        ]
        lines.append("|---|" + "---:|" * len(FIGURES))
        lines += [f"| {method} | {figures(each)} |" for method, each in rows.items()]
    lines += obedience_lines(found)
    return "\n".join(lines) + "\n"


def figures(each: dict[str, Estimate]) -> str:
    """The cells of one row, with 95% intervals."""

    def cell(name: str) -> str:
        scale = 1000.0 if name == "kernel" else 1.0
        value, low, high = (scale * v for v in (each[name].value, each[name].low, each[name].high))
        digits = 3 if name in FIGURES[2:] else 2
        return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    return " | ".join(cell(name) for name in FIGURES)


def obedience_lines(found: Comparison) -> list[str]:
    """Means over tags of the shares that show what was asked for."""
    first = next(iter(found.obedience.values()))
    lines = [
        "",
        f"**Obedience** by {first.judge}, mean over {len(first.tags)} tags",
        "",
        "| | shown when asked | shown unasked | appears when switched on | tags as asked |",
        "|---|---:|---:|---:|---:|",
        f"| real faces | {first.ceiling:.1%} | {mean(first, 'real_unasked')} | | "
        f"{first.real_row:.1%} |",
    ]
    for name, each in found.obedience.items():
        lines.append(
            f"| {name} | {each.mean:.1%} | {mean(each, 'unasked')} | {mean(each, 'appears')} | "
            f"{each.row:.1%} |"
        )
    return lines


def mean(result: Obedience, field: str) -> str:
    shares = [getattr(tag, field).share for tag in result.tags]
    known = [share for share in shares if share is not None]
    return f"{np.mean(known):.1%}" if known else ""


def report(trained: Sequence[Trained], found: Comparison) -> dict[str, Any]:
    """The result as JSON."""
    return {
        "format": "kaogen-peers",
        "version": 1,
        "count": found.count,
        "methods": [t.state for t in trained],
        "distances": {
            features: {
                method: {name: estimate.to_dict() for name, estimate in each.items()}
                for method, each in rows.items()
            }
            for features, rows in found.distances.items()
        },
        "obedience": {name: each.to_dict() for name, each in found.obedience.items()},
    }


def grid(trained: Sequence[Trained], archive: Archive, seed: int, gap: int = 8) -> Image.Image:
    """One panel per method, side by side: the same place has the same seed and labels."""
    assert archive.labels is not None
    rows, columns = GRID
    picked = np.random.default_rng([seed, 1]).integers(0, len(archive), rows * columns)
    labels = (archive.labels[picked] > 0.5).astype(np.float32)
    seeds = range(seed, seed + len(picked))
    panels = [tile(TorchSubject(t, archive).draw(labels, seeds), columns) for t in trained]
    head, width = 16, panels[0].width
    size = ((width + gap) * len(panels) - gap, panels[0].height + head)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for i, (panel, t) in enumerate(zip(panels, trained, strict=True)):
        sheet.paste(panel, (i * (width + gap), head))
        pen.text(
            (i * (width + gap) + 2, 2), f"{t.method.name}: {t.state['seen']:,} images", "black"
        )
    return sheet
