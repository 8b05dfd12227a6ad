"""A recipe: all that makes one picture, and its forms: text, URL query, JSON, PNG text chunks.

A picture is a pure function of its recipe, so each form has one canonical spelling and reads back
to the same recipe.

============== ====== =====================================================================
field          key    meaning
============== ====== =====================================================================
tags           tags   tags that the character shall show
without        not    tags that it shall not show
seed           seed   0 to 2**32-1: which character; None lets whoever draws choose
psi            psi    0 to 1.5: truncation; small is typical, large is varied
size           size   32 to 1024: the longer edge of the picture in pixels
model          model  id of a model file; "" is the one that ships
variation_seed vs     the seed that `variation` leans toward
variation      variation  0 to 1: how far the latent leans, along the sphere
strength       strength   0 to 2: how strongly the tags show; 1 is as trained
============== ====== =====================================================================
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote

from kaogen.errors import RecipeError
from kaogen.fields import Number, quoted
from kaogen.pngtext import read_text
from kaogen.tags import PAPER, Vocabulary

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

VERSION: Final = 1
LARGEST_SEED: Final = 2**32 - 1
LONGEST: Final = 8192
"""Characters of text, URL query or JSON that are read at most."""


_NUMBERS: Final = (
    Number("seed", "seed", 0, LARGEST_SEED, whole=True),
    Number("psi", "psi", 0, 1.5),
    Number("size", "size", 32, 1024, whole=True),
    Number("variation_seed", "vs", 0, LARGEST_SEED, whole=True),
    Number("variation", "variation", 0, 1),
    Number("strength", "strength", 0, 2),
)
_NUMBER_OF: Final = {number.key: number for number in _NUMBERS}
# The order in every form; tags and refused tags come first.
_KEYS: Final = ("seed", "psi", "size", "model", "vs", "variation", "strength")
_NAME_OF: Final = {"vs": "variation_seed"}
# AUTOMATIC1111's names of the fields, where it has one.
_PARAMETERS: Final = {
    "Seed": "seed",
    "Size": "size",
    "Model": "model",
    "Variation seed": "vs",
    "Variation seed strength": "variation",
    "Psi": "psi",
    "Tag strength": "strength",
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that makes one picture; see the module's table for the fields.

    The constructor checks values. That tags are known, agree and are in order is up to a
    vocabulary: see `canonical`. The ``from_...`` functions do both.

    Raises:
        RecipeError: a value is of the wrong type or out of range.
    """

    tags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    seed: int | None = None
    psi: float = 0.7
    size: int = 256
    model: str = ""
    variation_seed: int = 0
    variation: float = 0.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tags", "without"):
            object.__setattr__(self, name, _names(getattr(self, name), name))
        for number in _NUMBERS:
            value = getattr(self, number.name)
            if number.name != "seed" or value is not None:
                object.__setattr__(self, number.name, number.check(value))
        if self.variation == 0:
            # It has no influence: one picture, one recipe.
            object.__setattr__(self, "variation_seed", 0)
        _check_model(self.model)

    def canonical(self, vocabulary: Vocabulary = PAPER) -> Recipe:
        """Spell the tags as the vocabulary does, in its order, and check that they agree.

        Raises:
            UnknownTagError, TagConflictError: the vocabulary does not allow these tags.
        """
        yes = vocabulary.canonical(vocabulary.resolve(word, where="tags") for word in self.tags)
        no = vocabulary.canonical(vocabulary.resolve(word, where="not") for word in self.without)
        vocabulary.check(yes, no)
        return dataclasses.replace(self, tags=yes, without=no)

    def to_text(self) -> str:
        """``pink hair, -glasses, seed:42, psi:0.9``; fields at their default are left out."""
        fields = (f"{key}:{value}" for key, value in self._set().items())
        return ", ".join((*self.tags, *(f"-{name}" for name in self.without), *fields))

    def to_query(self) -> str:
        """``tags=pink_hair,blue_eyes&not=glasses&seed=42``; defaults are left out."""
        lists = (("tags", self.tags), ("not", self.without))
        parts = [f"{key}={','.join(map(_in_url, names))}" for key, names in lists if names]
        parts += [f"{key}={_in_url(str(value))}" for key, value in self._set().items()]
        return "&".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Every field under its own name, after ``"kaogen": 1``; plain JSON values."""
        values = {key: _plain(value) for key, value in vars(self).items()}
        return {"kaogen": VERSION, **values}

    def digest(self) -> str:
        """SHA-256 of the JSON form as 64 hexadecimal digits: the recipe's name in caches."""
        return hashlib.sha256(_line(self.to_json()).encode()).hexdigest()

    def _set(self) -> dict[str, Any]:
        """Key -> value of the fields beyond tags that are not at their default, in order."""
        values = {key: getattr(self, _NAME_OF.get(key, key)) for key in _KEYS}
        changed = {k: _plain(v) for k, v in values.items() if v != _DEFAULTS[_NAME_OF.get(k, k)]}
        if self.variation:
            changed["vs"] = self.variation_seed  # said even when it is 0: the two go together
        return {key: changed[key] for key in _KEYS if key in changed}

    @staticmethod
    def from_text(text: str, vocabulary: Vocabulary = PAPER) -> Recipe:
        """Read `to_text`'s form, tags in any spelling; raises InputError."""
        _check_length(text, "text")
        words, fields = [], {}
        for piece in re.split(r"[,;\n、，；]", text):
            key, colon, value = piece.partition(":")
            key = re.sub(r"^variation[ _]seed$", "vs", key.strip().casefold())
            if not colon or not key.strip("- "):  # a tag may begin with a colon: ":d"
                words.append(piece)
            elif key in fields:
                raise RecipeError(f"{key} is given twice.", field=key)
            else:
                fields[key] = value.strip()
        yes, no = vocabulary.parse(",".join(words), where="text")
        return _make(yes, no, fields, vocabulary)

    @staticmethod
    def from_query(query: str, vocabulary: Vocabulary = PAPER) -> Recipe:
        """Read a URL's query, with or without its question mark; raises InputError."""
        _check_length(query, "the query")
        try:
            pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=32)
        except ValueError as error:
            raise RecipeError(f"the query cannot be read: {error}.") from error
        fields = dict(pairs)
        for key in fields:
            if sum(key == other for other, _ in pairs) > 1:
                raise RecipeError(f"{quoted(key)} is given twice.", field=key)
        yes, no = vocabulary.parse(fields.pop("tags", ""), where="tags")
        also, refused = vocabulary.parse(fields.pop("not", ""), where="not")
        return _make(yes, (*no, *also, *refused), fields, vocabulary)

    @staticmethod
    def from_json(data: str | bytes | Mapping[str, Any], vocabulary: Vocabulary = PAPER) -> Recipe:
        """Read `to_json`'s form, also as text; fields may be left out; raises InputError."""
        values = dict(data if isinstance(data, Mapping) else _load(data))
        version = values.pop("kaogen", None)
        if version != VERSION or isinstance(version, bool):
            raise RecipeError(
                f"a recipe of version {quoted(version)} cannot be read.",
                field="kaogen",
                hint=f'This kaogen reads {{"kaogen": {VERSION}, ...}}.',
            )
        for key in values:
            if key not in _DEFAULTS:
                raise _unknown_field(key, _DEFAULTS)
        return Recipe(**values).canonical(vocabulary)


_DEFAULTS: Final[dict[str, Any]] = {f.name: f.default for f in dataclasses.fields(Recipe)}


def png_info(recipe: Recipe) -> PngInfo:
    """The text chunks that carry a recipe, for ``Image.save(..., pnginfo=)``.

    ``kaogen`` (iTXt) is the JSON form; ``parameters`` (tEXt) is what AUTOMATIC1111's web UI and
    the tools around it show.
    """
    from PIL.PngImagePlugin import PngInfo

    values = {k: getattr(recipe, _NAME_OF.get(k, k)) for k in _PARAMETERS.values()}
    values |= {"size": f"{recipe.size}x{recipe.size}"}
    fields = [f"{name}: {_plain(values[key])}" for name, key in _PARAMETERS.items()]
    refused = [f"Negative prompt: {', '.join(recipe.without)}"] if recipe.without else []
    last = ", ".join(("Steps: 1", "Sampler: kaogen", *fields))
    info = PngInfo()
    info.add_text("parameters", "\n".join((", ".join(recipe.tags), *refused, last)))
    info.add_itxt("kaogen", _line(recipe.to_json()))
    return info


def from_png(source: bytes | str | Path, vocabulary: Vocabulary = PAPER) -> Recipe:
    """Read the recipe inside a PNG file, given as content or path; the picture is not decoded.

    Raises:
        ImageError: the file is no sound PNG.
        InputError: it has no recipe of kaogen, or one that the vocabulary does not allow.
        OSError: the path cannot be opened.
    """
    data = source if isinstance(source, bytes) else Path(source)
    texts = read_text(data, ("kaogen", "parameters"))
    if "kaogen" in texts:
        return Recipe.from_json(texts["kaogen"], vocabulary)
    *lines, last = texts.get("parameters", "").splitlines() or [""]
    if "Sampler: kaogen" not in last:
        raise RecipeError("the PNG file has no recipe of kaogen.", field="png")
    # Some tools keep only the "parameters" chunk.
    given = dict(pair.split(": ", 1) for pair in last.split(", ") if ": " in pair)
    fields = {
        key: given[name] for name, key in _PARAMETERS.items() if given.get(name, "None") != "None"
    }
    fields["size"] = fields.get("size", "256").partition("x")[0]
    negative = "Negative prompt: "
    yes, _ = vocabulary.parse(",".join(x for x in lines if not x.startswith(negative)), where="png")
    no, _ = vocabulary.parse(
        ",".join(x.removeprefix(negative) for x in lines if x.startswith(negative)), where="png"
    )
    return _make(yes, no, fields, vocabulary)


def _make(
    yes: Iterable[str],
    no: Iterable[str],
    fields: Mapping[str, str],
    vocabulary: Vocabulary,
) -> Recipe:
    values: dict[str, Any] = {}
    for key, text in fields.items():
        if key not in _KEYS:
            raise _unknown_field(key, ("tags", "not", *_KEYS))
        values[_NAME_OF.get(key, key)] = _NUMBER_OF[key].read(text) if key != "model" else text
    return Recipe(tuple(yes), tuple(no), **values).canonical(vocabulary)


def _line(values: Mapping[str, Any]) -> str:
    """JSON in one line of ASCII, the same for the same values."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False)


def _load(data: str | bytes) -> dict[str, Any]:
    _check_length(data, "JSON")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"the recipe is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise RecipeError("the recipe is not a JSON object.")
    return values


def _names(value: object, field: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise RecipeError(f"{field} must be a list of tags, not {quoted(value)}.", field=field)
    names = tuple(value)
    if not all(isinstance(name, str) and name for name in names):
        raise RecipeError(f"{field} must hold only tags.", field=field)
    return names


def _check_model(model: object) -> None:
    if not isinstance(model, str) or not re.fullmatch(r"([A-Za-z0-9][\w.-]{0,79})?", model, re.A):
        raise RecipeError(
            f"model must be a model's id, not {quoted(model)}.",
            field="model",
            hint="An id has letters, digits, dots and dashes.",
        )


def _check_length(data: str | bytes, what: str) -> None:
    if len(data) > LONGEST:
        raise RecipeError(f"{what} is longer than {LONGEST} characters.")


def _unknown_field(key: object, known: Iterable[str]) -> RecipeError:
    near = difflib.get_close_matches(str(key)[:80], list(known), 3, cutoff=0.5) or known
    return RecipeError(
        f"a recipe has no field {quoted(key)}.",
        field=str(key)[:80],
        hint=f"Nearest: {', '.join(near)}.",
    )


def _plain(value: Any) -> Any:
    """As JSON has it; 1.0 is written 1, as JavaScript does: one spelling for both sides."""
    if isinstance(value, tuple):
        return list(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _in_url(word: str) -> str:
    return quote(word.replace(" ", "_"), safe="!~*'()")  # as encodeURIComponent does
