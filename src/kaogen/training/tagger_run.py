"""`kaogen tagger train` as a function: labelled sets in, a tagger and its report out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from kaogen.data.inputs.sources import open_source
from kaogen.errors import LabelError
from kaogen.training.tagger import (
    Report,
    TaggerConfig,
    TaggerNetwork,
    TwoTaggers,
    make_network,
    positive_weight,
    predict,
    take_weight_back,
    train,
)
from kaogen.training.tagger_data import (
    EYES,
    HAIR,
    Faces,
    Labelled,
    count_tags,
    hard_targets,
    load,
    read_csv,
    read_faces,
)
from kaogen.training.tagger_recipes import Recipe
from kaogen.training.tagger_report import evaluate, matched_thresholds

Stage = Callable[[str, int, int, float, float], None]

HELD_OUT = 5  # one labelled face in so many is never trained on
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


def split(source: Labelled, seed: int = 1) -> tuple[Labelled, Labelled]:
    """(train, held out), the same at every call."""
    order = np.random.default_rng(seed).permutation(len(source.names))
    count = len(order) // HELD_OUT
    return subset(source, np.sort(order[count:])), subset(source, np.sort(order[:count]))


def train_tagger(
    sources: list[Source],
    recipe: Recipe,
    report: Stage,
    work: Path | None = None,
    unlabelled: Sequence[Path] = (),
) -> tuple[TaggerNetwork | TwoTaggers, dict[str, Any]]:
    """Train by a recipe, choose thresholds on the unlabelled faces, evaluate on held-out ones.

    Args:
        sources: the first is the one labelled face by face.
        recipe: teachers and stages.
        report: called as report(stage's name, step, steps, loss, faces per second).
        work: folder that keeps each finished stage, so that a killed training goes on after it.
        unlabelled: more zips of faces for the teachers to label.

    """
    tags = binary_tags(sources[0].labels)
    for source in sources:
        check_names(source)
    shelf = Shelf(work)
    sets, test = read_sets(sources, recipe.size, tags, recipe.split_seed)
    # Not even without their labels: what is measured on must be new.
    pictures = Pictures([sources[0].faces, *unlabelled], frozenset(test.names))
    net: TaggerNetwork | None = None
    for i, config in enumerate(recipe.stages):
        learn = sets
        if config.soft_share:
            assert net is not None, "the first stage has no colours of its own yet"
            opinion = _opinion(shelf, recipe, sources, pictures, report, net)
            learn = [*sets, Faces(pictures.read(config.size), opinion, weighted=False)]
            shares = (*((1 - config.soft_share) * s for s in config.mix[: len(sources)]),)
            config = replace(config, mix=(*shares, config.soft_share))  # noqa: PLW2901
        tell = partial(report, f"stage {i + 1}")
        net = shelf.network(f"stage{i}", config, tags, net, learn, tell)
    assert net is not None
    take_weight_back(net, positive_weight(sets[0]))
    if recipe.colours is not None:
        tell = partial(report, "colours")
        colours = shelf.network("colours", recipe.colours, tags, None, sets, tell)
        pair = TwoTaggers(colours, net)
        return pair, _evaluate(pair, sources[0], sets[0], test, tags)
    return net, _evaluate(net, sources[0], sets[0], test, tags)


def read_sets(
    sources: list[Source], size: int, tags: tuple[str, ...], split_seed: int
) -> tuple[list[Faces], Labelled]:
    """(what is trained on, the held-out faces of the first source)."""
    sets = [load(s.faces, s.labels, size, tags, s.vouched) for s in sources]
    if len(sets[0].names) < 10 * HELD_OUT:
        raise LabelError(f"{sources[0].labels} labels only {len(sets[0].names)} faces.")
    learn, test = split(sets[0], split_seed)
    return [hard_targets(s) for s in [learn, *sets[1:]]], test


@dataclass(frozen=True)
class Pictures:
    """All faces of some zips, in a fixed order, but for those of the first that are left out."""

    zips: list[Path]
    left_out: frozenset[str] = frozenset()

    def read(self, size: int) -> NDArray[np.uint8]:
        """[N, size, size, 3]."""
        parts = []
        for i, path in enumerate(self.zips):
            names = [n for n in open_source(path).names if i or n not in self.left_out]
            parts.append(read_faces(path, names, size))
        return np.concatenate(parts)


def _opinion(
    shelf: Shelf,
    recipe: Recipe,
    sources: list[Source],
    pictures: Pictures,
    report: Stage,
    student: TaggerNetwork,
) -> NDArray[np.float32]:
    """Scores [N, outputs] of the pictures, each seen with its mirror image.

    Yes/no tags are the teachers' mean, colours the student's own.
    """
    tags = binary_tags(sources[0].labels)
    colours = len(HAIR) + len(EYES)
    scores = []
    for i, config in enumerate(recipe.teachers):
        name = f"teacher{i}"

        def ask(config: TaggerConfig = config, name: str = name) -> NDArray[np.float32]:
            sets, _ = read_sets(sources, config.size, tags, recipe.split_seed)
            tell = partial(report, name.replace("teacher", "teacher "))
            net = shelf.network(name, config, tags, None, sets, tell)
            return predict(net, pictures.read(config.size))

        zips = [str(path) for path in pictures.zips]
        scores.append(shelf.scores(f"{name}-says-{_key(config, tags, zips)}", ask))
    own = predict(student, pictures.read(recipe.size))
    yes_no = np.mean([s[:, colours:] for s in scores], axis=0)
    return np.concatenate([own[:, :colours], yes_no], axis=1).astype(np.float32)


def _evaluate(
    net: TaggerNetwork | TwoTaggers,
    source: Source,
    learn: Faces,
    test: Labelled,
    tags: tuple[str, ...],
) -> dict[str, Any]:
    size, first = test.images.shape[1], len(HAIR) + len(EYES)
    unlabelled = predict(net, Pictures([source.faces]).read(size), flips=False)
    shares = np.nanmean(learn.targets[:, first:], axis=0).astype(np.float32)
    thresholds = matched_thresholds(unlabelled[:, first:], shares)
    return evaluate(predict(net, test.images, flips=False), test, tags, thresholds)


def _key(*what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:8]


class Shelf:
    """Finished stages in a folder, named by what made them; nothing is kept without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def network(
        self,
        name: str,
        config: TaggerConfig,
        tags: tuple[str, ...],
        start: TaggerNetwork | None,
        sets: list[Faces],
        report: Report,
    ) -> TaggerNetwork:
        """The stage's network: read where it was finished before, else trained."""
        net = make_network(config, len(HAIR) + len(EYES) + len(tags)) if start is None else start
        file = f"{name}-{_key(config, tags)}.safetensors"
        path = self.folder / file if self.folder else None
        if path is not None and path.is_file():
            net.load_state_dict(load_file(path))
            return net.eval()
        net = train(net, sets, config, report)
        if path is not None:
            partial_file = path.with_suffix(".partial")
            save_file({k: v.contiguous() for k, v in net.state_dict().items()}, partial_file)
            partial_file.replace(path)
        return net

    def scores(self, name: str, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Scores kept as `name.npy`, made where they are not there yet."""
        path = self.folder / f"{name}.npy" if self.folder else None
        if path is not None and path.is_file():
            return np.asarray(np.load(path, allow_pickle=False), np.float32)
        scores = make()
        if path is not None:
            np.save(path.with_suffix(".partial.npy"), scores)
            path.with_suffix(".partial.npy").replace(path)
        return scores
