"""How much one client may ask for: a token bucket each, off unless the owner sets a rate."""

import ipaddress
import math
import time
from collections import OrderedDict

from starlette.types import ASGIApp, Receive, Scope, Send

from kaogen.server.limits import send_problem

MOST_CLIENTS = 10_000
"""Buckets kept; beyond that the one unused for longest is forgotten, and so refilled."""
BURST_SECONDS = 10.0
"""A bucket holds what flows in during this time: a page full of pictures may come at once."""


class RateLimit:
    """Answers 429 with Retry-After to a client that calls ``/v1/`` too often.

    Args:
        app: what is asked when the bucket is not empty.
        rate: requests per second in the long run; 0 switches the limit off.
    """

    def __init__(self, app: ASGIApp, rate: float = 0.0) -> None:
        self.app = app
        self.rate = rate
        self.burst = max(1.0, rate * BURST_SECONDS)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass or refuse it."""
        wait = 0.0
        if self.rate and scope["type"] == "http" and scope["path"].startswith("/v1/"):
            wait = self.take(client_of(scope), time.monotonic())
        if wait == 0:
            await self.app(scope, receive, send)
            return
        seconds = str(math.ceil(wait))
        detail = f"This server answers {self.rate:g} requests a second. Try again in {seconds} s."
        headers = {"retry-after": seconds, "cache-control": "no-store"}
        await send_problem(send, 429, "Too Many Requests", detail, headers)

    def take(self, client: str, now: float) -> float:
        """Take a token; returns 0, or how many seconds until there is one."""
        tokens, at = self._buckets.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - at) * self.rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self.rate
        self._buckets[client] = (tokens - 1 if wait == 0 else tokens, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


def client_of(scope: Scope) -> str:
    """Name the client by its address; of IPv6 by the /64, which is what one household has."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host
    if parsed.version == 4:
        return host
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
