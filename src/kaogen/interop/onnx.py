"""Checkpoint -> model file: two ONNX graphs, label rows, provenance; compared with torch first."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from kaogen.data.archives.archive import Archive
from kaogen.errors import BundleError, CheckpointError, ConfigError, LabelError
from kaogen.interop.graph import Storage
from kaogen.interop.graphs import mapping_graph, synthesis_graph
from kaogen.nets.generator import Generator
from kaogen.studio import latents
from kaogen.studio.bundle import Bundle, to_pixels, write_bundle
from kaogen.studio.manifest import NAME_PATTERN, LabelTable, Manifest, TagInfo, Trained, Truncation
from kaogen.tags import Vocabulary
from kaogen.training.checkpoint import load_generator

Bits = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# How the weights of the two graphs are stored. "auto" takes the first of AUTO that draws what
# torch draws.
Precision = Literal["fp16", "mixed", "fp32", "int8"]
AUTO: tuple[Precision, ...] = ("fp16", "mixed", "fp32")
STORAGE: dict[str, tuple[Storage, Storage]] = {
    "fp16": ("fp16", "fp16"),
    "mixed": ("fp32", "fp16"),
    "fp32": ("fp32", "fp32"),
    "int8": ("fp16", "int8"),
}
# Grey levels that pictures may differ from torch's: any value, and on average. Bytes change a
# value here and there by more than one level, which nobody sees; a mean of one is seen.
MOST: dict[str, float] = {"int8": 255}
MEAN = 1.0

CENTRE_SAMPLES = 128
MEAN_SAMPLES = 1024
PARITY_SEEDS = 16


@dataclass(frozen=True)
class ExportOptions:
    """What an export is told beside run and data.

    Attributes:
        name: lower-case letters, digits, dots and dashes; the first part of the model's id.
        card: the model card in Markdown; a short one is written when empty.
        data: on what it was trained, in words.
        licence: of the model.
        minutes: how long it was trained, when the checkpoint does not say.
        not_learnt: tags that may not be asked for, whatever the data says.
        min_examples: a tag that fewer training faces show counts as not learnt.
        measured: per tag, `obedience` and `unasked` (0..1), as an evaluation found them.
        precision: how weights are stored: "fp16", "mixed" (the small mapping network as fp32, for
            a network whose pictures hang on w's last digits), "fp32", or "auto": the first of
            these that passes the parity check. "int8" takes 60% of fp16's bytes; pictures may
            then differ by a mean of one grey level.
    """

    name: str
    card: str = ""
    data: str = ""
    licence: str = ""
    minutes: float | None = None
    not_learnt: Sequence[str] = ()
    min_examples: int = 20
    measured: dict[str, dict[str, float]] = field(default_factory=dict)
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.precision not in ("auto", *get_args(Precision)):
            raise ConfigError(
                f'unknown precision "{self.precision}": auto, fp16, mixed, fp32 or int8.'
            )
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise ConfigError(
                f'"{self.name}" cannot be a model\'s name.',
                hint="Use lower-case letters, digits, dots and dashes, 63 at most.",
            )


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        id: the model's id.
        size: of the file, in bytes.
        learnt: how many tags it may be asked for.
        worst: largest difference from torch of any pixel, in grey levels.
        differing: share of the values that differ at all.
        mean: difference in grey levels, on average.
        precision: how the weights are stored.
    """

    id: str
    size: int
    learnt: int
    worst: int
    differing: float
    mean: float
    precision: str


def export(
    run: str | os.PathLike[str],
    archive: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ExportOptions,
) -> Exported:
    """Make the model file `out` from a run (or checkpoint) folder and the data it was trained on.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the data.
        ArchiveError, LabelError: the data set cannot be read or has no tags.
        BundleError: the graphs differ from torch by more than one grey level (int8: by more than
            a mean of one); nothing is written.
    """
    generator, meta = load_generator(Path(run))
    with Archive.open(archive) as data:
        rows, vocabulary = _label_rows(data, meta)
    choices = AUTO if options.precision == "auto" else (options.precision,)
    for precision in choices:
        stored = replace(options, precision=precision)
        manifest, payload = assemble(generator, meta, rows, vocabulary, stored)
        bundle = Bundle(manifest, payload, Path(out))
        gap = parity(generator, bundle)
        if gap.worst <= MOST.get(precision, 1) and gap.mean <= MEAN:
            write_bundle(out, manifest, payload)
            size, learnt = Path(out).stat().st_size, len(bundle.learnt)
            found = (gap.worst, gap.differing, gap.mean)
            return Exported(manifest.id, size, learnt, *found, precision)
    raise BundleError(
        f"the exported graphs differ from torch by {gap.worst} grey levels at most, "
        f"{gap.mean:.2f} on average; nothing was written.",
        hint="Try --precision auto." if options.precision != "auto" else "",
    )


def assemble(
    generator: Generator,
    meta: dict[str, Any],
    rows: Bits,
    vocabulary: Vocabulary,
    options: ExportOptions,
) -> tuple[Manifest, dict[str, bytes]]:
    """The parts of a model file; `rows` [N, L] are the training set's labels."""
    cfg = generator.cfg
    if rows.shape[1] != cfg.num_tags or not cfg.num_tags:
        raise CheckpointError(
            f"the network takes {cfg.num_tags} tags, the data set has {rows.shape[1]}."
        )
    state = {name: tensor.float().numpy() for name, tensor in generator.state_dict().items()}
    tags = _tag_table(rows, vocabulary, options)
    trained = Trained(
        kimg=meta["kimg"],
        minutes=options.minutes if options.minutes is not None else meta.get("minutes"),
        data=options.data,
        images=len(rows),
        ancestors=meta.get("from", []),
    )
    mapping, synthesis = STORAGE[options.precision if options.precision != "auto" else "fp16"]
    payload = {
        "mapping.onnx": mapping_graph(cfg, state, mapping),
        "synthesis.onnx": synthesis_graph(cfg, state, synthesis),
        "labels.bin": np.packbits(rows, axis=1).tobytes(),
        "card.md": (options.card or _short_card(options, trained, tags)).encode(),
    }
    manifest = Manifest.sealed(
        payload,
        name=options.name,
        resolution=cfg.resolution,
        width=None if cfg.width == cfg.resolution else cfg.width,
        channels=cfg.img_channels,
        z_dim=cfg.z_dim,
        w_dim=cfg.w_dim,
        num_ws=cfg.num_ws,
        tags=tags,
        labels=LabelTable(count=len(rows), bytes_per_row=(rows.shape[1] + 7) // 8),
        truncation=Truncation(centre_samples=CENTRE_SAMPLES, w_avg=_mean_w(generator, rows)),
        trained=trained,
        licence=options.licence,
    )
    return manifest, payload


@dataclass(frozen=True)
class Gap:
    """How far two programs' pictures lie apart: grey levels at most and on average, and the share
    of values that differ at all.
    """

    worst: int
    mean: float
    differing: float


def parity(generator: Generator, bundle: Bundle, seeds: int = PARITY_SEEDS) -> Gap:
    """The difference between torch's pictures in fp32 and the file's.

    Each seed is drawn by both from z and a label row on, without truncation.
    """
    gaps = []
    for seed in range(seeds):
        z = latents.z(seed, generator.cfg.z_dim)[None]
        row = bundle.labels[seed * len(bundle.labels) // seeds].astype(np.float32)[None]
        ours = bundle.synthesise(bundle.map(z, row)[0])
        with torch.no_grad():
            theirs = generator(torch.from_numpy(z), torch.from_numpy(row), noise="const")
        gaps.append(np.abs(ours.astype(int) - to_pixels(theirs[0].numpy()).astype(int)))
    gap = np.stack(gaps)
    return Gap(int(gap.max()), float(gap.mean()), float((gap > 0).mean()))


def _label_rows(data: Archive, meta: dict[str, Any]) -> tuple[Bits, Vocabulary]:
    if data.labels is None or data.vocabulary is None:
        raise LabelError(
            f"{data.path} has no tags; a model file needs them.",
            hint="Prepare it with --tags or --tagger.",
        )
    trained_on = meta.get("vocabulary")
    if trained_on is not None and tuple(trained_on) != data.vocabulary.names:
        raise CheckpointError(f"the run was trained on other tags than {data.path} has.")
    if meta.get("archive", data.fingerprint) != data.fingerprint:
        raise CheckpointError(
            f"the run was trained on other data than {data.path}.",
            hint=f"Give the data set file it was trained on: {meta.get('data', 'see its config')}.",
        )
    return data.labels >= 0.5, data.vocabulary


def _tag_table(rows: Bits, vocabulary: Vocabulary, options: ExportOptions) -> list[TagInfo]:
    refused = {vocabulary.resolve(tag, where="not learnt") for tag in options.not_learnt}
    unknown = set(options.measured) - set(vocabulary.names)
    if unknown:
        raise ConfigError(f'the measured figures name a tag that is not there: "{min(unknown)}".')
    counts = rows.sum(axis=0)
    return [
        TagInfo(
            name=name,
            learnt=bool(count >= options.min_examples and name not in refused),
            share=round(float(count / len(rows)), 6),
            obedience=options.measured.get(name, {}).get("obedience"),
            unasked=options.measured.get(name, {}).get("unasked"),
        )
        for name, count in zip(vocabulary.names, counts, strict=True)
    ]


def _mean_w(generator: Generator, rows: Bits) -> list[float]:
    """The mean of w over latents and evenly spaced label rows."""
    count = MEAN_SAMPLES
    chosen = rows[np.linspace(0, len(rows) - 1, count).astype(int)].astype(np.float32)
    samples = latents.centre_samples(count, generator.cfg.z_dim)
    with torch.no_grad():
        w = generator.mapping(torch.from_numpy(samples), torch.from_numpy(chosen))
    return [round(value, 6) for value in w.double().mean(dim=0).tolist()]


def _short_card(options: ExportOptions, trained: Trained, tags: Sequence[TagInfo]) -> str:
    learnt = ", ".join(tag.name for tag in tags if tag.learnt)
    paragraphs = (
        f"# {options.name}",
        f"Trained on {trained.images:,} faces for {trained.kimg:,.0f} kimg.",
        options.data,
        f"Tags it learnt: {learnt}.",
        f"Licence: {options.licence or 'not given'}.",
    )
    return "\n\n".join(filter(None, paragraphs)) + "\n"
