"""What fixes the networks' shapes, and the presets: rows of one table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kaogen.errors import ConfigError

Conditioning = Literal["paper", "embed"]
Critic = Literal["stylegan2", "features"]

MAX_SIZE = 2048
"""Pixels along a side: what a model file may hold."""


@dataclass(frozen=True)
class NetConfig:
    """Everything that fixes the two networks' shapes.

    Attributes:
        resolution: height of the picture in pixels, `base` times a power of two.
        channels: channels at each resolution; the key is the height in pixels.
        z_dim, w_dim: sizes of the latent and the intermediate latent.
        mapping_layers: dense layers from z to w.
        num_tags: length of the label vector; 0 is unconditional.
        img_channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        base: height of the learnt constant the synthesis starts from, in pixels.
        noise: whether each convolution adds a noise map (fixed maps when drawing).
        conditioning: "paper" concatenates z with labels @ W and normalises both as one, and its
            discriminator scores sum_i label_i * out_i; "embed" normalises the label embedding
            apart from z and gives the discriminator a projection head.
        critic: "stylegan2" is the residual discriminator on pixels; "features" judges frozen
            features of the built-in tagger beside a small head on the pixels.
        mbstd_group: pictures whose variation the discriminator measures together.
        base_width: width of the learnt constant in pixels; None is as wide as high. The picture
            is `resolution / base * base_width` wide.

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
    base_width: int | None = None

    def __post_init__(self) -> None:
        self._check_sizes()
        if not 1 <= self.img_channels <= 4:
            raise ConfigError(f"Pictures have 1 to 4 channels, not {self.img_channels}.")
        if self.conditioning not in ("paper", "embed"):
            raise ConfigError(f"Unknown conditioning {self.conditioning!r}: paper or embed.")
        if self.critic not in ("stylegan2", "features"):
            raise ConfigError(f"Unknown critic {self.critic!r}: stylegan2 or features.")

    def _check_sizes(self) -> None:
        for name in ("resolution", "base", "z_dim", "w_dim", "mbstd_group", "base_width"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_SIZE:
                raise ConfigError(f"{name} must be 1 to {MAX_SIZE}, not {value}.")
        if min(self.num_tags, self.mapping_layers) < 0:
            raise ConfigError("num_tags and mapping_layers cannot be negative.")
        if self.sizes[-1:] != (self.resolution,):
            raise ConfigError(
                f"A picture of {self.resolution} px is not {self.base} px times a power of two.",
                hint=f"Choose for instance {self.base * 16}.",
            )
        if self.width > MAX_SIZE:
            raise ConfigError(f"A picture {self.width} px wide is too large; {MAX_SIZE} at most.")
        missing = [s for s in self.sizes if s not in self.channels]
        if missing:
            raise ConfigError(f"The configuration names no channels for {missing} px.")
        if min(self.channels[s] for s in self.sizes) < 1:
            raise ConfigError("Every resolution needs at least one channel.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Heights of the blocks, coarsest first: 4, 8, ..., resolution."""
        sizes, size = [], self.base
        while size <= self.resolution:
            sizes.append(size)
            size *= 2
        return tuple(sizes)

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return self.shape(self.resolution)[1]

    def shape(self, size: int) -> tuple[int, int]:
        """(height, width) in pixels of the block that is `size` high."""
        return size, size // self.base * (self.base_width or self.base)

    def fitted(self, height: int, width: int, channels: int) -> NetConfig:
        """The same networks for pictures of another width and number of channels.

        Raises:
            ConfigError: the height is another, or the width is no multiple of the scale.

        """
        if height != self.resolution:
            raise ConfigError(
                f"The pictures are {width} x {height}, the preset makes {self.resolution} px "
                "of height.",
                hint=f"Prepare them with --size {self.resolution}, or choose another --preset.",
            )
        scale = self.resolution // self.base
        if width % scale:
            raise ConfigError(
                f"Pictures {width} px wide do not fit: at {height} px high and base {self.base}, "
                f"the width must be a multiple of {scale}.",
                hint=f"Make them {max(1, round(width / scale)) * scale} px wide.",
            )
        base_width = None if width == height else width // scale
        return self.with_(base_width=base_width, img_channels=channels)

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
        try:
            channels = {int(k): int(v) for k, v in data["channels"].items()}
            return cls(**{**data, "channels": channels})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"The network settings are not sound: {error}.") from error

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
    """The named preset, or the settings in a JSON file (`kaogen summary --json` writes one).

    Raises:
        ConfigError: there is no such preset or file, or its settings cannot be.

    """
    if name in PRESETS:
        return PRESETS[name]
    if not name.endswith(".json"):
        raise ConfigError(
            f"Unknown preset {name!r}.",
            hint=f"Choose one of {', '.join(PRESETS)}, or give a .json file.",
        )
    try:
        data = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name} must hold one JSON object of network settings.")
    return NetConfig.from_dict(data)
