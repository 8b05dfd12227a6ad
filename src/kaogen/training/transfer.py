"""Starting from another model's weights, whatever its size, widths or vocabulary.

Tensors are matched by their layer's name, which says the resolution, and along each axis by what
the axis means: a tag by its name, a channel by its number. Where the new network is wider, what it
shares with the old one computes what it did before (after Chen et al., "Net2Net", 2016):

- a new input of an old output has weight zero, so it says nothing at first;
- a new output starts as in any new network; nobody listens to it yet;
- the gain 1 / sqrt(inputs) of the equalised learning rate is made up for;
- a new resolution's ToRGB is zero: the picture is at first the old one, enlarged, and the new
  layers fade in as they learn (the idea of progressive growing, Karras et al. 2018).

Where it is narrower, the channels whose outgoing weights are largest are kept; demodulation keeps
the activations' scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kaogen.errors import ConfigError
from kaogen.nets.config import NetConfig
from kaogen.training import checkpoint
from kaogen.training.adapt import Adapter, Taken, energies
from kaogen.training.axes import State, critic_axes, generator_axes, names_by_role
from kaogen.training.inputs import listed

if TYPE_CHECKING:
    from kaogen.training.loop import Trainer


@dataclass(frozen=True)
class Source:
    """A model to start from.

    Attributes:
        name: what a person calls it.
        sha256: of its file of weights.
        kimg: thousands of images it was trained for.
        net: its shapes.
        vocabulary: names of its label's columns.
        raw, ema: the generator's state, latest and averaged; the same where only one is known.
        critic: the discriminator's state; empty where the file holds none.
        trunk: SHA-256 of the feature critic's frozen trunk, or None.
        ancestors: what it started from itself, the nearest first; see `line`.

    """

    name: str
    sha256: str
    kimg: float
    net: NetConfig
    vocabulary: tuple[str, ...]
    raw: State
    ema: State
    critic: State = field(default_factory=dict)
    trunk: str | None = None
    ancestors: tuple[dict[str, Any], ...] = ()

    def line(self) -> list[dict[str, Any]]:
        """What descendants note down: this model and its own ancestors, the nearest first."""
        mine = {"name": self.name, "sha256": self.sha256, "kimg": round(self.kimg, 3)}
        return [mine, *self.ancestors]


def source_of_checkpoint(path: Path) -> Source:
    """A run folder's newest checkpoint, or one checkpoint folder; CheckpointError, ConfigError."""
    folder = checkpoint.latest(path)
    tensors, meta = checkpoint.load(folder)

    def part(prefix: str) -> State:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    settings = {k: v for k, v in meta["net"].items() if k != "extra"}  # early runs' empty one
    run = folder.parents[1] if folder.parent.name == "checkpoints" else folder
    return Source(
        name=run.resolve().name,
        sha256=str(meta["sha256"]),
        kimg=meta["seen"] / 1000,
        net=NetConfig.from_dict(settings),
        vocabulary=tuple(meta.get("vocabulary", ())),
        raw=part("g."),
        ema=part("ema."),
        critic=part("d."),
        trunk=meta.get("trunk"),
        ancestors=tuple(meta.get("from", ())),
    )


def transfer_generator(
    source: Source, state: State, target: nn.Module, net: NetConfig, tags: Sequence[str]
) -> Taken:
    """Load into a generator what fits of `state`, which is `source.raw` or `source.ema`."""
    own = {k: v.detach().cpu() for k, v in target.state_dict().items()}
    kinds = [n.conditioning if n.num_tags else None for n in (source.net, net)]
    before = generator_axes(source.net, state, kinds[0] or kinds[1] or "embed")
    after = generator_axes(net, own, kinds[1] or kinds[0] or "embed")
    if source.net.mapping_layers != net.mapping_layers:
        # The last of 8 layers makes w; the fourth of the same 8 does not.
        before = {k: v for k, v in before.items() if not k.startswith("mapping.")}
    # Raw and averaged weights must keep the same channels.
    energy = energies(source.ema, before)
    both = (source.vocabulary, tags)
    new, taken = Adapter((source.net, state, before), (net, own, after), both, energy).run()
    old_sizes = {f"synthesis.b{s}" for s in source.net.sizes}
    for size in net.sizes:
        key = f"synthesis.b{size}"
        if key not in old_sizes and taken.any:
            new[f"{key}.to_rgb.weight"] = torch.zeros_like(own[f"{key}.to_rgb.weight"])
    if net.img_channels in (2, 4) and source.net.img_channels in (1, 3):
        make_opaque(new, net)
    target.load_state_dict(new)
    return taken


def make_opaque(state: State, net: NetConfig) -> None:
    """Alpha, which the source has not: 1 everywhere until training says otherwise."""
    for size in net.sizes:
        state[f"synthesis.b{size}.to_rgb.weight"][-1] = 0.0
    state[f"synthesis.b{net.resolution}.to_rgb.bias"][-1] = 1.0


def transfer_critic(
    source: Source, target: nn.Module, net: NetConfig, tags: Sequence[str]
) -> Taken:
    """Load into a discriminator what fits of the source's, which is of the same kind."""
    own = {k: v.detach().cpu() for k, v in target.state_dict().items()}
    assert source.net.critic == net.critic
    roles = names_by_role(source.net, source.critic), names_by_role(net, own)
    old = {role: source.critic[name] for role, name in roles[0].items()}
    fresh = {role: own[name] for role, name in roles[1].items()}
    axes = critic_axes(source.net, old), critic_axes(net, fresh)
    both = (source.vocabulary, tags)
    energy = energies(old, axes[0])
    parts = (source.net, old, axes[0]), (net, fresh, axes[1])
    new, taken = Adapter(*parts, both, energy).run()
    target.load_state_dict({name: new[role] for role, name in roles[1].items()})
    return taken.renamed(roles[1])


def start_from(
    source: Source | None, trainer: Trainer, vocabulary: Sequence[str], trunk: str | None
) -> list[str]:
    """Load what fits of a source into a new run's networks.

    Args:
        source: the model to start from; None begins from nothing.
        trainer: the run's; its networks are changed.
        vocabulary: names of the run's label columns.
        trunk: SHA-256 of the run's frozen trunk, or None.

    Returns:
        A few lines about what was copied, adapted and left out.

    Raises:
        ConfigError: nothing of the generator fits, or Freeze-D would freeze what has learnt
            nothing.

    """
    net = trainer.net
    if source is None:
        check_frozen(trainer, [name for name, _ in trainer.d.named_parameters()], "")
        return []
    taken = transfer_generator(source, source.raw, trainer.g, net, vocabulary)
    transfer_generator(source, source.ema, trainer.ema, net, vocabulary)
    if not taken.any:
        raise ConfigError(
            f"Nothing of {source.name} fits these networks.",
            hint=f"It makes {source.net.width} x {source.net.resolution}.",
        )
    judge, why = Taken(new=list(trainer.d.state_dict())), "holds no discriminator"
    if source.critic and source.net.critic != net.critic:
        why = f"has one of another kind, {source.net.critic}"
    elif source.critic and source.trunk != trunk:
        why = "has one that looks through another trunk"
    elif source.critic:
        judge, why = transfer_critic(source, trainer.d, net, vocabulary), "has none such"
    check_frozen(trainer, judge.new, f"{source.name} {why}")
    lines = [f"From {source.name} ({source.kimg:g} kimg)", taken.told("generator")]
    anew = f"discriminator: begins anew; {source.name} {why}."
    lines.append(judge.told("discriminator") if judge.any else anew)
    return [*lines, *told_tags(source.vocabulary, vocabulary)]


def check_frozen(trainer: Trainer, fresh: Sequence[str], why: str) -> None:
    """ConfigError where Freeze-D would keep what has learnt nothing.

    Args:
        trainer: a new run's.
        fresh: the discriminator's tensors that came from nowhere.
        why: what the source lacks; "" without one.

    """
    learns = {id(p) for p in trainer.d_learns}
    frozen = {name for name, p in trainer.d.named_parameters() if id(p) not in learns}
    if frozen & set(fresh):
        raise ConfigError(
            f"--freeze-d {trainer.config.freeze_d} would freeze layers that have learnt nothing: "
            f"{why or 'there is no --init-from'}.",
            hint="Leave --freeze-d out, or start from a run folder of the same --critic and size.",
        )


def told_tags(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Which tags were found by name, which are new, and which are no longer asked for."""
    if not old or not new:
        return []
    known = [name for name in new if name in set(old)]
    lines = [f"tags: {len(known)} of {len(new)} known to it"]
    fresh = [name for name in new if name not in set(old)]
    gone = [name for name in old if name not in set(new)]
    if fresh:
        lines[0] += f"; new: {listed(fresh)}"
    if gone:
        lines[0] += f"; left out: {listed(gone)}"
    return [lines[0] + "."]
