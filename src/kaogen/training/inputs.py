"""What a run is given, looked at before any hour is spent: data set, labels, disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from kaogen.data.archives.archive import Archive
from kaogen.errors import ConfigError, LabelError, TrainingError
from kaogen.nets.config import PRESETS, NetConfig
from kaogen.tags import PAPER
from kaogen.training.draws import Data

SHOWN = 6  # names in a line


def check_data(archive: Archive, net: NetConfig) -> None:
    """Whether the networks can be trained on a data set; `net.num_tags` 0 ignores its labels.

    Raises:
        ConfigError: pictures of another size, or no labels where the networks take some.
        LabelError: labels that are no tags: values beside 0 and 1, or not one tag on any face.

    """
    h, w = archive.resolution
    if h != net.resolution:
        fitting = [name for name, preset in PRESETS.items() if preset.resolution == h]
        other = f"or train with --preset {fitting[0]}" if fitting else "or choose another --preset"
        raise ConfigError(
            f"{archive.path}: its pictures are {w} x {h}, the preset makes {net.resolution}.",
            hint=f"Prepare it with --size {net.resolution}, {other}.",
        )
    if not net.num_tags:
        return
    labels = archive.labels
    if labels is None:
        raise ConfigError(
            f"{archive.path} has no labels, but the networks take {net.num_tags} tags.",
            hint="Prepare it with --tags or --tagger, or train with --unconditional.",
        )
    low, high = float(labels.min(initial=0)), float(labels.max(initial=0))
    if low < 0 or high > 1:
        raise LabelError(
            f"{archive.path}: labels go from {low:g} to {high:g}; tags are 0 or 1.",
            hint="Write them anew with `kaogen prepare --tags`, or train with --unconditional.",
        )
    if high <= 0.5:
        raise LabelError(
            f"{archive.path}: no face has any tag.",
            hint="Prepare it with --tags or --tagger, or train with --unconditional.",
        )


def load_data(archive: Archive, net: NetConfig) -> Data:
    """Decode the whole archive, which `check_data` has let through."""
    labels = archive.labels
    kept = np.zeros((len(archive), 0), np.float32)
    if net.num_tags and labels is not None:
        kept = labels
    return Data(archive.pixels(), (kept > 0.5).astype(np.float32))


def notes(data: Data, vocabulary: Sequence[str]) -> list[str]:
    """What can be trained, but perhaps not as it was meant; a line each."""
    counts = data.labels.sum(axis=0).tolist()
    absent = [name for name, count in zip(vocabulary, counts, strict=True) if not count]
    if not absent:
        return []
    are = f"{len(absent)} of {len(vocabulary)} tags are on no face and cannot be learnt"
    return [f"{are}: {listed(absent)}."]


def listed(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def vocabulary_of(archive: Archive, count: int) -> list[str]:
    """Names of the label's columns; neutral ones where the data set does not say.

    59 columns without names are taken for the paper's tags, in the paper's order.
    """
    if archive.vocabulary is not None:
        return list(archive.vocabulary.names)[:count]
    if count == len(PAPER):
        return list(PAPER.names)
    return [f"class {i}" for i in range(count)]


def check_room(folder: Path, tensors: dict[str, Tensor], learnt: int, checkpoints: int) -> None:
    """TrainingError where the disk cannot take a run's checkpoints.

    Args:
        folder: the run folder.
        tensors: what a checkpoint holds at the start.
        learnt: numbers that are learnt; of each, Adam keeps two more.
        checkpoints: how many stand beside one another at most and are not there yet.

    """
    own = sum(t.numel() * t.element_size() for n, t in tensors.items() if not n.startswith("opt_"))
    need = checkpoints * (own + 8 * learnt)
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        raise TrainingError(
            f"{folder}: {free / 1e6:,.0f} MB are free on its disk; the run's checkpoints take "
            f"{need / 1e6:,.0f} MB.",
            hint="Free some space, or give an --out on another disk.",
        )
