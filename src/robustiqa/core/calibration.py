"""Maps from a network's raw output to the scale people read; they belong to weights, not to a class.

A model applies its map to every raw score, crops included, so that what is attacked, penalized and measured is the
calibrated score end to end: its gradient is the raw one times the slope of the map. Only the application stands here.
Fitting stands in `training` (for weights) and in `metrics.mapping` (for PLCC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from robustiqa.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LOW, HIGH = 0.0, 100.0  # what a rescaled range becomes


@dataclass(frozen=True)
class Affine:
    """`slope * score + offset`, LinearityIQA's k and b; the identity by default.

    It changes no robustness number that is measured in spreads or ranks: gradients and changes grow by one factor.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: Tensor) -> Tensor:
        """Maps scores of any shape; differentiable."""
        if self.slope == 1.0 and self.offset == 0.0:
            return scores
        return self.slope * scores + self.offset


@dataclass(frozen=True)
class Rescale:
    """The raw range as 0..100, turned round where low raw scores mean good photographs; nothing is clamped.

    Args:
        low: Raw score that becomes 0; 100 if `lower_is_better`.
        high: Raw score that becomes 100; 0 if `lower_is_better`.
        lower_is_better: The direction of the raw scores.

    Raises:
        InputError: unless low < high.
    """

    low: float
    high: float
    lower_is_better: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"a raw range needs low < high, got [{self.low}, {self.high}].")

    def __call__(self, scores: Tensor) -> Tensor:
        """Maps scores of any shape; differentiable."""
        slope = (HIGH - LOW) / (self.high - self.low)
        if self.lower_is_better:
            return -slope * scores + (LOW + slope * self.high)
        return slope * scores + (LOW - slope * self.low)


@dataclass(frozen=True)
class Logistic:
    """The four-parameter logistic `low + (high - low) / (1 + exp(-(score - center) / width))`.

    A width below 0 turns raw scores round of which low ones mean good photographs.

    It saturates. Its slope is at most `(high - low) / (4 * width)`, at the center, and falls by a factor e with each
    width farther out, and every gradient, gradient norm and score change with it: a photograph at an end of the curve
    looks robust however far its raw score moves. Such numbers are true of the calibrated score and of nothing
    else. Compare models by them only under one kind of map, or take an affine one, which hides nothing.
    """

    low: float
    high: float
    center: float
    width: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Maps scores of any shape; differentiable.

        The gradient is exact far out on both ends, where `1 - sigmoid` would round to 0 from 17 widths on in float32
        and an attack that follows its sign would stand still, as if it had met a defense.
        """
        place = (scores - self.center) / self.width
        lower_half = self.low + (self.high - self.low) * place.sigmoid()
        upper_half = self.high - (self.high - self.low) * (-place).sigmoid()
        return lower_half.where(place < 0, upper_half)

    def slope_share(self, scores: Tensor) -> Tensor:
        """The slope at scores of any shape as a share of the steepest, in [0, 1]; what gradients are scaled by."""
        place = (scores - self.center) / self.width
        return 4 * place.sigmoid() * (-place).sigmoid()


Calibration = Affine | Rescale | Logistic
