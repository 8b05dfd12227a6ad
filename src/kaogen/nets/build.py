"""Builds the networks that a configuration names."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file

from kaogen.errors import ModelNotFoundError
from kaogen.nets.config import NetConfig
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.tagger import TaggerNet
from kaogen.nets.trunks import LiteTrunk, Trunk

TRUNK = "trunk.safetensors"


def trunk_path() -> Path:
    """Where the weights of the feature discriminator's trunk lie."""
    return Path(str(files("kaogen"))) / "models" / TRUNK


def load_trunk(path: Path | None = None) -> Trunk:
    """The trunk, frozen, as it was saved: the one that ships, or a file's.

    Raises:
        ModelNotFoundError: there is no such file.

    """
    path = path or trunk_path()
    if not path.is_file():
        raise ModelNotFoundError(
            f"The discriminator's trunk is missing: {path}.",
            hint="Reinstall kaogen, or use --critic stylegan2, which needs none.",
        )
    with safe_open(path, "pt") as stored:
        names = set(stored.keys())
    if "stem.weight" in names:
        return LiteTrunk.load(path)
    tensors = load_file(path)
    widths = tuple(
        tensors[f"stages.{i}.0.conv.weight"].shape[0]
        for i in range(sum(k.endswith(".0.conv.bias") for k in tensors))
    )
    net = TaggerNet(tensors["head.bias"].shape[0], widths, folded=True)
    net.load_state_dict({k: v.float() for k, v in tensors.items()})
    return net.eval().requires_grad_(False)


def build_critic(cfg: NetConfig, trunk: Path | None = None) -> Discriminator | FeatureCritic:
    """The discriminator that `cfg.critic` names."""
    if cfg.critic == "features":
        return FeatureCritic(cfg, load_trunk(trunk))
    return Discriminator(cfg)
