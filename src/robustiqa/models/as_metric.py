"""A quality model where a torchmetrics metric, or a loss, is expected: for evaluation loops and training of others.

A defended model goes where an undefended metric is used today: to report a restoration network's quality, or to
train it. Photographs of any size pass through crop averaging.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.models.crop_average import CropAverage

if TYPE_CHECKING:
    from torchmetrics import Metric


class QualityLoss(nn.Module):
    """How far images are from the top of the model's scale: `scale.high - score`, differentiable in the images.

    The model is frozen and stays in eval mode, whatever mode the loss is put into.

    Args:
        model: What scores.
        reduction: `mean`, `sum`, or `none` for one value an image.
    """

    def __init__(self, model: QualityModel, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"reduction must be mean, sum or none, got {reduction!r}.")
        self.model = model.eval().requires_grad_(False)
        self.reduction = reduction

    def train(self, mode: bool = True) -> QualityLoss:
        """Sets the mode of the loss alone."""
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to a scalar, or (N,) with reduction `none`; lower is better."""
        short: Tensor = self.model.scale.high - self.model(images)
        return short if self.reduction == "none" else short.mean() if self.reduction == "mean" else short.sum()


@overload
def as_metric(model: QualityModel, *, as_loss: Literal[False] = False, small: str = ...) -> Metric: ...


@overload
def as_metric(
    model: QualityModel, *, as_loss: Literal[True], reduction: str = ..., small: str = ...
) -> QualityLoss: ...


def as_metric(model: QualityModel, *, as_loss: bool = False, reduction: str = "mean", small: str = "refuse") -> Any:
    """A model as a torchmetrics `Metric` (the mean score of all images seen), or as a differentiable loss.

        quality = riq.as_metric(model)
        quality.update(images); quality.compute()          # mean score, on the model's scale, higher is better
        loss = riq.as_metric(model, as_loss=True)          # a module: images to scale.high - mean score
        loss(restored).backward()

    Args:
        model: What scores; one with a crop size is averaged over crops.
        as_loss: Whether to give a loss instead of a metric.
        reduction: Of the loss: `mean`, `sum` or `none`.
        small: What to do with photographs smaller than a crop: `refuse` or `pad`.

    Raises:
        InputError: if the reduction or `small` is unknown.
    """
    whole = model if model.crop_size is None or isinstance(model, CropAverage) else CropAverage(model, small=small)
    if as_loss:
        return QualityLoss(whole, reduction)
    from robustiqa.models.mean_score import MeanScore  # torchmetrics takes seconds to import

    return MeanScore(whole)
