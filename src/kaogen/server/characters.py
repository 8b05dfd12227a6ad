"""``/v1/characters.*`` and ``/v1/recipe``: a picture's address is its recipe, both ways."""

import asyncio
import hashlib
import json
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import replace
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from kaogen import __version__
from kaogen.errors import RecipeError
from kaogen.recipe import Recipe, from_png
from kaogen.server import problems
from kaogen.server.catalogue import alt_text
from kaogen.server.drawing import Drawing, Form
from kaogen.server.schemas import CharacterBody, FoundRecipeBody, RecipeBody
from kaogen.studio.draw import Character, Studio

MEDIA_TYPES: dict[Form, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "json": "application/json",
}
FOR_EVER = "public, max-age=31536000, immutable"


async def answer(future: "Future[bytes]") -> bytes:
    """Wait for the drawing thread; leaving early does not stop a picture others wait for."""
    return await asyncio.shield(asyncio.wrap_future(future))


def address(recipe: Recipe, form: Form = "png") -> str:
    """Return the path at which the picture of a recipe is found."""
    return f"/v1/characters.{form}?{recipe.to_query()}"


def describe(character: Character, *, hidden: Collection[str]) -> bytes:
    """Return the ``.json`` form of a character, without the tags that are not told of."""
    recipe = character.recipe
    shown = [name for name in character.tags if name not in hidden]
    body = CharacterBody(
        recipe=RecipeBody.model_validate(recipe.to_json()),
        text=recipe.to_text(),
        url=address(recipe),
        tags=shown,
        rare=character.rare,
        model=recipe.model,
        alt=alt_text(shown),
    )
    return body.model_dump_json().encode()


class Characters:
    """Reads recipes from addresses and PNG files, and answers with pictures.

    Args:
        studio: the model that `drawing` draws with.
        drawing: the queue.
        hidden: tags that may not be asked for here, and are not told of.
    """

    def __init__(self, studio: Studio, drawing: Drawing, hidden: Collection[str]) -> None:
        self.studio = studio
        self.drawing = drawing
        self.hidden = hidden

    async def get(self, request: Request, form: Form) -> Response:
        """Answer with the picture, or send the caller to its canonical address.

        Raises:
            KaogenError: the recipe cannot be read or drawn here, or the queue is full.
        """
        query = request.scope["query_string"].decode("ascii", "replace")
        given = self.read(query)
        recipe = self.studio.complete(given)
        # Decoded, since callers differ in what they escape, and some would never stop.
        if parse_qsl(recipe.to_query()) != parse_qsl(query, keep_blank_values=True):
            return self.redirect(request, recipe, form, once=given.seed is None)
        etag = _etag(recipe, form)
        headers = {"ETag": etag, "Cache-Control": FOR_EVER}
        if etag in _etags(request):
            return Response(status_code=304, headers=headers)
        data = await answer(self.drawing.picture(recipe, form))
        if form != "json":
            name = f"kaogen-{recipe.seed}.{form}"
            headers["Content-Disposition"] = f'inline; filename="{name}"'
        return Response(data, headers=headers, media_type=MEDIA_TYPES[form])

    def read(self, query: str) -> Recipe:
        """Read an address's query as a recipe that this server may draw; the seed may be None."""
        bundle = self.studio.bundle
        try:
            recipe = Recipe.from_query(query, bundle.vocabulary)
        except RecipeError as error:
            raise problems.with_nearest(error, query) from error
        if recipe.model not in ("", bundle.id, bundle.manifest.name):
            raise problems.UnknownModelError(recipe.model, [bundle.id])
        for name in recipe.tags:
            self.check_tag(name)
        return recipe

    def check_tag(self, name: str) -> None:
        """Refuse a tag that this page leaves out or the model has not learnt."""
        bundle = self.studio.bundle
        offered = bundle.learnt.difference(self.hidden)
        if name in offered:
            return
        group = next(group for group in bundle.vocabulary.groups if name in group.tags)
        nearest = [other for other in group.tags if other in offered]
        if name in self.hidden:
            message = f'"{name}" cannot be asked for on this server.'
            hint = "Its owner can allow it with --all-tags."
        else:
            message, hint = f'this model has not learnt "{name}".', ""
        if nearest:
            hint = f"{hint} In the same group: {', '.join(nearest)}.".strip()
        raise problems.TagNotOfferedError(message, hint=hint, suggestions=nearest)

    def redirect(self, request: Request, recipe: Recipe, form: Form, *, once: bool) -> Response:
        """Send the caller to the canonical address; `once`: the next one goes elsewhere."""
        location = request.scope.get("root_path", "") + address(recipe, form)
        return RedirectResponse(
            location, 307, {"Cache-Control": "no-store" if once else "no-cache"}
        )

    async def read_png(self, request: Request) -> FoundRecipeBody:
        """Read the recipe inside a PNG that kaogen drew."""
        recipe = from_png(await request.body(), self.studio.bundle.vocabulary)
        here = replace(recipe, model=self.studio.bundle.id)
        return FoundRecipeBody(
            recipe=RecipeBody.model_validate(recipe.to_json()),
            text=recipe.to_text(),
            url=address(here),
            model=recipe.model,
            same_model=recipe.model in ("", self.studio.bundle.id),
        )


def _etag(recipe: Recipe, form: Form) -> str:
    """Name the bytes: the recipe, which names the model, the form, and who encodes it."""
    named = json.dumps([recipe.digest(), form, __version__])
    return f'"{hashlib.sha256(named.encode()).hexdigest()[:32]}"'


def _etags(request: Request) -> set[str]:
    """Return the tags that the caller has; weak ones compare equal here (RFC 9110, 13.1.2)."""
    given = request.headers.get("if-none-match", "")
    return {word.strip().removeprefix("W/") for word in given.split(",")}
