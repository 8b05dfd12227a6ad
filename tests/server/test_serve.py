"""``kaogen serve`` as a real process."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from kaogen.cli.serve import address_of, listen
from kaogen.errors import ConfigError, PortBusyError
from kaogen.recipe import Recipe
from kaogen.studio.draw import Studio

KAOGEN = [sys.executable, "-m", "kaogen.cli.main"]


def run(*words: object, **env: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*KAOGEN, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, timeout=60, env={**os.environ, **env}, check=False
    )


@contextmanager
def serving(model: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [*KAOGEN, "serve", "--port", "0", "--model", str(model), *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.match(r"kaogen: (http://\S+/) draws with tiny-\w{8} \(16 px, ", line)
            assert found, line
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.kill()


def test_first_picture_and_a_clean_stop(tiny: Path, studio: Studio) -> None:
    began = time.monotonic()
    with serving(tiny) as (process, url):
        query = "tags=smile&seed=1"
        answer = httpx.get(f"{url}v1/characters.png?{query}", follow_redirects=True, timeout=20)
        seconds = time.monotonic() - began
        assert answer.status_code == 200
        assert seconds < 5
        # The same bytes from the API, the library and the command line, in three processes.
        assert answer.content == studio.draw(Recipe.from_query(query)).png()
        out = tiny.with_name("one.png")
        drawn = run("draw", "smile", "--seed", 1, "-n", 1, "-o", out, "--model", tiny)
        assert drawn.returncode == 0, drawn.stderr
        assert out.read_bytes() == answer.content
        assert httpx.get(f"{url}readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert "200 GET /v1/characters.png?tags=smile&seed=1&model=tiny" in errors


def test_stopping_loses_no_accepted_request(tiny: Path) -> None:
    with serving(tiny) as (process, url):
        model = httpx.get(f"{url}v1/models").json()["models"][0]["id"]
        statuses: list[int] = []
        sent = threading.Barrier(9)

        def ask(seed: int) -> None:
            with httpx.Client(timeout=20) as client:
                client.get(f"{url}healthz")  # the connection is accepted
                sent.wait(20)
                answer = client.get(f"{url}v1/characters.png?seed={seed}&size=1024&model={model}")
                statuses.append(answer.status_code)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        sent.wait(20)
        asked = 0
        while asked < 8:  # all are accepted, most wait
            text = httpx.get(f"{url}metrics").text
            asked = int(re.search(r"^kaogen_cache_misses_total (\d+)", text, re.M)[1])
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        assert process.wait(20) == 0
        assert statuses == [200] * 8


def test_interrupt_exits_130(tiny: Path) -> None:
    with serving(tiny) as (process, url):
        httpx.get(f"{url}healthz")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "Traceback" not in errors


def test_busy_port_is_one_line(tiny: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", port, "--model", tiny)
        assert done.returncode == 6
        assert done.stdout == b""
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"kaogen: error: port {port} is taken")
        assert "--port" in line


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    done = run("serve", "--port", 0, "--model", tmp_path / "none.kaogen")
    assert done.returncode == 4
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("kaogen: error: there is no model at ")


def test_broken_model_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.kaogen"
    broken.write_bytes(b"PK\x03\x04 not really")
    done = run("serve", "--port", 0, "--model", broken)
    assert done.returncode == 4
    assert len(done.stderr.decode().splitlines()) == 1


def test_wrong_option_is_one_line() -> None:
    done = run("serve", "--port", "70000")
    assert done.returncode == 2
    assert len(done.stderr.decode().splitlines()) == 1


def test_addresses() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"http://127.0.0.1:{port}/"
        with pytest.raises(PortBusyError):
            listen("127.0.0.1", port)
    with listen("0.0.0.0", 0) as listener:
        assert address_of(listener).startswith("http://127.0.0.1:")
    with pytest.raises(ConfigError):
        listen("no.such.host.invalid", 0)
    with pytest.raises(ConfigError):
        listen("192.0.2.1", 0)  # reserved for documentation: never this machine's


def test_ipv6_address() -> None:
    try:
        listener = listen("::1", 0)
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.family == socket.AF_INET6
        assert address_of(listener).startswith("http://[::1]:")


def test_rate_is_per_client_behind_a_proxy(tiny: Path) -> None:
    with serving(tiny, "--rate", "0.1", "--behind-proxy", "127.0.0.1") as (_, url):

        def ask(client: str) -> int:
            return httpx.get(f"{url}v1/models", headers={"X-Forwarded-For": client}).status_code

        assert [ask("203.0.113.1"), ask("203.0.113.1"), ask("203.0.113.2")] == [200, 429, 200]
    with serving(tiny, "--rate", "0.1") as (_, url):  # anyone may claim to be a proxy: no
        assert [ask("203.0.113.1"), ask("203.0.113.2")] == [200, 429]


def test_open_starts_the_browser(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, browser = tmp_path / "shown", tmp_path / "browser"
    # It stays open, as text browsers do; the server must run all the same.
    browser.write_text(f'#!/bin/sh\necho "$1" > {shown}.part; mv {shown}.part {shown}; sleep 3\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with serving(tiny, "--open") as (_, url):
        assert httpx.get(f"{url}healthz").status_code == 200
        for _ in range(200):
            if shown.exists():
                break
            time.sleep(0.02)
        assert shown.read_text().strip() == url
