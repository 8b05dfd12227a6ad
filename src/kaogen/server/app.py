"""The website as one ASGI app: routes, and the order in which a request passes through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from kaogen import __version__
from kaogen.errors import KaogenError, ModelError
from kaogen.server import catalogue, limits, meters, pages, problems, rates, schemas
from kaogen.server.characters import MEDIA_TYPES, Characters, answer, describe
from kaogen.server.drawing import CACHE_BYTES, WAITING, BusyError, Drawing, Form
from kaogen.studio.draw import Studio

PROBE_SECONDS = 2.0
"""How long ``/readyz`` waits for the model to draw."""
FRESH_SECONDS = 10.0
"""A picture drawn so recently shows that the model draws."""
_PICTURE_STATUSES = schemas.statuses(304, 307, 400, 404, 429, 503)


@dataclass(frozen=True)
class Settings:
    """What the server's owner chooses."""

    waiting: int = WAITING
    """How many pictures may wait."""
    cache_bytes: int = CACHE_BYTES
    """How many bytes of encoded pictures are kept in memory."""
    body_limit: int = limits.BODY_LIMIT
    """Largest request body in bytes."""
    rate: float = 0.0
    """Requests per second that one client may send to the API; 0 is no limit."""
    all_tags: bool = False
    """Also show the tags that do not belong on a public page."""
    static: Path = pages.STATIC
    """The built site."""


def create_app(studio: Studio, settings: Settings = Settings()) -> FastAPI:
    """Build the website around an opened model.

    The drawing thread lives from the app's startup to its shutdown, which finishes all that waits.
    """
    hidden = frozenset() if settings.all_tags else catalogue.NOT_PUBLIC
    meter = meters.Meters()
    drawing = Drawing(
        studio,
        partial(describe, hidden=hidden),
        waiting=settings.waiting,
        cache_bytes=settings.cache_bytes,
    )
    characters = Characters(studio, drawing, hidden)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        drawing.start()
        yield
        await asyncio.to_thread(drawing.close)

    app = FastAPI(
        title="kaogen",
        summary="Anime character faces from traits. A picture's address is its recipe.",
        version=__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    _add_pictures(app, characters)
    _add_catalogue(app, studio, hidden)
    _add_health(app, drawing, meter)
    # Not a mount at "/": that would swallow 405 for the routes above.
    app.router.default = pages.Site(settings.static)
    app.openapi = lambda: schemas.document(app)  # type: ignore[method-assign]
    problems.install(app)
    app.add_middleware(limits.BodyLimit, limit=settings.body_limit)
    app.add_middleware(rates.RateLimit, rate=settings.rate)
    app.add_middleware(limits.Guard, observe=meter.observe)  # added last, met first
    app.state.drawing = drawing
    return app


def _add_pictures(app: FastAPI, characters: Characters) -> None:
    """Add the three forms of a character, and the way back from a PNG."""

    def add(form: Form) -> None:
        async def character(request: Request) -> Response:
            return await characters.get(request, form)

        told: dict[str, Any] = {"description": "The character."}
        shape = {"type": "string", "format": "binary"}
        if form == "json":
            shape = {"$ref": "#/components/schemas/CharacterBody"}
        told["content"] = {MEDIA_TYPES[form]: {"schema": shape}}
        app.add_api_route(
            f"/v1/characters.{form}",
            character,
            name=f"character_{form}",
            summary=f"A character, as {form.upper()}",
            response_class=Response,
            responses={200: told, **_PICTURE_STATUSES},
            openapi_extra={"parameters": schemas.recipe_parameters()},
        )

    for form in MEDIA_TYPES:
        add(form)

    @app.post(
        "/v1/recipe",
        summary="The recipe inside a PNG that kaogen drew",
        responses=schemas.statuses(400, 422, 429),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def recipe(request: Request) -> schemas.FoundRecipeBody:
        return await characters.read_png(request)


def _add_catalogue(app: FastAPI, studio: Studio, hidden: frozenset[str]) -> None:
    """Add the tags and the models."""

    @app.get("/v1/tags", summary="All tags, in groups", responses=schemas.statuses(422, 429))
    async def tags(response: Response, lang: schemas.Language = "en") -> schemas.TagsBody:
        response.headers["Cache-Control"] = "no-cache"
        return catalogue.tags_body(studio.bundle, lang, hidden)

    @app.get("/v1/models", summary="The models drawn with", responses=schemas.statuses(429))
    async def models(response: Response) -> schemas.ModelsBody:
        response.headers["Cache-Control"] = "no-cache"
        return catalogue.models_body(studio.bundle)


def _add_health(app: FastAPI, drawing: Drawing, meter: meters.Meters) -> None:
    """Add what supervisors ask."""

    @app.get("/healthz", summary="Does the process live?", responses=schemas.statuses())
    async def healthz(response: Response) -> schemas.HealthBody:
        response.headers["Cache-Control"] = "no-store"
        return schemas.HealthBody(status="ok")

    @app.get("/readyz", summary="Does the model draw?", responses=schemas.statuses(503))
    async def readyz(response: Response) -> schemas.HealthBody:
        response.headers["Cache-Control"] = "no-store"
        # Under load pictures are finished all the time, so this costs nothing just then.
        if not drawing.drew_within(FRESH_SECONDS):
            await _draw_once(drawing)
        return schemas.HealthBody(status="ok")

    @app.get(
        "/metrics",
        summary="Counters, in Prometheus' text format",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **schemas.statuses(),
        },
    )
    async def metrics() -> Response:
        return Response(
            meter.render(drawing),
            headers={"Cache-Control": "no-store", "Content-Type": meters.CONTENT_TYPE},
        )


async def _draw_once(drawing: Drawing) -> None:
    """Raise a KaogenError of status 503 unless the model draws a small picture in time."""
    try:
        await asyncio.wait_for(answer(drawing.probe()), PROBE_SECONDS)
    except TimeoutError:
        raise BusyError(f"No picture was drawn within {PROBE_SECONDS:g} s.", 2) from None
    except BusyError:
        raise
    except KaogenError as error:
        raise ModelError(f"The model does not draw: {error.message}", hint=error.hint) from error
    except Exception as error:
        raise ModelError(f"The model does not draw: {error}") from error
