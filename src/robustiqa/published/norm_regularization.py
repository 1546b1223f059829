"""Norm-regularization training as the released code computes it: half the penalty, and three passes' statistics.

Cost: as `robustiqa.defenses.norm_regularization` (7 units a training step, where the released code takes 10).
Source: the released code of Liu et al. 2024, "Defense Against Adversarial Attacks on No-Reference Image Quality
Models with Gradient Norm Regularization": penalty 1/2 * mean(((f(x + h d) - f(x)) / h)^2). It runs f(x) twice, once
for the loss and once for the penalty, then f(x + h d), all with batch norm in training mode.
Deviations: one clean pass does the work of two equal ones, moving the running statistics as far as both would; where
the model has dropout, both passes share their masks (the released networks have none).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.parallel import bare
from robustiqa.core.penalty import Penalized
from robustiqa.defenses.norm_regularization import FiniteDifference
from robustiqa.defenses.norm_regularization import NormRegularization as PaperNormRegularization

BatchNorm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class NormRegularization:
    """The penalty `weight / 2 * mean(norm ** 2)`; called like `robustiqa.defenses.NormRegularization`.

    In training mode a batch norm of momentum m ends where the released code's three passes leave it:
    `r <- (1 - m)^3 r + (1 - m)(1 - (1 - m)^2) s(x) + m s(x + h d)`, for m = .1 `.729 r + .171 s(x) + .1 s(x + h d)`.

    It measures scores as they come, also those of a network whose loss knows no scale. LinearityIQA's are raw while it
    trains, and training then meets the penalty by shrinking them, to which its loss is blind and which the fitted slope
    undoes; `StandardizedNormRegularization` is not met so.

    Args:
        estimator: A `FiniteDifference`; the released code has no other.
        weight: As passed to the released code: its .001 is the paper's lambda of .0005. 0 makes the call a plain
            forward pass.

    Raises:
        InputError: if the estimator is another, or the weight is negative.

    Source: the released code of Liu et al. 2024, function `loss_grad`.
    """

    estimator: FiniteDifference = field(default_factory=FiniteDifference)
    weight: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.estimator, FiniteDifference):
            raise InputError(
                "the released code has no estimator but FiniteDifference, "
                f"got {type(self.estimator).__name__}; the penalty 'nt' takes any."
            )
        PaperNormRegularization(self.estimator, self.weight)  # checks the weight

    def __call__(self, model: nn.Module, images: Tensor, *, gradient_scale: float = 1.0) -> Penalized:
        """Clean scores and the penalty; see `robustiqa.defenses.NormRegularization`."""
        halved = PaperNormRegularization(self.estimator, self.weight / 2)
        passes = _FirstPassCountsTwice(model) if self.weight > 0 else model
        return halved(passes, images, gradient_scale=gradient_scale)


class _FirstPassCountsTwice(nn.Module):
    """Stands for a model during one call of the penalty: its first pass moves running statistics as two would.

    The model is not registered as a part, so that nothing freezes its statistics in later passes.

    Attributes:
        module: The model itself; the estimator looks for `input_std` there.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = (model,)
        self._passes = 0

    @property
    def module(self) -> object:
        model = self._model[0]
        return getattr(model, "module", model)  # DistributedDataParallel keeps the model there

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the model, (N,)."""
        (model,) = self._model
        self._passes += 1
        if self._passes > 1:
            later: Tensor = bare(model)(images)
            return later
        with statistics_of_two_passes(model):
            first: Tensor = model(images)
        return first


@contextmanager
def statistics_of_two_passes(model: nn.Module) -> Iterator[None]:
    """Lets one pass move running statistics and the counter of batches as two passes over the same batch would."""
    tracking = [
        (part, part.momentum, part.num_batches_tracked)
        for part in model.modules()
        if isinstance(part, BatchNorm) and part.training and part.num_batches_tracked is not None
    ]
    for part, momentum, batches in tracking:  # without a momentum, statistics are a plain mean over batches
        part.momentum = 2 / (int(batches) + 2) if momentum is None else 1 - (1 - momentum) ** 2
    try:
        yield
        for _, _, batches in tracking:
            batches.add_(1)
    finally:
        for part, momentum, _ in tracking:
            part.momentum = momentum
