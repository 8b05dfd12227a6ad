"""Network presets: rows of one table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from kaogen.errors import ConfigError

Conditioning = Literal["paper", "embed"]
Critic = Literal["stylegan2", "features"]


@dataclass(frozen=True)
class NetConfig:
    """Everything that fixes the two networks' shapes.

    Attributes:
        resolution: picture size in pixels, `base` times a power of two.
        base: size of the learnt constant the synthesis starts from, pixels.
        channels: channels at each resolution; the key is the picture's size in pixels.
        z_dim, w_dim: sizes of the latent and the intermediate latent.
        mapping_layers: dense layers from z to w.
        num_tags: length of the label vector; 0 is unconditional.
        img_channels: 1 grey, 3 RGB, 4 RGBA.
        noise: whether each convolution adds a noise map (fixed maps when drawing).
        conditioning: "paper" concatenates z with labels @ W and normalises both as one, and its
            discriminator scores sum_i label_i * out_i; "embed" normalises the label embedding
            apart from z and gives the discriminator a projection head.
        critic: "stylegan2" is the residual discriminator on pixels; "features" judges frozen
            features of the built-in tagger beside a small head on the pixels.

    """

    resolution: int
    channels: dict[int, int]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    num_tags: int = 59
    img_channels: int = 3
    base: int = 4
    noise: bool = True
    conditioning: Conditioning = "paper"
    critic: Critic = "stylegan2"
    mbstd_group: int = 4

    def __post_init__(self) -> None:
        sizes = self.sizes
        if not sizes or sizes[-1] != self.resolution:
            raise ConfigError(
                f"A picture of {self.resolution} px is not {self.base} px times a power of two.",
                hint=f"Choose for instance {self.base * 16}.",
            )
        missing = [s for s in sizes if s not in self.channels]
        if missing:
            raise ConfigError(f"The configuration names no channels for {missing} px.")
        if not 1 <= self.img_channels <= 4:
            raise ConfigError(f"Pictures have 1 to 4 channels, not {self.img_channels}.")
        if self.conditioning not in ("paper", "embed"):
            raise ConfigError(f"Unknown conditioning {self.conditioning!r}: paper or embed.")
        if self.critic not in ("stylegan2", "features"):
            raise ConfigError(f"Unknown critic {self.critic!r}: stylegan2 or features.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Resolutions of the blocks, coarsest first: 4, 8, ..., resolution."""
        sizes, size = [], self.base
        while size <= self.resolution:
            sizes.append(size)
            size *= 2
        return tuple(sizes)

    @property
    def num_ws(self) -> int:
        """How many w a picture takes: one per convolution, and one for the last ToRGB."""
        return 2 * len(self.sizes)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; `channels` gets string keys."""
        out = asdict(self)
        out["channels"] = {str(k): v for k, v in self.channels.items()}
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NetConfig:
        """The inverse of `to_dict`; ConfigError names a key that does not belong."""
        unknown = set(data) - set(cls.__dataclass_fields__)
        if unknown:
            raise ConfigError(f"Unknown network setting {sorted(unknown)[0]!r}.")
        fixed = dict(data)
        fixed["channels"] = {int(k): int(v) for k, v in data["channels"].items()}
        return cls(**fixed)

    def with_(self, **changes: Any) -> NetConfig:
        """A copy with some settings changed."""
        return replace(self, **changes)


def paper_channels(resolution: int, base: int = 32768, top: int = 512) -> dict[int, int]:
    """min(base / size, top): 512 up to 32 px, 256 at 64, ... for base 16384."""
    return {2**i: min(base // 2**i, top) for i in range(2, resolution.bit_length())}


PRESETS: dict[str, NetConfig] = {
    "tiny64": NetConfig(
        resolution=64,
        channels={4: 256, 8: 256, 16: 128, 32: 64, 64: 32},
        z_dim=128,
        w_dim=256,
        mapping_layers=4,
        conditioning="embed",
        critic="features",
    ),
    "base128": NetConfig(
        resolution=128,
        channels={4: 256, 8: 256, 16: 256, 32: 128, 64: 64, 128: 32},
        z_dim=256,
        w_dim=256,
        mapping_layers=4,
        conditioning="embed",
        critic="features",
    ),
    # The paper's tables: 512 channels up to 32 px, then 256, 128, 64.
    "paper256": NetConfig(resolution=256, channels=paper_channels(256, 16384)),
    "paper512": NetConfig(resolution=512, channels=paper_channels(512, 16384)),
    "paper1024": NetConfig(resolution=1024, channels=paper_channels(1024, 16384)),
}


def preset(name: str) -> NetConfig:
    """The named preset, or ConfigError with the names there are."""
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}.", hint=f"Choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
