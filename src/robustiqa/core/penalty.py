"""What a training penalty is: a clean forward pass and a scalar that grows with sensitivity."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Penalized(NamedTuple):
    """The clean scores (N,), still attached to their graph, and the weighted penalty, a scalar of at least 0."""

    scores: Tensor
    penalty: Tensor


class Penalty(Protocol):
    """A defense that is added to the training loss.

    Calling it runs the clean forward pass, so that the training loss can share it:

        scores, penalty = norm_regularization(model, images)
        (criterion(scores, mos) + penalty).backward()
    """

    def __call__(self, model: nn.Module, images: Tensor, *, gradient_scale: float = 1.0) -> Penalized:
        """Scores `images` (N, 3, H, W) and measures the penalty; see `Penalized`."""
        ...
