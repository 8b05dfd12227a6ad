"""Taggers from the hub: the real client, against a hub of our own on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from data.tagger_graphs import wd
from kaogen.data.tagging.hub import fetch
from kaogen.errors import ConfigError, MissingExtraError

HERE = find_spec("huggingface_hub") is not None
COMMIT = "0123456789abcdef0123456789abcdef01234567"

SCRIPT = """
import json, sys
import numpy as np
from kaogen.data.tagging.taggers import open_tagger
from kaogen.errors import KaogenError
try:
    tagger = open_tagger(sys.argv[1])
    scores = tagger.scores([np.full((8, 8, 3), (255, 0, 0), np.uint8)])
    print(json.dumps({"names": tagger.names, "scores": scores[0].tolist()}))
except KaogenError as error:
    print(json.dumps({"kind": type(error).__name__, "said": str(error)}))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of a hub with one repository, me/tagger, that holds a WD tagger."""
    folder = tmp_path / "hub"
    folder.mkdir()
    wd(folder)

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            repository, _, rest = self.path.strip("/").partition("/resolve/")
            file = folder / rest.partition("/")[2]
            found = repository == "me/tagger" and file.is_file()
            data = file.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            if not found:
                kind = "EntryNotFound" if repository == "me/tagger" else "RepoNotFound"
                self.send_header("X-Error-Code", kind)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            return data

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask(spec: str, hub: str, tmp_path: Path) -> dict[str, object]:
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, spec],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.skipif(not HERE, reason="huggingface_hub is not installed: pip install 'kaogen[hub]'")
def test_a_tagger_is_fetched_with_its_list(hub: str, tmp_path: Path) -> None:
    answer = ask("hub:me/tagger/model.onnx", hub, tmp_path)
    names = [f"{p} {c}" for p in ("corner", "left", "right") for c in ("blue", "green", "red")]
    assert answer == {"names": names, "scores": [0.0, 0.0, 1.0] * 3}
    for spec, said in [
        ("hub:me/none", "there is no public repository me/none."),
        ("hub:me/tagger@main/other.onnx", "me/tagger has no file other.onnx."),
    ]:
        answer = ask(spec, hub, tmp_path)
        assert answer["kind"] == "ModelNotFoundError"
        assert f"{spec} cannot be fetched: {said}" in str(answer["said"])
    # Without the hub, what was fetched once is still there.
    assert ask("hub:me/tagger", "http://127.0.0.1:9", tmp_path)["scores"] == [0.0, 0.0, 1.0] * 3


@pytest.mark.skipif(HERE, reason="huggingface_hub is installed")
def test_without_the_client_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"kaogen\[hub\]"):
        fetch("hub:SmilingWolf/wd-vit-tagger-v3")


@pytest.mark.parametrize("spec", ["hub:", "hub:name", "hub:a/b/c", "hub:a/../b", "hub:a b/c"])
def test_what_names_no_repository_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        fetch(spec)
