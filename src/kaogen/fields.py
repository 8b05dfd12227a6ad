"""The numeric fields of a recipe: ranges, rounding, and reading them from untrusted text."""

from __future__ import annotations

import dataclasses
import re

from kaogen.errors import RecipeError


@dataclasses.dataclass(frozen=True)
class Number:
    """A numeric field: its name, its key in text and URLs, its range, whole or in hundredths."""

    name: str
    key: str
    low: int
    high: float
    whole: bool = False

    def check(self, value: object) -> float:
        """Return the value, rounded to what the field can hold; raises RecipeError."""
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise self.error(value)
        if not self.low <= value <= self.high:  # NaN fails too
            raise self.error(value)
        return value if self.whole else round(float(value), 2) + 0.0

    def read(self, text: str) -> float:
        """Read the value from text; raises RecipeError."""
        pattern = r"\d{1,10}" if self.whole else r"\d{1,6}(\.\d{0,6})?|\.\d{1,6}"
        if not re.fullmatch(pattern, text, re.ASCII):
            raise self.error(text)
        value = int(text) if self.whole else float(text)
        if not self.low <= value <= self.high:
            raise self.error(text)
        return self.check(value)

    def error(self, value: object) -> RecipeError:
        """The error that says what the field takes."""
        kind = "a whole number" if self.whole else "a number"
        return RecipeError(
            f"{self.key} must be {kind} from {self.low} to {self.high}, not {quoted(value)}.",
            field=self.key,
        )


def quoted(value: object) -> str:
    """Any value as it may stand in a message: in quotes, not too long."""
    text = value if isinstance(value, str) else repr(value)
    return '"' + (text if len(text) <= 80 else text[:79] + "…") + '"'
