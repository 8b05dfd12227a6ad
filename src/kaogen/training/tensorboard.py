"""TensorBoard event files, written without TensorBoard.

The format is a TFRecord file of protocol buffers (`tensorflow/core/util/event.proto` and
`framework/summary.proto`, Apache-2.0), of which scalars, pictures and text need a handful of
fields; so a person who wants TensorBoard installs it, and nobody else has to.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from kaogen.data.archives.crc32c import masked_crc32c, masked_crc32c_of_length

FOLDER = "tensorboard"

# What each figure of `progress.jsonl` is called there.
TAGS = {
    "d": "Loss/D",
    "g": "Loss/G",
    "tags": "Loss/tags",
    "r1": "Loss/R1",
    "r2": "Loss/R2",
    "gp": "Loss/gradient penalty",
    "path": "Loss/path length",
    "real": "Scores/real",
    "held": "Scores/held out",
    "fake": "Scores/fake",
    "rt": "Overfitting/r_t",
    "rv": "Overfitting/r_v",
    "p": "Overfitting/augmentation p",
    "variety": "Variety/all",
    "z_variety": "Variety/by z alone",
    "rate": "Progress/images a second",
    "minutes": "Progress/minutes",
    "memory": "Progress/memory GiB",
    "lr_g": "Progress/learning rate",
    "labels": "Progress/labels count",
}

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_STRING = 7  # DataType.DT_STRING
_START = 1  # SessionLog.START


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte, least first."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: float | str | bytes, *, wide: bool = False) -> bytes:
    """One field of a message; a float is single precision unless `wide`."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    if isinstance(value, float):
        kind, form = (_DOUBLE, "<d") if wide else (_FLOAT, "<f")
        return varint(number << 3 | kind) + struct.pack(form, value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | _BYTES) + varint(len(data)) + data


def scalar(tag: str, value: float) -> bytes:
    """Summary.Value with a number."""
    return field(1, tag) + field(2, float(value))


def picture(tag: str, image: Image.Image) -> bytes:
    """Summary.Value with a picture, stored as JPEG."""
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=88)
    shape = field(1, image.height) + field(2, image.width) + field(3, len(image.getbands()))
    return field(1, tag) + field(4, shape + field(4, stored.getvalue()))


def text(tag: str, markdown: str) -> bytes:
    """Summary.Value with words, which TensorBoard's text plugin shows as Markdown."""
    one = field(2, field(1, 1))  # TensorShapeProto with one dimension of size 1
    tensor = field(1, _STRING) + field(2, one) + field(8, markdown)
    plugin = field(1, field(1, "text"))
    return field(1, tag) + field(8, tensor) + field(9, plugin)


class EventFile:
    """One event file; each start of a run opens another, which TensorBoard joins.

    Args:
        folder: made where it is missing.
        seen: images seen so far. What earlier files tell beyond that was rolled back with the
            checkpoint, and TensorBoard is told to forget it.

    """

    def __init__(self, folder: Path, seen: int) -> None:
        self.path = folder / (
            f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{seen}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._event(0, field(3, "brain.Event:2"))
        self._event(seen, field(7, field(1, _START)))

    def write(self, seen: int, *values: bytes) -> None:
        """Add values at a number of images seen."""
        self._event(seen, field(5, b"".join(field(1, value) for value in values)))

    def scalars(self, seen: int, figures: Mapping[str, object]) -> None:
        """Add those figures of a tick that are numbers with a name in `TAGS`."""
        named = ((TAGS[key], value) for key, value in figures.items() if key in TAGS)
        told = [scalar(tag, value) for tag, value in named if isinstance(value, int | float)]
        if told:
            self.write(seen, *told)

    def _event(self, step: int, what: bytes) -> None:
        data = field(1, time.time(), wide=True) + field(2, step) + what
        record = struct.pack("<QI", len(data), masked_crc32c_of_length(len(data)))
        record += data + struct.pack("<I", masked_crc32c(data))
        # Opened for each: nothing is held that a kill could lose.
        with self.path.open("ab") as file:
            file.write(record)
