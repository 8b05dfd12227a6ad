"""One client cannot take everything; others do not notice."""

import pytest
from starlette.testclient import TestClient

from kaogen.server.app import Settings, create_app
from kaogen.server.rates import MOST_CLIENTS, RateLimit, client_of
from kaogen.studio.draw import Studio


async def nothing(*_: object) -> None:
    raise AssertionError("not to be called")


def test_bucket_refills_at_the_rate() -> None:
    limit = RateLimit(nothing, rate=2)
    assert [limit.take("a", 100.0) for _ in range(20)] == [0.0] * 20
    assert limit.take("a", 100.0) == pytest.approx(0.5)
    assert limit.take("b", 100.0) == 0
    assert limit.take("a", 100.5) == 0
    assert limit.take("a", 100.5) > 0
    assert [limit.take("a", 1000.0) for _ in range(21)].count(0.0) == 20


def test_slow_rates_let_one_through() -> None:
    limit = RateLimit(nothing, rate=0.01)
    assert limit.take("a", 0.0) == 0
    assert limit.take("a", 0.0) == pytest.approx(100)


def test_memory_is_bounded() -> None:
    limit = RateLimit(nothing, rate=1)
    for number in range(MOST_CLIENTS + 50):
        limit.take(str(number), 0.0)
    assert len(limit._buckets) == MOST_CLIENTS


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::"),
        ("testclient", "testclient"),
    ],
)
def test_clients_are_named_by_address(host: str, name: str) -> None:
    assert client_of({"client": (host, 1)}) == name


def test_client_without_an_address() -> None:
    assert client_of({"client": None}) == ""


def test_refusal(studio: Studio, settings: Settings) -> None:
    app = create_app(studio, Settings(rate=0.2, static=settings.static))
    with TestClient(app) as client:
        assert [client.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]
        answer = client.get("/v1/tags")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) in range(1, 6)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        # The page and what supervisors ask are not counted.
        assert {client.get(path).status_code for path in ("/", "/healthz", "/readyz")} == {200}


def test_off_by_default(client: TestClient) -> None:
    assert {client.get("/v1/models").status_code for _ in range(60)} == {200}
