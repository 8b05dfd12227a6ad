"""Every failure as ``application/problem+json`` (RFC 9457), with the field and what is near."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kaogen.errors import (
    KaogenError,
    ModelNotFoundError,
    RecipeError,
    TagConflictError,
    UnknownTagError,
)
from kaogen.server.drawing import BusyError
from kaogen.server.schemas import recipe_parameters


class UnknownModelError(ModelNotFoundError):
    """A recipe names a model that this server does not draw with."""

    def __init__(self, model: str, served: Sequence[str]) -> None:
        self.field = "model"
        self.suggestions = tuple(served)
        hint = f"This server draws with: {', '.join(served)}."
        super().__init__(f'there is no model "{model[:80]}" here.', hint=hint)


class TagNotOfferedError(RecipeError):
    """A tag of the vocabulary that cannot be asked for here."""

    def __init__(self, message: str, *, hint: str, suggestions: Sequence[str]) -> None:
        self.suggestions = tuple(suggestions)
        super().__init__(message, field="tags", hint=hint)


class ProblemResponse(JSONResponse):
    """A problem; never cached, for the next try may succeed."""

    media_type = "application/problem+json"


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    title: str = "",
    field: str | None = None,
    nearest: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """Build a problem.

    Args:
        status: the HTTP status.
        detail: one line for a person: what is wrong, and what to do.
        kind: the error's name, as in ``unknown-tag``; none for plain HTTP failures.
        title: the kind in words; by default the status's own.
        field: the parameter at fault.
        nearest: valid values near the one that was given, best first.
        headers: further headers.
    """
    body = {
        "type": f"urn:kaogen:problem:{kind}" if kind else "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "field": field,
        "nearest": list(nearest),
    }
    return ProblemResponse(body, status, {"Cache-Control": "no-store", **(headers or {})})


def near(word: str, valid: Sequence[str]) -> list[str]:
    """Return the valid values that look like the word, best first, at most three."""
    return difflib.get_close_matches(word, valid, n=3, cutoff=0.5)


def with_nearest(error: RecipeError, query: str) -> RecipeError:
    """Add the valid values nearest to the one at fault, for `explain` to tell."""
    known = {row["name"]: row["schema"] for row in recipe_parameters()}
    if error.field not in known:
        nearest = near(error.field, list(known))
    else:
        given = dict(parse_qsl(query)).get(error.field, "")
        nearest = _clamp(given, known[error.field])
    error.suggestions = tuple(nearest)  # type: ignore[attr-defined]
    return error


def _clamp(text: str, schema: Mapping[str, Any]) -> list[str]:
    """Return the number of the schema's range that is nearest to what was given."""
    if "minimum" not in schema:
        return []
    try:
        value = float(text)
    except ValueError:
        return [f"{schema['default']:g}"] if "default" in schema else []
    if math.isnan(value):
        return []
    bounded = min(max(value, schema["minimum"]), schema["maximum"])
    if schema["type"] == "integer":
        return [str(round(bounded))]
    return [f"{round(bounded, 2):g}"]


def explain(error: KaogenError) -> ProblemResponse:
    """Turn one of our errors into a problem."""
    words = re.findall(r"[A-Z][a-z]*", type(error).__name__.removesuffix("Error"))
    field: str | None = getattr(error, "field", "") or None
    if isinstance(error, UnknownTagError):
        field = error.where or "tags"
    elif isinstance(error, TagConflictError):
        field = "tags"
    nearest: Sequence[str] = getattr(error, "suggestions", ())
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, BusyError) else {}
    return problem(
        error.status,
        str(error),
        kind="-".join(words).lower(),
        title=" ".join(words).capitalize(),
        field=field,
        nearest=nearest,
        headers=headers,
    )


async def _on_kaogen(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, KaogenError)
    return explain(error)


async def _on_http(request: Request, error: Exception) -> ProblemResponse:
    """Tell of an address or a method that is not served."""
    assert isinstance(error, HTTPException)
    detail, nearest = f"{error.detail}.".replace("..", "."), []
    if error.status_code == 404:
        paths = [
            path for path in (getattr(route, "path", "") for route in request.app.routes) if path
        ]
        nearest = near(request.scope["path"][:80], paths)
        detail = "There is nothing at this address."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET")
        detail, nearest = f"This address takes {allowed}.", allowed.split(", ")
    return problem(error.status_code, detail, nearest=nearest, headers=error.headers)


async def _on_invalid(_request: Request, error: Exception) -> ProblemResponse:
    """Tell of the first parameter that FastAPI refused."""
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    expected = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
    field = str(first["loc"][-1])
    given = str(first.get("input", ""))[:80]
    return problem(
        422,
        f"{field}: {first['msg'].rstrip('.')}.",
        kind="parameter",
        title="Parameter",
        field=field,
        nearest=near(given, expected) or expected,
    )


def install(app: FastAPI) -> None:
    """Answer every failure of the app with a problem."""
    app.add_exception_handler(KaogenError, _on_kaogen)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
