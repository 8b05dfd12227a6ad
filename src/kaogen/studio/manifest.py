"""model.json: what a model file says about itself, and the checks on it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PAYLOAD = ("mapping.onnx", "synthesis.onnx", "labels.bin", "card.md")
MAX_BUNDLE = 1 << 30
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=2000)]


class _Part(BaseModel):
    """Frozen, and tolerant of fields that a later release may add."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TagInfo(_Part):
    """One tag of the vocabulary, as this model knows it."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    learnt: bool
    """Whether it may be asked for."""
    share: Share
    """Share of the training faces that show it."""
    obedience: Share | None = None
    """Measured: how often it shows when asked for."""
    unasked: Share | None = None
    """Measured: how often it shows when refused."""


class LabelTable(_Part):
    """The shape of labels.bin: `count` rows of `bytes_per_row` bytes, first tag = highest bit."""

    count: Annotated[int, Field(ge=1, le=50_000_000)]
    bytes_per_row: Annotated[int, Field(ge=1, le=512)]


class Truncation(_Part):
    """How w is pulled toward its centre."""

    psi: Annotated[float, Field(ge=0, le=1.5)] = 0.7
    """The recommended variety."""
    centre_samples: Annotated[int, Field(ge=1, le=4096)] = 128
    """How many fixed latents the centre of w given the tags is averaged over."""
    w_avg: list[Annotated[float, Field(allow_inf_nan=False)]]
    """[w_dim], the mean of w over tags and latents."""


class Ancestor(_Part):
    """A model that training started from."""

    name: Text
    """A model file's id, or a run folder's name."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of its file of weights."""
    kimg: Annotated[float, Field(ge=0)]
    """Thousands of images that it had been trained for."""


class Trained(_Part):
    """Where the model comes from."""

    kimg: Annotated[float, Field(ge=0)]
    """Thousands of real images shown in training."""
    minutes: Annotated[float, Field(ge=0)] | None = None
    data: Text = ""
    images: Annotated[int, Field(ge=0)] = 0
    ancestors: Annotated[list[Ancestor], Field(max_length=64)] = []
    """What it was started from (`--init-from`), the nearest first."""


class FileInfo(_Part):
    """One file of the payload."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=MAX_BUNDLE)]


class Manifest(_Part):
    """model.json."""

    format: Literal["kaogen-bundle"] = "kaogen-bundle"
    version: Literal[1] = 1
    id: Annotated[str, Field(max_length=80)] = ""
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    resolution: Annotated[int, Field(ge=4, le=2048)]
    """Height in pixels."""
    width: Annotated[int | None, Field(ge=1, le=2048)] = None
    """In pixels; none for square pictures."""
    channels: Annotated[int, Field(ge=1, le=4)] = 3
    """1 grey, 2 grey and alpha, 3 RGB, 4 RGBA."""
    z_dim: Annotated[int, Field(ge=1, le=4096)]
    w_dim: Annotated[int, Field(ge=1, le=4096)]
    num_ws: Annotated[int, Field(ge=1, le=64)]
    tags: Annotated[list[TagInfo], Field(min_length=1, max_length=4096)]
    labels: LabelTable
    truncation: Truncation
    trained: Trained
    licence: Text = ""
    files: dict[str, FileInfo]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.labels.bytes_per_row != (len(self.tags) + 7) // 8:
            raise ValueError("labels: bytes_per_row does not fit the number of tags")
        if len(self.truncation.w_avg) != self.w_dim:
            raise ValueError("truncation: w_avg has not w_dim numbers")
        if set(self.files) != set(PAYLOAD):
            raise ValueError(f"files: must be {', '.join(PAYLOAD)}")
        if self.files["labels.bin"].bytes != self.labels.count * self.labels.bytes_per_row:
            raise ValueError("files: labels.bin has the wrong size")
        return self

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network draws."""
        return self.channels, self.resolution, self.width or self.resolution

    @classmethod
    def sealed(cls, payload: Mapping[str, bytes], **fields: Any) -> Self:
        """The manifest of these files: hashes, sizes and id filled in, and all of it checked."""
        files = {
            name: FileInfo(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            for name, data in payload.items()
        }
        draft = cls(files=files, **fields)
        return draft.model_copy(update={"id": draft.content_id()})

    def content_id(self) -> str:
        """The name with 8 hex digits of the hash of all that decides a picture's pixels.

        The card and the measured figures are left out: a better description of a model must not
        invalidate the recipes that people keep.
        """
        drawn = {
            "tags": [[tag.name, tag.learnt] for tag in self.tags],
            "truncation": [self.truncation.centre_samples, self.truncation.w_avg],
            "files": [self.files[name].sha256 for name in PAYLOAD[:3]],
        }
        digest = hashlib.sha256(json.dumps(drawn, separators=(",", ":")).encode()).hexdigest()
        return f"{self.name}-{digest[:8]}"
