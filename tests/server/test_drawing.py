"""The queue is bounded, refuses quickly, loses nothing, and remembers what it drew."""

import threading
import time
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from kaogen.errors import BundleError
from kaogen.recipe import Recipe
from kaogen.server.app import Settings, create_app
from kaogen.server.drawing import BusyError, ByteCache, Drawing
from kaogen.studio.draw import Character, Studio


class Gated(Studio):
    """Draws when the gate is open; counts."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio.bundle)
        self.gate = threading.Event()
        self.drawn: list[int | None] = []
        self.failure: Exception | None = None

    def draw(self, recipe: Recipe) -> Character:
        assert self.gate.wait(10)
        self.drawn.append(recipe.seed)
        if self.failure is not None:
            raise self.failure
        return super().draw(recipe)


@pytest.fixture
def gated(studio: Studio) -> Gated:
    return Gated(studio)


@pytest.fixture
def drawing(gated: Gated) -> Iterator[Drawing]:
    drawing = Drawing(gated, lambda character: b"{}", waiting=3)
    drawing.start()
    yield drawing
    gated.gate.set()
    drawing.close()


def fill_up(drawing: Drawing) -> list:
    """Fill the queue behind a shut gate, where the thread's first job, the probe, stands."""
    while drawing.waiting:
        time.sleep(0.001)
    futures = []
    for seed in range(1, 10):
        try:
            futures.append(drawing.picture(Recipe(seed=seed), "png"))
        except BusyError:
            return futures
    raise AssertionError("the queue has no end")


def test_cache_keeps_within_its_bytes() -> None:
    cache = ByteCache(100)
    for name in "abc":
        cache.put((name, "png"), b"x" * 40)
    assert cache.get(("a", "png")) is None
    assert (cache.size, len(cache)) == (80, 2)
    cache.get(("b", "png"))
    cache.put(("d", "png"), b"x" * 40)
    assert cache.get(("b", "png"))
    assert cache.get(("c", "png")) is None
    cache.put(("b", "png"), b"x" * 10)
    assert cache.size == 50
    cache.put(("huge", "png"), b"x" * 101)
    assert (cache.size, len(cache)) == (0, 0)


def test_full_queue_refuses_and_the_rest_is_drawn(drawing: Drawing, gated: Gated) -> None:
    futures = fill_up(drawing)
    assert drawing.waiting == drawing.limit == 3
    with pytest.raises(BusyError) as caught:
        drawing.picture(Recipe(seed=99), "png")
    assert caught.value.retry_after >= 1
    assert caught.value.status == 503
    gated.gate.set()
    for future in futures:
        assert future.result(20).startswith(b"\x89PNG")
    assert drawing.counts.refused >= 2


def test_same_picture_asked_for_twice_is_drawn_once(drawing: Drawing, gated: Gated) -> None:
    first = drawing.picture(Recipe(seed=5), "png")
    assert drawing.picture(Recipe(seed=5), "png") is first
    gated.gate.set()
    png = first.result(20)
    assert drawing.picture(Recipe(seed=5), "png").result(20) == png
    assert drawing.picture(Recipe(seed=5), "webp").result(20)[:4] == b"RIFF"
    assert drawing.picture(Recipe(seed=5), "json").result(20) == b"{}"
    assert gated.drawn.count(5) == 1
    assert drawing.counts.hits == 1


def test_closing_finishes_what_waits(drawing: Drawing, gated: Gated) -> None:
    futures = fill_up(drawing)
    closer = threading.Thread(target=drawing.close)
    closer.start()
    while True:  # until the closing thread has shut the door
        try:
            drawing.probe()
        except BusyError as error:
            if "stopping" in error.message:
                break
    gated.gate.set()
    closer.join(20)
    assert all(future.done() and future.result() for future in futures)


def test_a_failure_harms_only_its_own_picture(drawing: Drawing, gated: Gated) -> None:
    gated.failure = BundleError("the numbers are not finite.")
    failing = drawing.picture(Recipe(seed=1), "png")
    gated.gate.set()
    with pytest.raises(BundleError):
        failing.result(20)
    gated.failure = None
    assert drawing.picture(Recipe(seed=1), "png").result(20)


def test_busy_server_says_when_to_return(gated: Gated, settings: Settings) -> None:
    app = create_app(gated, Settings(waiting=3, static=settings.static))
    model = gated.bundle.id
    with TestClient(app) as client:
        futures = fill_up(app.state.drawing)
        answer = client.get(f"/v1/characters.png?seed=50&model={model}")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        gated.gate.set()
        assert all(future.result(20) for future in futures)
        assert client.get(f"/v1/characters.png?seed=1&model={model}").status_code == 200
        assert client.get("/readyz").status_code == 200


def test_not_ready_when_the_model_does_not_draw(gated: Gated, settings: Settings) -> None:
    gated.gate.set()
    for failure in (BundleError("the numbers are not finite."), RuntimeError("onnxruntime")):
        gated.failure = failure
        with TestClient(create_app(gated, settings)) as client:
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert "does not draw" in answer.json()["detail"]
            assert client.get("/healthz").json() == {"status": "ok"}


def test_failures_of_a_picture_by_http(gated: Gated, settings: Settings) -> None:
    gated.gate.set()
    url = f"/v1/characters.png?seed=1&model={gated.bundle.id}"
    with TestClient(create_app(gated, settings)) as client:
        for failure, status in ((BundleError("not finite."), 503), (RuntimeError("ort"), 500)):
            gated.failure = failure
            answer = client.get(url)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-content-type-options"] == "nosniff"
        gated.failure = None
        assert client.get(url).status_code == 200
