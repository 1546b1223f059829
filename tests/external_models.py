"""Factories as a user of the package writes them: `tests.external_models:NAME`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustiqa.core.model import QualityModel
from tests.toys import ConvModel


class Strict(nn.Module):
    """Normalizes by itself, scores in [0, 1], lower is better."""

    low, high, lower_is_better = 0.0, 1.0, True

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.taps = nn.Conv2d(3, width, 3)
        self.last = nn.Linear(width, 1)

    def forward(self, images: Tensor) -> Tensor:
        assert images.min() >= -0.02
        assert images.max() <= 1.02
        return torch.sigmoid(self.last(torch.tanh(self.taps(images)).mean((2, 3)))).squeeze(1)


def strict(width: int = 4) -> nn.Module:
    """A module with its own range and direction."""
    return Strict(width)


def brightness() -> object:
    """A bare function."""
    return lambda images: 100 * images.mean((1, 2, 3))


def column() -> object:
    """A function that returns (N, 1)."""
    return lambda images: images.mean((1, 2, 3))[:, None]


def own() -> QualityModel:
    """A quality model."""
    return ConvModel(seed=3)


def number() -> int:
    """No callable."""
    return 3


NOT_CALLABLE = 3
