"""Numbers about the server for ``/metrics``, in Prometheus' text format."""

import resource
from collections import Counter
from collections.abc import Iterator

from kaogen.server.drawing import Drawing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Meters:
    """Counts requests by route and status; routes are templates, so there are only a few."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: Counter[str] = Counter()

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self.requests[route, status] += 1
        # Counter's type says int; it adds floats as well.
        self.seconds[route] += seconds  # type: ignore[assignment]

    def render(self, drawing: Drawing) -> str:
        """Return everything in Prometheus' text format."""
        return "\n".join([*self._about_requests(), *_about_drawing(drawing), ""])

    def _about_requests(self) -> Iterator[str]:
        yield "# TYPE kaogen_requests_total counter"
        for (route, status), count in sorted(self.requests.items()):
            yield f'kaogen_requests_total{{route="{route}",status="{status}"}} {count}'
        yield "# TYPE kaogen_request_seconds_total counter"
        for route, seconds in sorted(self.seconds.items()):
            yield f'kaogen_request_seconds_total{{route="{route}"}} {seconds:.6f}'


def _about_drawing(drawing: Drawing) -> Iterator[str]:
    counts, cache = drawing.counts, drawing.cache
    # ru_maxrss is in KiB on Linux: the peak, which is what a limit is compared with.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows: list[tuple[str, str, float]] = [
        ("pictures_drawn_total", "counter", counts.drawn),
        ("draw_seconds_total", "counter", counts.seconds),
        ("draw_failures_total", "counter", counts.failed),
        ("refused_total", "counter", counts.refused),
        ("cache_hits_total", "counter", counts.hits),
        ("cache_misses_total", "counter", counts.misses),
        ("cache_bytes", "gauge", cache.size),
        ("cache_limit_bytes", "gauge", cache.limit),
        ("queue_waiting", "gauge", drawing.waiting),
        ("queue_limit", "gauge", drawing.limit),
        ("memory_peak_bytes", "gauge", peak),
    ]
    for name, kind, value in rows:
        yield f"# TYPE kaogen_{name} {kind}"
        yield f"kaogen_{name} {value:g}" if value < 1e5 else f"kaogen_{name} {value:.0f}"
