"""Maps from a network's raw output to the scale people read; they belong to weights, not to a class.

Only the application stands here. Fitting stands in `training` (for weights) and in `metrics.mapping` (for PLCC).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Affine:
    """`slope * score + offset`; the identity by default."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: Tensor) -> Tensor:
        """Maps scores of any shape."""
        if self.slope == 1.0 and self.offset == 0.0:
            return scores
        return self.slope * scores + self.offset


@dataclass(frozen=True)
class Logistic:
    """The four-parameter logistic `low + (high - low) / (1 + exp(-(score - center) / width))`."""

    low: float
    high: float
    center: float
    width: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Maps scores of any shape; differentiable."""
        return self.low + (self.high - self.low) * torch.sigmoid((scores - self.center) / self.width)


Calibration = Affine | Logistic
