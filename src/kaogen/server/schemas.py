"""What the API takes and gives, as the OpenAPI document tells it."""

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from kaogen.recipe import LARGEST_SEED

Language = Literal["en", "ja", "zh", "ko"]


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    type: str = Field(description="The kind of error, or about:blank.")
    title: str = Field(description="The kind of error in words.")
    status: int
    detail: str = Field(description="What is wrong and what to do, in one line.")
    field: str | None = Field(description="The parameter at fault.")
    nearest: list[str] = Field(description="Valid values near the one given, best first.")


class RecipeBody(BaseModel):
    """All that makes one picture."""

    kaogen: int = Field(description="Version of the recipe's form.")
    tags: list[str] = []
    without: list[str] = []
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED)
    psi: float = Field(0.7, ge=0, le=1.5)
    size: int = Field(256, ge=32, le=1024)
    model: str = ""
    variation_seed: int = Field(0, ge=0, le=LARGEST_SEED)
    variation: float = Field(0.0, ge=0, le=1)
    strength: float = Field(1.0, ge=0, le=2)


class CharacterBody(BaseModel):
    """A character without the picture."""

    recipe: RecipeBody = Field(description="The recipe, with seed and model filled in.")
    text: str = Field(description="The recipe in one line of text.")
    url: str = Field(description="Where the picture is found, for ever.")
    tags: list[str] = Field(description="What the picture was drawn to show, unpicked tags too.")
    rare: bool = Field(description="No face the model has seen agrees with all that was picked.")
    model: str
    alt: str = Field(description="The picture in words, for those who do not see it.")


class FoundRecipeBody(BaseModel):
    """The recipe that was found in a picture."""

    recipe: RecipeBody
    text: str
    url: str = Field(description="Where this server draws it; another model draws another face.")
    model: str = Field(description="The model it was drawn with.")
    same_model: bool = Field(description="Whether this server draws with that model.")


class TagBody(BaseModel):
    """One tag, as the model at hand knows it."""

    name: str
    label: str = Field(description="The name in the language asked for.")
    names: dict[str, str]
    aliases: list[str]
    implies: list[str]
    excludes: list[str]
    index: int = Field(description="Place in the vocabulary: the order in a canonical URL.")
    learnt: bool
    obedience: float | None = Field(description="Share of pictures showing it when asked, 0..1.")
    why: str = Field(description="Why it cannot be picked; empty when it can.")


class GroupBody(BaseModel):
    """Tags of one kind."""

    id: str
    name: str = Field(description="The name in the language asked for.")
    names: dict[str, str]
    exclusive: bool = Field(description="At most one of its tags at a time.")
    tags: list[TagBody]


class TagsBody(BaseModel):
    """All tags that this server shows, in groups."""

    model: str
    groups: list[GroupBody]


class ModelBody(BaseModel):
    """A model that this server draws with."""

    id: str
    name: str
    default: bool
    resolution: int = Field(description="The picture's height in pixels, as the model draws it.")
    width: int
    channels: int = Field(description="1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.")
    licence: str
    trained: dict[str, Any]
    tags: int = Field(description="How many tags the vocabulary has.")
    learnt: int = Field(description="How many of them the model has learnt.")
    card: str = Field(description="The model's card, in Markdown.")


class ModelsBody(BaseModel):
    """All models of this server."""

    models: list[ModelBody]


class HealthBody(BaseModel):
    """The process lives, or the model draws."""

    status: Literal["ok"]


_TELL = {
    304: "Not modified: the caller has these bytes already.",
    307: "The same picture at its canonical address, or a new one with a seed.",
    400: "A tag or value that cannot be; `field` and `nearest` say which and what would be valid.",
    404: "No such model.",
    413: "The body is over the limit.",
    422: "A file or parameter that cannot be read.",
    429: "This client asks too often; Retry-After says when to try again.",
    500: "A mistake of the server's.",
    503: "Busy, stopping, or the model does not draw; Retry-After says when to try again.",
}


def statuses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe further statuses of a route for the OpenAPI document; 413 and 500 are everywhere."""
    told: dict[int | str, dict[str, Any]] = {}
    for code in sorted({*codes, 413, 500}):
        told[code] = {"description": _TELL[code]}
        if code >= 400:
            schema = {"$ref": "#/components/schemas/Problem"}
            told[code]["content"] = {"application/problem+json": {"schema": schema}}
        if code in (429, 503):
            told[code]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
        if code == 307:
            told[code]["headers"] = {"Location": {"schema": {"type": "string"}}}
    return told


def _number(kind: str, low: float, high: float, default: float) -> dict[str, Any]:
    return {"type": kind, "minimum": low, "maximum": high, "default": default}


def recipe_parameters() -> list[dict[str, Any]]:
    """Describe the query of a picture's address, in its canonical order."""
    words = "comma-separated, with underscores: pink_hair,blue_eyes"
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("tags", f"What to show; {words}", {"type": "string"}),
        ("not", f"What not to show; {words}", {"type": "string"}),
        (
            "seed",
            "Which character; left out: any, by redirect",
            {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED},
        ),
        ("psi", "Truncation: how far from the average face", _number("number", 0, 1.5, 0.7)),
        ("size", "Pixels of one side", _number("integer", 32, 1024, 256)),
        ("model", "Id of the model; left out: this server's, by redirect", {"type": "string"}),
        ("vs", "Variation seed", _number("integer", 0, LARGEST_SEED, 0)),
        ("variation", "How far toward the variation seed", _number("number", 0, 1, 0)),
        ("strength", "How strongly the tags pull", _number("number", 0, 2, 1)),
    ]
    return [
        {"name": name, "in": "query", "required": False, "description": told, "schema": schema}
        for name, told, schema in rows
    ]


def document(app: FastAPI) -> dict[str, Any]:
    """Build the OpenAPI document once, with the bodies that only `responses` refer to."""
    if app.openapi_schema is None:
        built = get_openapi(
            title=app.title,
            summary=app.summary,
            version=app.version,
            routes=app.routes,
            license_info=app.license_info,
        )
        known = built.setdefault("components", {}).setdefault("schemas", {})
        for body in (Problem, CharacterBody):
            shape = body.model_json_schema(ref_template="#/components/schemas/{model}")
            known |= shape.pop("$defs", {})
            known[body.__name__] = shape
        app.openapi_schema = built
    return app.openapi_schema
