"""The torchmetrics `Metric` behind `as_metric`; a file of its own because its base takes seconds to import."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from robustiqa.core.model import QualityModel


class MeanScore(Metric):
    """The mean score of all images seen, on the model's scale; sums over processes.

    Args:
        model: Scores (N, 3, H, W) images in [0, 1] as (N,).
    """

    is_differentiable = True
    higher_is_better = True
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, model: QualityModel, **options: Any) -> None:
        super().__init__(**options)
        self.model = model.eval()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def train(self, mode: bool = True) -> MeanScore:
        """Sets the mode of the metric alone; the model stays in eval mode."""
        self.training = mode
        return self

    def update(self, images: Tensor) -> None:
        """Scores images, with every check."""
        self.total += self.model.score(images).double().sum()
        self.count += len(images)

    def compute(self) -> Tensor:
        """The mean score; NaN before the first image."""
        return (self.total / self.count).float()
