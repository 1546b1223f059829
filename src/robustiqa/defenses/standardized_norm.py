"""Norm-regularization training for losses that know no scale: the gradient norm in standard deviations of the scores.

Defends against: what `norm_regularization` defends against, where the loss is norm-in-norm or a correlation.
Cost: that of `norm_regularization`.
Source: Liu et al. 2024, equations 5 to 7, with the norm of `f / deviation(f)` in the place of that of `f`.
Deviations: the division, and why it must be there. Norm-in-norm is the same for f and for f / 1000, the squared norm of
f / 1000 is a millionth: with the penalty on raw scores, as published, training shrinks them and is done. Least squares
then stretches them back to 0..100, and an attack moves them as far as before. On `f / deviation(f)` the penalty is as
blind to the scale as the loss, so only a smaller norm *beside the spread of the scores* lowers it, and that spread is
what the fitted slope restores and what ranks live on.

The deviation is that of the batch's clean scores, and two things about it matter. Gradients go through it: a constant
in its place, such as the last fitted slope, would let each step shrink the scores a little, which the next fit
undoes, down to where float32 ends; with it the penalty's gradient has no part along the scale. And it divides the
norm, not the scores: the sum of scores that were standardized within their batch is constant, so its input gradient,
which gives the direction, would be zero, and the perturbed pass would lose what moves all scores alike. The slope of
the least-squares fit itself is no substitute. It is the correlation with the opinions times the ratio of deviations,
and a penalty on it would be lowered by predicting worse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.penalty import Penalized
from robustiqa.defenses.norm_regularization import FiniteDifference, NormEstimator, NormRegularization, Statistics

SMALLEST_VARIANCE = 1e-12  # of raw scores; below it they count as constant


@dataclass(frozen=True)
class StandardizedNormRegularization:
    """The penalty `weight * mean((deviation * norm) ** 2) / var(scores)`; called like `NormRegularization`.

    `a * f + b` has the penalty of f for every a above 0. The variance is that of the batch, over N and not N - 1. In
    small batches it is noisy and the penalty larger on average: 1.6 times for 8 photographs, 1.2 times for 16.

    Args:
        estimator: How the norm is measured.
        weight: lambda of eq. 5; 0 makes the call a plain forward pass.
        deviation: What one standard deviation of the scores counts as. 20 is about that of opinion scores on 0..100
            (LIVE in the Wild: 22.8), so that weights are comparable with those of networks that predict them.
        statistics: What batch norm in training mode normalizes the penalty's passes with; see `NormRegularization`.
        fraction: Part of each batch that the norm is measured on, with `clean` statistics only; the variance remains
            that of the whole batch.

    Source: Liu et al. 2024, eq. 5 (exact) and eq. 7 (finite difference), on standardized scores.
    """

    estimator: NormEstimator = field(default_factory=FiniteDifference)
    weight: float = 1e-3
    deviation: float = 20.0
    statistics: Statistics = "own"
    fraction: float = 1.0

    def __post_init__(self) -> None:
        self._on_raw_scores()  # checks what the two share
        if not self.deviation > 0:
            raise InputError(f"the deviation must be greater than 0, got {self.deviation}.")

    def __call__(self, model: nn.Module, images: Tensor, *, gradient_scale: float = 1.0) -> Penalized:
        """Clean scores and the penalty; see `NormRegularization`.

        Raises:
            InputError: if there is one image only, whose score has no spread.
        """
        if self.weight > 0 and len(images) < 2:
            raise InputError(f"scores are standardized within a batch; expected 2 images or more, got {len(images)}.")
        raw = self._on_raw_scores()(model, images, gradient_scale=gradient_scale)
        if self.weight == 0:
            return raw
        wide = raw.scores.to(torch.promote_types(raw.scores.dtype, torch.float32))
        variance = wide.var(correction=0) + SMALLEST_VARIANCE
        return Penalized(raw.scores, self.deviation**2 * raw.penalty / variance)

    def _on_raw_scores(self) -> NormRegularization:
        return NormRegularization(self.estimator, self.weight, self.statistics, self.fraction)
