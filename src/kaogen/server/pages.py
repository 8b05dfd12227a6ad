"""The page: the built site's files, each cached for as long as its name allows."""

import os
from pathlib import Path

from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).with_name("static")
"""Where `npm run build` in site/ puts the site."""

_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>kaogen</title></head><body>
<h1>kaogen</h1>
<p>The API is here; the page has not been built yet. With Node 20, in the repository:</p>
<pre>cd site
npm ci
npm run build</pre>
<p>Then reload. Until then: <a href="/v1/characters.png">a character</a>,
<a href="/v1/tags">the tags</a>, <a href="/openapi.json">the API's description</a>.</p>
</body></html>
"""


class Site(StaticFiles):
    """The files of `folder`, looked for at each request: building needs no restart."""

    def __init__(self, folder: Path = STATIC) -> None:
        self.folder = folder
        super().__init__(directory=folder, html=True, check_dir=False)
        self.config_checked = True  # a missing folder is not a failure here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, with how to build the site, or with 404."""
        if scope["type"] != "http" or (self.folder / "index.html").is_file():
            await super().__call__(scope, receive, send)
        elif scope["path"] != "/":
            raise HTTPException(404)
        elif scope["method"] != "GET":
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        else:
            response = HTMLResponse(_NOT_BUILT, headers={"Cache-Control": "no-store"})
            await response(scope, receive, send)

    def file_response(
        self,
        full_path: "str | os.PathLike[str]",
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Add how long the file may be kept.

        The build puts a hash of the content into the names below ``assets/``, so those never
        change; everything else is asked for again each time and usually answered by 304.
        """
        response = super().file_response(full_path, stat_result, scope, status_code)
        inside = Path(full_path).relative_to(self.folder.resolve())
        hashed = inside.parts[0] == "assets"
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if hashed else "no-cache"
        )
        return response
