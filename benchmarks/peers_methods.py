"""The three ways to train that `peers.py` compares, and training one of them for some minutes."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kaogen.data.archives.archive import Archive
from kaogen.errors import ConfigError
from kaogen.nets.build import build_critic
from kaogen.nets.config import NetConfig, preset
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.generator import Generator
from kaogen.training.config import RECIPES, TrainConfig, r1_gamma
from kaogen.training.inputs import load_data, vocabulary_of
from kaogen.training.loop import Data, Trainer
from kaogen.training.run import tagger_layout
from peers_dcgan import Dcgan, DcganGenerator, parameters

PRESET = "tiny64"


class Learner(Protocol):
    """Something that learns step by step."""

    seen: int

    def step(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        name: of its folder and in tables.
        what: what it is, in one sentence.
        start: data, names of the labels' columns, seed -> a learner at its beginning.
        drawer: a learner's network to draw with.
        empty: number of tags -> such a network without its weights.
        precision: of the activations, as it ran on this machine.

    """

    name: str
    what: str
    start: Callable[[Data, list[str], int], Any]
    drawer: Callable[[Any], nn.Module]
    empty: Callable[[int], nn.Module]
    precision: Callable[[Any], str]


def plain_net(num_tags: int) -> NetConfig:
    """The shapes of ours, with the paper's conditioning and StyleGAN2's discriminator."""
    return preset(PRESET).with_(num_tags=num_tags, conditioning="paper", critic="stylegan2")


def our_net(num_tags: int) -> NetConfig:
    return preset(PRESET).with_(num_tags=num_tags)


def plain_trainer(data: Data, vocabulary: list[str], seed: int) -> Trainer:
    """StyleGAN2 as it comes: non-saturating loss, lazy R1, fp32, even sampling."""
    net = plain_net(len(vocabulary))
    gamma = r1_gamma(net.resolution, 32)
    config = TrainConfig(batch=32, r1_gamma=gamma, r1_interval=16, seed=seed, precision="fp32")
    torch.manual_seed(seed)
    return Trainer(net, config, data, Discriminator(net))


def our_trainer(data: Data, vocabulary: list[str], seed: int) -> Trainer:
    """What `kaogen train --preset tiny64` trains, from the beginning."""
    net, config = our_net(len(vocabulary)), replace(RECIPES[PRESET], seed=seed)
    torch.manual_seed(seed)
    return Trainer(net, config, data, build_critic(net), tagger_layout(vocabulary))


def precision_of(trainer: Trainer) -> str:
    return str(trainer.dtype).removeprefix("torch.")


def dcgan_drawer(run: Dcgan) -> nn.Module:
    run.finish()
    return run.g


METHODS = (
    Method(
        "dcgan",
        "conditional DCGAN (2015), labels by concatenation, fp32",
        lambda data, _, seed: Dcgan(data, seed),
        dcgan_drawer,
        lambda tags: DcganGenerator(tags, preset(PRESET).resolution),
        lambda _: "float32",
    ),
    Method(
        "stylegan2",
        "conditional StyleGAN2 of the same size as ours: residual discriminator on pixels, the "
        "paper's conditioning, non-saturating loss with lazy R1, fp32",
        plain_trainer,
        lambda run: run.ema,
        lambda tags: Generator(plain_net(tags)),
        precision_of,
    ),
    Method(
        "kaogen",
        "`kaogen train --preset tiny64`",
        our_trainer,
        lambda run: run.ema,
        lambda tags: Generator(our_net(tags)),
        precision_of,
    ),
)


@dataclass(frozen=True)
class Trained:
    """A method that has had its minutes: what `state.json` says of it, and its generator."""

    method: Method
    state: dict[str, Any]
    generator: nn.Module

    @property
    def z_dim(self) -> int:
        cfg = getattr(self.generator, "cfg", None)
        return int(cfg.z_dim) if cfg is not None else int(self.generator.z_dim)


def train(method: Method, archive: Archive, folder: Path, minutes: float, seed: int) -> Trained:
    """Train a method for so many minutes, or load what it became the last time.

    The clock runs during steps only: not while data is read or weights are written. Its folder
    holds `generator.safetensors` and, as the mark that it is finished, `state.json`.
    """
    net = our_net(0)
    if archive.resolution != (net.resolution, net.resolution) or archive.channels != 3:
        h, w = archive.resolution
        raise ConfigError(
            f"{archive.path}: its pictures are {w} x {h}, all three methods make RGB of "
            f"{net.resolution} x {net.resolution}.",
            hint=f"Prepare it with --size {net.resolution}.",
        )
    asked = {"data": archive.fingerprint, "minutes": minutes, "seed": seed}
    asked["threads"] = torch.get_num_threads()
    if (folder / "state.json").exists():
        return load(method, folder, asked, archive)
    assert archive.labels is not None
    vocabulary = vocabulary_of(archive, archive.labels.shape[1])
    data = load_data(archive, our_net(len(vocabulary)))
    run = method.start(data, vocabulary, seed)
    seconds, losses = teach(method.name, run, minutes)
    generator = method.drawer(run).eval()
    state = {
        "method": method.name,
        "what": method.what,
        "asked": asked,
        "seconds": round(seconds, 3),
        "seen": run.seen,
        "rate": round(run.seen / seconds, 2),
        "losses": {name: round(value, 4) for name, value in losses.items()},
        "precision": method.precision(run),
        "parameters": {"g": parameters(generator), "d": parameters(run.d)},
        "torch": torch.__version__,
    }
    save(folder, generator, state)
    return load(method, folder, asked, archive)  # what was saved is what is judged


def teach(name: str, run: Learner, minutes: float) -> tuple[float, dict[str, float]]:
    """Step until the minutes are over; returns the seconds that were spent and the last losses."""
    seconds, told, losses = 0.0, time.monotonic(), {}
    while seconds < minutes * 60:
        start = time.perf_counter()
        losses = run.step()
        seconds += time.perf_counter() - start
        if time.monotonic() - told > 10:
            told = time.monotonic()
            rate, left = run.seen / seconds, minutes - seconds / 60
            words = " ".join(f"{k} {v:.3f}" for k, v in losses.items())
            say(f"{name:10} {run.seen:,} images, {rate:.0f}/s, {left:.1f} minutes left, {words}")
    return seconds, losses


def save(folder: Path, generator: nn.Module, state: dict[str, Any]) -> None:
    """The weights first, then, by one rename, the mark that they are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "generator.safetensors"
    save_file({k: v.contiguous() for k, v in generator.state_dict().items()}, weights)
    state["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    temporary = folder / ".state.json"
    temporary.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / "state.json")


def load(method: Method, folder: Path, asked: dict[str, Any], archive: Archive) -> Trained:
    """What `train` left there, if it was asked for the same."""
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    for name, value in asked.items():
        if state["asked"].get(name) != value:
            raise ConfigError(
                f"{folder} was trained with {name} {state['asked'].get(name)!r}, not {value!r}.",
                hint="Choose another --out, or delete that folder.",
            )
    weights = folder / "generator.safetensors"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != state["sha256"]:
        raise ConfigError(f"{weights} has changed since.", hint="Delete its folder to train anew.")
    assert archive.labels is not None
    generator = method.empty(archive.labels.shape[1])
    generator.load_state_dict(load_file(weights))
    say(f"{method.name:10} finished with {state['seen']:,} images")
    return Trained(method, state, generator.eval().requires_grad_(False))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
