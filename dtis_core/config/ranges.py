"""Ranges of numbers, as annotations of settings have them."""

import math
from dataclasses import dataclass
from typing import Annotated

from dtis_core.errors import DtisError


@dataclass(frozen=True)
class Within:
    """A range of numbers, its ends included unless it says `above` the low or `below` the high."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __str__(self) -> str:
        """Say it for a message."""
        if self.high < math.inf:
            if self.low == 0:
                return f"in [0, {self.high}{')' if self.below else ']'}"
            return f"{self.low} to {self.high}"
        if self.low == 0:
            return "above 0" if self.above else "0 or more"
        return f"at least {self.low}"

    def check(self, value: float | None, where: str) -> None:
        """Raise DtisError for a number outside; None is no number."""
        if value is None:
            return
        low = self.low < value if self.above else self.low <= value
        high = value < self.high if self.below else value <= self.high
        if not (low and high):
            raise DtisError(f"{where} must be {self}, found {value}")


Count = Annotated[int, Within(1)]
CountOrNone = Annotated[int, Within(0)]
Share = Annotated[float, Within(0, 1)]
Positive = Annotated[float, Within(0, above=True)]
NotNegative = Annotated[float, Within(0)]
Side = Annotated[int, Within(4)]  # pixels
