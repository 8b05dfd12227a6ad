"""`kaogen tagger train` as a function: labelled sets in, a tagger and its report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaogen.data.sources import open_source
from kaogen.errors import LabelError
from kaogen.nets.tagger import TaggerNet
from kaogen.training.tagger import Report, TaggerConfig, predict, train
from kaogen.training.tagger_data import EYES, HAIR, Labelled, count_tags, load, read_csv, read_faces
from kaogen.training.tagger_report import evaluate, matched_thresholds

HELD_OUT = 5  # one labelled face in so many is never trained on
SPLIT_SEED = 1
# Fewer examples than this are not worth an output.
MIN_LABELLED = 10
# "bangs" is marked only where it follows from "blunt bangs": nearly every face has some.
NEVER = frozenset({"bad", "bangs"})


@dataclass(frozen=True)
class Source:
    """A zip of faces and its CSV; `vouched` names the yes/no tags that the CSV can be believed
    on, None meaning all of them, missing ones included.
    """

    faces: Path
    labels: Path
    vouched: frozenset[str] | None


def check_names(source: Source) -> None:
    """LabelError when the CSV names a file that the zip does not hold."""
    held = set(open_source(source.faces).names)
    missing = sorted(set(read_csv(source.labels)) - held)
    if missing:
        raise LabelError(
            f"{source.labels} names {len(missing)} files that {source.faces} does not hold, "
            f"{missing[0]!r} first.",
            hint="Give the zip that the labels were made for.",
        )


def binary_tags(labels: Path) -> tuple[str, ...]:
    """Yes/no tags with examples enough, in the vocabulary's order."""
    counts = count_tags(labels)
    colours = {*HAIR, *EYES}
    return tuple(
        t for t, n in counts.items() if n >= MIN_LABELLED and t not in colours and t not in NEVER
    )


def subset(source: Labelled, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Labelled:
    """Some rows of a labelled set."""
    return Labelled(
        source.images[rows],
        source.hair[rows],
        source.eyes[rows],
        source.binary[rows],
        [source.names[i] for i in rows],
    )


def split(source: Labelled) -> tuple[Labelled, Labelled]:
    """(train, held out), the same at every call."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(source.names))
    count = len(order) // HELD_OUT
    return subset(source, np.sort(order[count:])), subset(source, np.sort(order[:count]))


def train_tagger(
    sources: list[Source], stages: list[dict[str, Any]], report: Report
) -> tuple[TaggerNet, dict[str, Any], TaggerConfig]:
    """Train in stages, choose thresholds on the unlabelled faces, evaluate on held-out ones.

    Args:
        sources: the first is the one labelled face by face.
        stages: changes to `TaggerConfig`, one dict per stage; each goes on from the one before.
        report: called as report(step, steps, loss, faces per second).

    """
    tags = binary_tags(sources[0].labels)
    config = TaggerConfig(binary_tags=tags)
    for source in sources:
        check_names(source)
    sets = [load(s.faces, s.labels, config.size, tags, s.vouched) for s in sources]
    if len(sets[0].names) < 10 * HELD_OUT:
        raise LabelError(f"{sources[0].labels} labels only {len(sets[0].names)} faces.")
    learn, test = split(sets[0])
    net: TaggerNet | None = None
    for changes in stages:
        config = TaggerConfig(binary_tags=tags, **changes)
        net = train([learn, *sets[1:]], config, report, net)
    assert net is not None
    names = list(open_source(sources[0].faces).names)
    unlabelled = predict(net, read_faces(sources[0].faces, names, config.size), flips=False)
    first = len(HAIR) + len(EYES)
    shares = np.nanmean(learn.binary, axis=0).astype(np.float32)
    thresholds = matched_thresholds(unlabelled[:, first:], shares)
    scores = predict(net, test.images, flips=False)
    return net, evaluate(scores, test, tags, thresholds), config


# What made the tagger that ships: all sources first, then more weight on the careful labels.
STAGES: list[dict[str, Any]] = [
    {"steps": 900},
    {"steps": 320, "lr": 1.5e-3, "weight_decay": 0.05, "mix": (0.65, 0.25, 0.1), "seed": 0},
]
