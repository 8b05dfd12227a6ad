"""Headers, limits, errors, the page, the catalogue, and that the OpenAPI document says it all."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from kaogen.server.app import Settings, create_app
from kaogen.server.limits import SECURITY_HEADERS
from kaogen.studio.draw import Studio
from kaogen.tags import PAPER


@pytest.fixture
def built(client: TestClient, settings: Settings) -> TestClient:
    """A client of a server with a built site."""
    assets = settings.static / "assets"
    assets.mkdir(parents=True)
    (settings.static / "index.html").write_text("<!doctype html><title>kaogen</title>")
    (settings.static / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (assets / "index-B3x1.js").write_text("export {};")
    return client


def requests() -> Iterator[tuple[str, str, dict[str, Any], int]]:
    yield "GET", "/", {}, 200
    yield "POST", "/", {}, 405
    yield "GET", "/nothing/here", {}, 404
    yield "GET", "/../../etc/passwd", {}, 404
    yield "GET", "/%2e%2e/%2e%2e/etc/passwd", {}, 404
    yield "GET", "/a%00b", {}, 404
    yield "GET", "/v1/characters.gif?seed=1", {}, 404
    yield "GET", "/v1/characters.png", {}, 307
    yield "GET", "/v1/characters.png?psi=9", {}, 400
    yield "DELETE", "/v1/characters.png", {}, 405
    yield "GET", "/v1/tags", {}, 200
    yield "GET", "/v1/tags?lang=xx", {}, 422
    yield "POST", "/v1/tags", {}, 405
    yield "GET", "/v1/models", {}, 200
    yield "GET", "/v1/recipe", {}, 405
    yield "POST", "/v1/recipe", {"content": b"x"}, 422
    yield "POST", "/v1/recipe", {"content": bytes(4 * 1024 * 1024 + 1)}, 413
    yield "GET", "/healthz", {}, 200
    yield "GET", "/readyz", {}, 200
    yield "GET", "/metrics", {}, 200
    yield "GET", "/openapi.json", {}, 200


@pytest.mark.parametrize("built_site", [False, True])
def test_every_answer(client: TestClient, request: pytest.FixtureRequest, built_site: bool) -> None:
    if built_site:
        request.getfixturevalue("built")
    for method, path, more, status in requests():
        answer = client.request(method, path, **more)
        assert answer.status_code == status, (method, path, answer.text)
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            body = answer.json()
            assert sorted(body) == ["detail", "field", "nearest", "status", "title", "type"]
            assert body["status"] == status
            assert body["detail"]


def test_policy_allows_nothing_inline() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "img-src 'self' blob: data:" in policy


def test_near_misses_are_told(client: TestClient) -> None:
    body = client.get("/v1/character.png").json()
    assert "/v1/characters.png" in body["nearest"]
    answer = client.put("/v1/tags")
    assert answer.headers["allow"] == "GET"
    assert answer.json()["nearest"] == ["GET"]
    body = client.get("/v1/tags?lang=jp").json()
    assert (body["field"], body["nearest"]) == ("lang", ["ja"])


def test_a_mistake_of_ours_is_a_plain_500(
    studio: Studio, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(studio, settings)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret")

    with TestClient(app) as client:
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["title"] == "Internal error"
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "a secret" in caplog.text  # told to the owner, not to the visitor


def test_body_limit_while_streaming(client: TestClient) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(80):
            sent += 1
            yield bytes(100_000)

    assert client.post("/v1/recipe", content=chunks()).status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30])
def test_nonsense_length_is_refused(client: TestClient, length: str) -> None:
    headers = {"Content-Length": length}
    assert client.post("/v1/recipe", content=b"", headers=headers).status_code == 413


def test_page_is_cached_as_its_names_allow(built: TestClient) -> None:
    page = built.get("/")
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["content-type"].startswith("text/html")
    script = built.get("/assets/index-B3x1.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in script.headers["content-type"]
    assert built.get("/favicon.svg").headers["cache-control"] == "no-cache"
    again = built.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


def test_unbuilt_page_says_how(client: TestClient) -> None:
    page = client.get("/")
    assert "npm run build" in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"


def test_head_is_get_without_the_body(built: TestClient) -> None:
    for path in ("/", "/healthz", "/v1/tags", "/assets/index-B3x1.js"):
        head, get = built.head(path), built.get(path)
        assert head.status_code == get.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]


def test_tags(client: TestClient, studio: Studio) -> None:
    body = client.get("/v1/tags").json()
    assert body["model"] == studio.bundle.id
    tags = {tag["name"]: (tag, group) for group in body["groups"] for tag in group["tags"]}
    assert set(tags) == set(PAPER.names) - {"cleavage", "bare shoulders"}
    pink, colours = tags["pink hair"]
    assert (colours["id"], colours["exclusive"]) == ("hair-colour", True)
    assert (pink["learnt"], pink["why"], pink["obedience"]) == (True, "", 0.9)
    assert pink["names"]["ja"] == "ピンク髪"
    assert len(pink["excludes"]) == 10
    hat, _ = tags["hat"]
    assert hat["learnt"] is False
    assert "not learnt" in hat["why"]
    assert tags["cat ears"][0]["implies"] == ["animal ears"]
    assert [tag["index"] for tag, _ in tags.values()].index(0) == 0
    japanese = client.get("/v1/tags?lang=ja").json()
    assert japanese["groups"][0]["tags"][0]["label"] == "ピンク髪"


def test_all_tags_by_setting(studio: Studio, settings: Settings) -> None:
    with TestClient(create_app(studio, replace(settings, all_tags=True))) as client:
        names = [t["name"] for g in client.get("/v1/tags").json()["groups"] for t in g["tags"]]
        assert "cleavage" in names
        assert client.get("/v1/characters.json?tags=cleavage&seed=1").json()["tags"]


def test_models(client: TestClient, studio: Studio) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["id"], model["default"]) == (studio.bundle.id, True)
    assert (model["tags"], model["learnt"]) == (59, len(studio.bundle.learnt))
    assert (model["trained"]["kimg"], model["licence"]) == (1.5, "CC0-1.0")
    assert model["card"].startswith("# tiny")


def test_metrics_count(client: TestClient) -> None:
    for _ in range(3):
        client.get("/healthz")
    client.get("/v1/characters.webp?seed=3", follow_redirects=True)
    text = client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['kaogen_requests_total{route="/healthz",status="200"}'] == "3"
    assert float(values["kaogen_pictures_drawn_total"]) >= 1
    assert 0 < float(values["kaogen_cache_bytes"]) <= float(values["kaogen_cache_limit_bytes"])
    assert values["kaogen_queue_limit"] == "32"


def test_access_log_is_one_honest_line(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "kaogen.access"):
        client.get("/healthz?a=b%0a200+GET+/forged&" + "x" * 900)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "kaogen.access"]
    assert line.startswith("200 GET /healthz?a=b%0a200")
    assert line.endswith(" ms")
    assert len(line) < 450


def test_document_names_each_status(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert "Problem" in document["components"]["schemas"]
    picture = {"200", "304", "307", "400", "404", "413", "429", "500", "503"}
    expected = {
        ("get", "/v1/characters.png"): picture,
        ("get", "/v1/characters.webp"): picture,
        ("get", "/v1/characters.json"): picture,
        ("post", "/v1/recipe"): {"200", "400", "413", "422", "429", "500"},
        ("get", "/v1/tags"): {"200", "413", "422", "429", "500"},
        ("get", "/v1/models"): {"200", "413", "429", "500"},
        ("get", "/healthz"): {"200", "413", "500"},
        ("get", "/readyz"): {"200", "413", "500", "503"},
        ("get", "/metrics"): {"200", "413", "500"},
    }
    found = {
        (method, path): set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert found == expected
    for (method, path), statuses in found.items():
        for status in statuses - {"200", "304", "307"}:
            content = document["paths"][path][method]["responses"][status]["content"]
            assert list(content) == ["application/problem+json"]
    query = document["paths"]["/v1/characters.png"]["get"]["parameters"]
    assert [p["name"] for p in query] == [
        "tags", "not", "seed", "psi", "size", "model", "vs", "variation", "strength",
    ]  # fmt: skip


def test_references_in_the_document_resolve(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
            node = list(node.values())
        if isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in set(references(document)):
        place = document
        for part in Path(reference.removeprefix("#/")).parts:
            place = place[part]
