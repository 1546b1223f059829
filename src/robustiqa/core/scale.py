"""The interval that a model's scores are meant to lie in."""

from __future__ import annotations

from dataclasses import dataclass

from robustiqa.core.errors import InputError


@dataclass(frozen=True)
class ScoreScale:
    """The interval that scores are meant to lie in. Scores may leave it; nothing is clamped to it."""

    low: float = 0.0
    high: float = 100.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"a score scale needs low < high, got [{self.low}, {self.high}].")

    @property
    def middle(self) -> float:
        """Half way between the ends; where `farther_end` changes direction."""
        return (self.low + self.high) / 2

    @property
    def span(self) -> float:
        """Length of the interval."""
        return self.high - self.low
