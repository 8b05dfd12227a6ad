"""``kaogen serve``: the website and its API in one process."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
import webbrowser
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from kaogen.errors import ConfigError, PortBusyError

if TYPE_CHECKING:
    from kaogen.studio.draw import Studio

DRAIN_SECONDS = 30
"""How long a stopping server finishes what it has accepted."""


def command(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all.")] = "127.0.0.1",
    model: Annotated[
        str | None, typer.Option(help="Model file or id; by default the one that ships.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    all_tags: Annotated[
        bool, typer.Option("--all-tags", help="Also offer tags unfit for a public page.")
    ] = False,
    waiting: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many pictures may wait.")
    ] = 32,
    cache_mb: Annotated[
        int, typer.Option(min=0, max=65_536, help="Memory for drawn pictures, in MiB.")
    ] = 64,
    rate: Annotated[
        float, typer.Option(min=0, help="API requests per second and client; 0 is no limit.")
    ] = 0.0,
    behind_proxy: Annotated[
        str, typer.Option(help="Addresses of proxies whose X-Forwarded-For is believed.")
    ] = "",
) -> None:
    """Start the website and its API.

    Ctrl-C or SIGTERM stops it once what it has accepted is answered.

    \b
    Example:
      kaogen serve --port 8000 --open
    """
    signal.signal(signal.SIGTERM, _leave)
    # The port first: visitors may queue up in it while the model loads.
    listener = listen(host, port)
    from kaogen.server.app import Settings, create_app
    from kaogen.studio.draw import open_model

    studio = open_model(model)
    settings = Settings(waiting=waiting, cache_bytes=cache_mb << 20, rate=rate, all_tags=all_tags)
    url = address_of(listener)
    _log_to_stderr()
    print(f"kaogen: {url} draws with {_about(studio)}", flush=True)
    if open_page:
        # In a thread: some browsers hold their caller until they are closed.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    import uvicorn

    config = uvicorn.Config(
        create_app(studio, settings),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,  # ours has the time taken, and cannot be forged
        server_header=False,
        proxy_headers=bool(behind_proxy),
        forwarded_allow_ips=behind_proxy,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # raised again after the server has drained
        raise typer.Exit(130) from None


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Raises:
        PortBusyError: another program has the port.
        ConfigError: there is no such address here, or the port needs more rights.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"the host {host!r} is unknown: {error.strerror}.") from error
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # Two servers may bind, one may listen; so a busy port shows here and not later.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            hint = f"Stop it, or give another: --port {port + 1 if port < 65535 else 8000}"
            raise PortBusyError(f"port {port} is taken by another program.", hint=hint) from error
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"cannot listen on {host}:{port}: {why}.") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the URL at which a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _about(studio: Studio) -> str:
    bundle = studio.bundle
    size, count = bundle.manifest.resolution, len(bundle.vocabulary)
    return f"{bundle.id} ({size} px, {len(bundle.learnt)} of {count} tags learnt)"


def _log_to_stderr() -> None:
    """One line per request and one per failure; of the libraries only what is wrong."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("kaogen").setLevel(logging.INFO)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Exit cleanly: before the server runs, and when it raises the signal again afterwards."""
    raise SystemExit(0)
