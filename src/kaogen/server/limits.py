"""What every request meets first: headers, sizes, the access log and the last net for errors.

All of it is plain ASGI, so that it also covers the static page, refusals and failures.
"""

import json
import logging
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ACCESS = logging.getLogger("kaogen.access")
FAILURES = logging.getLogger("kaogen.server")

BODY_LIMIT = 4 * 1024 * 1024
"""Largest request body in bytes; a dropped PNG is the only body that the API takes."""

SECURITY_HEADERS = {
    # Nothing inline and nothing from elsewhere; pictures may also be made in the page.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

Observer = Callable[[str, int, float], None]
"""Called once for each request with its route, status and seconds."""


def problem_body(status: int, title: str, detail: str) -> bytes:
    """Return the smallest problem+json body, for answers given outside the routes."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json.dumps({**body, "field": None, "nearest": []}).encode()


async def send_problem(
    send: Send, status: int, title: str, detail: str, headers: dict[str, str]
) -> None:
    """Answer with a problem from plain ASGI."""
    body = problem_body(status, title, detail)
    head = {"content-type": "application/problem+json", "content-length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def request_line(scope: Scope) -> str:
    """Return ``GET /path?query`` as it was sent, without anything that could forge a log line."""
    path = scope.get("raw_path") or scope["path"].encode()
    target = path + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    text = target[:400].decode("ascii", "backslashreplace")
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return f"{scope['method']} {printable}" + ("..." if len(target) > 400 else "")


class Guard:
    """The outermost layer: security headers, one log line, and 500 instead of a broken connection.

    HEAD is answered as GET without the body, for every route.
    """

    def __init__(self, app: ASGIApp, observe: Observer) -> None:
        self.app = app
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and see to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        head = scope["method"] == "HEAD"
        inner: Scope = {**scope, "method": "GET"} if head else {**scope}

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(inner, receive, guarded)
        except Exception:
            FAILURES.exception("failed: %s", request_line(scope))
            if status:  # too late for another answer: the server closes the connection
                raise
            await send_problem(guarded, 500, "Internal error", "This is our mistake.", {})
        finally:
            seconds = time.perf_counter() - began
            route = getattr(inner.get("route"), "path", "page")
            self.observe(route, status, seconds)
            ACCESS.info("%d %s %.0f ms", status, request_line(scope), 1000 * seconds)


class TooLarge(Exception):  # noqa: N818 - never leaves this module
    """A body grew past the limit while it was being read."""


class BodyLimit:
    """Answers 413 before reading more than `limit` bytes of a body."""

    def __init__(self, app: ASGIApp, limit: int = BODY_LIMIT) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is read of the body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self.limit:
            await self.refuse(send)
            return
        taken, answered = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                raise TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except TooLarge:
            if answered:
                raise
            await self.refuse(send)

    async def refuse(self, send: Send) -> None:
        """Send 413; the connection closes so that the rest of the body is never read."""
        detail = f"The body is larger than {self.limit} bytes."
        await send_problem(send, 413, "Body too large", detail, {"connection": "close"})
