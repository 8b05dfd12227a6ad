"""One network's tensors into another's shapes, axis by axis; the rules stand in `transfer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor

from kaogen.nets.config import NetConfig
from kaogen.training.axes import INPUTS, Axes, State, sizes_of


@dataclass
class Taken:
    """What became of one network's tensors.

    Attributes:
        copied: names taken over as they are.
        adapted: names taken over with an axis wider, narrower or in another order.
        new: names that the source has nothing for.

    """

    copied: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether anything was taken over."""
        return bool(self.copied or self.adapted)

    def renamed(self, names: dict[str, str]) -> Taken:
        """The same under other names."""
        parts = (self.copied, self.adapted, self.new)
        return Taken(*([names[name] for name in part] for part in parts))

    def told(self, network: str) -> str:
        """One line."""
        parts = [f"{len(self.copied)} tensors as they are"]
        if self.adapted:
            parts.append(f"{len(self.adapted)} adapted in width or tags")
        if self.new:
            layers = dict.fromkeys(short_layer(name) for name in self.new)
            parts.append(f"{len(self.new)} new ({', '.join(layers)})")
        return f"{network}: {', '.join(parts)}."


def short_layer(name: str) -> str:
    """synthesis.b128.conv1.weight -> b128: the layer that a tensor's name starts with."""
    first, *rest = name.removeprefix("synthesis.").split(".")
    return f"{first}.{rest[0]}" if first in ("mapping", "heads") else first


class Adapter:
    """From one network's state to another's, axis by axis.

    Args:
        source: the old network's shapes, tensors and the names of their axes.
        target: the new network's.
        tags: vocabularies, old and new.
        energy: by axis, how much is made of each channel: a narrower network keeps the most.

    """

    def __init__(
        self,
        source: tuple[NetConfig, State, Axes],
        target: tuple[NetConfig, State, Axes],
        tags: tuple[Sequence[str], Sequence[str]],
        energy: dict[str, Tensor],
    ) -> None:
        _, self.old, self.old_axes = source
        _, self.new, self.new_axes = target
        self.tags = tags
        self.old_sizes = sizes_of(*source)
        self.new_sizes = sizes_of(*target)
        self.energy = energy
        self.picks: dict[str, Tensor] = {}

    def run(self) -> tuple[State, Taken]:
        """The new state, and what was done."""
        state, taken = dict(self.new), Taken()
        for name, fresh in self.new.items():
            old, axes = self.old.get(name), self.new_axes.get(name)
            if old is None or axes is None or self.old_axes.get(name) != axes:
                taken.new.append(name)
                continue
            value = self.adapt(old, fresh, axes)
            if value is None:
                taken.new.append(name)
                continue
            state[name] = value
            same = value.shape == old.shape and torch.equal(value, old.to(value.dtype))
            (taken.copied if same else taken.adapted).append(name)
        return state, taken

    def adapt(self, old: Tensor, fresh: Tensor, axes: tuple[str, ...]) -> Tensor | None:
        """`old` in the shape of `fresh`; None where an axis of pixels differs."""
        value = old.to(fresh.dtype)
        if axes[1:] == ("rows", "columns") and old.shape[1:] != fresh.shape[1:]:
            size = (fresh.shape[1], fresh.shape[2])  # the learnt constant of another shape
            value = F.interpolate(value[None], size, mode="bilinear", align_corners=False)[0]
        known = torch.ones((1,) * fresh.dim(), dtype=torch.bool)
        fan = 1.0
        for place, axis in enumerate(axes):
            if axis in ("", "rows", "columns"):
                if value.shape[place] != fresh.shape[place]:
                    return None
                continue
            pick = self.pick(axis.lstrip("<~"))
            value = value.index_select(place, pick.clamp(min=0))
            shape = [-1 if i == place else 1 for i in range(fresh.dim())]
            if axis.startswith(INPUTS):
                value = value * heard(pick).reshape(shape)
                if axis.startswith("<"):
                    fan *= fresh.shape[place] / old.shape[place]
            else:
                known = known & (pick >= 0).reshape(shape)
        return torch.where(known, value * fan**0.5, fresh)

    def pick(self, axis: str) -> Tensor:
        """For each index of the new axis, the old axis's index, or -1 for none."""
        if axis not in self.picks:
            parts = axis.split("+")
            if len(parts) > 1:
                offset, picks = 0, []
                for part in parts:
                    one = self.pick(part)
                    picks.append(torch.where(one >= 0, one + offset, one))
                    offset += self.old_sizes[part]
                self.picks[axis] = torch.cat(picks)
            else:
                self.picks[axis] = self.pick_one(axis)
        return self.picks[axis]

    def pick_one(self, axis: str) -> Tensor:
        """The same for an axis of one meaning."""
        base, _, pixels = axis.partition("*")
        if pixels:  # a map that was flattened: every channel has so many entries
            count, channels = int(pixels), self.pick(base)
            spread = channels[:, None] * count + torch.arange(count)
            return torch.where(channels[:, None] >= 0, spread, -1).flatten()
        if axis == "tags":
            place = {name: i for i, name in enumerate(self.tags[0])}
            return torch.tensor([place.get(name, -1) for name in self.tags[1]], dtype=torch.long)
        old, new = self.old_sizes[axis], self.new_sizes[axis]
        if new <= old:
            if axis == "image" or new == old or axis not in self.energy:
                return torch.arange(new)
            return self.energy[axis].topk(new).indices.sort().values
        index = torch.arange(new)
        if old and (axis == "embed" or (axis == "image" and old == 1 and new == 3)):
            # Repeated: the label embedding's mean square, by which it is normalised, stays.
            return index % old
        return torch.where(index < old, index, -1)


def heard(pick: Tensor) -> Tensor:
    """1.0 for the first use of an old input, 0.0 for its copies and for new inputs."""
    first = torch.zeros(len(pick))
    seen: set[int] = set()
    for place, index in enumerate(pick.tolist()):
        if index >= 0 and index not in seen:
            first[place] = 1.0
            seen.add(index)
    return first


def energies(state: State, axes: Axes) -> dict[str, Tensor]:
    """How much is made of each channel: the squares of the weights that read it, summed."""
    out: dict[str, Tensor] = {}
    for name, described in axes.items():
        value = state[name].float()
        for place, axis in enumerate(described):
            if axis.startswith("<") and "+" not in axis and "*" not in axis:
                others = [i for i in range(value.dim()) if i != place]
                key = axis.removeprefix("<")
                read = value.square().mean(dim=others)
                out[key] = out[key] + read if key in out else read
    return out
