"""Checkpoints: committed whole or not at all, checked by hash, resumed exactly.

A run folder holds `checkpoints/<images seen>/{weights.safetensors,state.json}`. A checkpoint is
written into a temporary folder, flushed to disk, and renamed into place; the rename is the commit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kaogen.errors import CheckpointError, ConfigError, TrainingError
from kaogen.nets.config import NetConfig
from kaogen.nets.generator import Generator

FORMAT = 1
WEIGHTS, STATE = "weights.safetensors", "state.json"
TEMPORARY = ".tmp-"


def flatten_optimizer(name: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts as named tensors."""
    out = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            out[f"{name}.{index}.{key}"] = torch.as_tensor(value)
    return out


def restore_optimizer(
    name: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{name}."):
            _, index, field = key.split(".", 2)
            state.setdefault(int(index), {})[field] = value
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)
    # Files hold contiguous tensors, and the fused Adam reads a parameter and its moments side by
    # side in memory, whatever their strides say.
    for parameter, entry in optimizer.state.items():
        for field, value in entry.items():
            if value.shape == parameter.shape:
                entry[field] = torch.empty_like(parameter).copy_(value)


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    work = path.with_name(f"{TEMPORARY}{path.name}")
    work.write_text(text, encoding="utf-8")
    sync(work)
    work.replace(path)
    sync(path.parent)


@contextmanager
def alone_in(run: Path) -> Iterator[None]:
    """Be the one process that trains in a run folder; ConfigError where there is another.

    The system lets go of the lock when the process ends, however it ends.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    handle = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"Another process is training in {run}.",
                hint="Wait for it to end, or give another --out.",
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def digest(tensors: dict[str, Tensor]) -> bytes:
    """SHA-256 of names and values; TrainingError where a value is no number.

    A step's losses may be sound and its update not, so that a checkpoint of it would be the end
    of the run.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        value = tensor.detach()
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise TrainingError(
                f"Training diverged: {name} is not a number.",
                hint="The last checkpoint is good; run again with a lower --lr.",
            )
        total.update(name.encode())
        total.update(value.cpu().contiguous().numpy().tobytes())
    return total.digest()


def save(run: Path, seen: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Commit a checkpoint; raises CheckpointError (disk full, say) and leaves older ones whole."""
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    target, work = folder / f"{seen:010d}", folder / f"{TEMPORARY}{seen:010d}"
    try:
        work.mkdir()
        save_file({k: v.contiguous() for k, v in tensors.items()}, work / WEIGHTS)
        state = {**meta, "format": FORMAT, "seen": seen, "sha256": sha256_of(work / WEIGHTS)}
        (work / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        for path in (work / WEIGHTS, work / STATE, work):
            sync(path)
        if target.exists():
            # The same position again: a folder cannot be replaced, so the old one steps aside
            # under a name that is swept, and only then goes.
            target.replace(folder / f"{TEMPORARY}old-{target.name}")
        work.replace(target)
        sync(folder)
        sweep(folder)
    except Exception as error:
        shutil.rmtree(work, ignore_errors=True)
        raise CheckpointError(
            f"Checkpoint {target} could not be written: {error}.",
            hint="The checkpoints before it are whole; free some space and run the same command.",
        ) from error
    return target


def sweep(folder: Path) -> None:
    """Remove what an interrupted save left behind."""
    for stale in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(stale, ignore_errors=True)


def prune(run: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for old in listing(run)[:-keep]:
        # Under a name that is swept, should the process end half way through.
        shutil.rmtree(old.replace(old.with_name(f"{TEMPORARY}old-{old.name}")))


def listing(run: Path) -> list[Path]:
    """Committed checkpoints, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("[0-9]*") if (p / STATE).is_file())


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of one checkpoint folder; CheckpointError when it is not what it was."""
    try:
        meta = json.loads((path / STATE).read_text(encoding="utf-8"))
        actual = sha256_of(path / WEIGHTS)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a checkpoint: {error}.") from error
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {meta.get('format')}, this kaogen reads {FORMAT}."
        )
    if meta.get("sha256") != actual:
        raise CheckpointError(
            f"{path / WEIGHTS} has changed since it was written.",
            hint="Remove that folder and run the same command to go on from the one before.",
        )
    return load_file(path / WEIGHTS), meta


def latest(path: Path) -> Path:
    """The checkpoint folder meant by a run folder or by itself."""
    if (path / STATE).is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(
            f"There is no run folder {path}.", hint="Name one that `kaogen train --out` made."
        )
    found = listing(path)
    if not found:
        raise CheckpointError(
            f"{path} holds no checkpoint.", hint="Name a run folder, as `kaogen train` made it."
        )
    return found[-1]


def load_generator(path: str | Path, ema: bool = True) -> tuple[Generator, dict[str, Any]]:
    """The generator of a run or checkpoint folder, in evaluation mode, and the checkpoint's state.

    Args:
        path: run folder (its newest checkpoint is taken) or checkpoint folder.
        ema: the running average, which is the one to draw with, or the raw weights.

    """
    tensors, meta = load(latest(Path(path)))
    generator = Generator(NetConfig.from_dict(meta["net"]))
    prefix = "ema." if ema else "g."
    weights = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    generator.load_state_dict(weights)
    meta["kimg"] = meta["seen"] / 1000
    return generator.eval().requires_grad_(False), meta
