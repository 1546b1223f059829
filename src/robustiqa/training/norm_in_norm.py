"""Norm-in-norm: scores and opinions are centered and brought to unit norm, then compared; their scales do not matter.

Its use: training converges in fewer epochs than with an absolute or squared error, and the network is free to choose
its scale. What least squares finds after training brings its scores to that of the opinions (`calibration`).
Cost: nothing beside the network's.
Source: Li, Jiang and Jiang 2020, "Norm-in-Norm Loss with Faster Convergence and Better Performance for Image Quality
Assessment", the loss and its variant.
Deviations: a batch of one is refused, where the published code gives 0; p and q below 1, which are no norms, too. The
published code's other losses (absolute, squared, rank and correlation losses, other normalizations) and its
monotonicity term, off there, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustiqa.core.errors import InputError

SMALLEST_NORM = 1e-8  # added to norms, as published


@dataclass(frozen=True, kw_only=True)
class NormInNorm:
    """`(|a - b|_p / S) ** p` for scores and opinions that were centered and divided by their q-norms, a and b.

    S, `2 ** max(1, 1/q) * N ** max(0, 1/p - 1/q)`, bounds the distance between N photographs' scores and opinions, so
    the loss lies in [0, 1]. With p = q = 2 it is `(1 - PLCC) / 2`, and the variant `(1 - PLCC ** 2) / 4`.

    Of two photographs only the order counts, without a gradient. A batch is one thing here: the loss of its parts, on
    several processes or in accumulation, is not that of the whole.

    Args:
        p: Of the norm that compares; 1 in the released weights.
        q: Of the norm that normalizes; 2 in the released weights.
        variant: Weight of the same loss for `rho * a` in the place of `a`, rho the cosine of a and b (for q = 2, what
            least squares makes of b from a). .1 in the released weights called `p1q2plus0.1variant`.
    """

    p: float = 1.0
    q: float = 2.0
    variant: float = 0.0

    def __post_init__(self) -> None:
        if not (self.p >= 1 and self.q >= 1):
            raise InputError(f"norm-in-norm takes p and q of at least 1, got {self.p} and {self.q}.")
        if not self.variant >= 0:
            raise InputError(f"the weight of norm-in-norm's variant must be at least 0, got {self.variant}.")

    def __call__(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compares scores (N,) with opinions (N,); a scalar of at least 0.

        Raises:
            InputError: if there are fewer than two.
        """
        if len(scores) < 2:
            raise InputError(
                f"norm-in-norm compares photographs with one another; expected 2 or more, got {len(scores)}."
            )
        predicted, wanted = _normalized(scores, self.q), _normalized(targets, self.q)
        loss = self._distance(predicted, wanted)
        if self.variant > 0:
            lengths = torch.linalg.vector_norm(predicted) * torch.linalg.vector_norm(wanted)
            cosine = (predicted * wanted).sum() / (lengths + SMALLEST_NORM)
            loss = loss + self.variant * self._distance(cosine * predicted, wanted)
        return loss

    def _distance(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        largest = 2 ** max(1.0, 1 / self.q) * len(wanted) ** max(0.0, 1 / self.p - 1 / self.q)
        distance: Tensor = (predicted - wanted).abs().pow(self.p).sum() / largest**self.p
        return distance


def _normalized(values: Tensor, q: float) -> Tensor:
    centered = values - values.mean()
    normalized: Tensor = centered / (torch.linalg.vector_norm(centered, q) + SMALLEST_NORM)
    return normalized
