"""A share that was counted, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Rate:
    """`hits` of `of`, with Wilson's 95% interval (Wilson 1927)."""

    hits: int
    of: int

    @classmethod
    def among(cls, values: npt.NDArray[np.bool_] | Sequence[bool]) -> Rate:
        """How many of these are true."""
        return cls(int(np.sum(values)), len(values))

    @property
    def share(self) -> float | None:
        """0..1, or None of nothing."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high, 0..1; all of it where nothing was counted."""
        if not self.of:
            return 0.0, 1.0
        z2 = 1.959964**2
        p, n = self.hits / self.of, self.of
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def to_dict(self) -> dict[str, Any]:
        """Share, interval and counts as plain JSON."""
        low, high = self.interval
        share = None if self.share is None else round(self.share, 4)
        return {
            "share": share,
            "low": round(low, 4),
            "high": round(high, 4),
            "hits": self.hits,
            "of": self.of,
        }

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.hits + other.hits, self.of + other.of)


def short(value: Any, digits: int = 5) -> Any:
    """A number as JSON keeps it: so many significant digits; None where there is none."""
    if not isinstance(value, float | np.floating):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Figures by name as plain JSON, rates among them."""
    return {
        key: value.to_dict() if isinstance(value, Rate) else short(value)
        for key, value in fields.items()
    }
