"""Toy quality models and photographs, small enough to know the right answer for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustiqa.core.model import ModelWrapper, QualityModel

PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # mean and standard deviation that leave pixels as they are


def toy_photos(count: int = 4, side: int = 24, seed: int = 0, low: int = 16, high: int = 239) -> Tensor:
    """8-bit noise as float32, (count, 3, side, side); the default levels leave room on both sides."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, (count, 3, side, side), generator=draw).float() / 255


class LinearModel(QualityModel):
    """`bias + sum(slopes * image)` on plain pixels: its gradient is `slopes` everywhere.

    Args:
        slopes: (3, H, W).
        bias: Score of a black image.
    """

    def __init__(self, slopes: Tensor, bias: float = 50.0) -> None:
        super().__init__(*PLAIN)
        self.slopes = nn.Parameter(slopes.clone())
        self.bias = nn.Parameter(torch.tensor(bias, dtype=slopes.dtype))

    @staticmethod
    def random(side: int = 24, seed: int = 0, size: float = 0.01, bias: float = 50.0) -> LinearModel:
        """Normal slopes of standard deviation `size`, in eval mode."""
        draw = torch.Generator().manual_seed(seed)
        return LinearModel(size * torch.randn(3, side, side, generator=draw), bias).eval()

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return self.bias + (self.slopes * normalized).flatten(1).sum(1)


class Fickle(LinearModel):
    """A linear score with other slopes in every second pass."""

    def __init__(self, slopes: Tensor, others: Tensor) -> None:
        super().__init__(slopes)
        self.both, self.passes = (slopes, others), 0

    def raw_scores(self, normalized: Tensor) -> Tensor:
        self.passes += 1
        return self.bias + (self.both[self.passes % 2] * normalized).flatten(1).sum(1)


class ConvModel(QualityModel):
    """Two convolutions, a batch norm between them and a linear head, on images of any size; scores near 50.

    Args:
        seed: Of the weights; the global generator is left alone.
        width: Channels.
        crop_size: What it says about itself, for wrappers that ask.
    """

    def __init__(self, seed: int = 0, width: int = 8, crop_size: int | None = None) -> None:
        super().__init__()
        self.crop_size = crop_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(3, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.SiLU(),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.SiLU(),
            )
            self.head = nn.Linear(2 * width, 1)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        pooled = self.body(normalized).mean((2, 3))  # (N, 2 * width)
        scores: Tensor = 50 + 40 * self.head(pooled)[:, 0]
        return scores


class ConstantModel(QualityModel):
    """One score for every image; its input gradient exists and is zero."""

    def __init__(self, value: float = 50.0) -> None:
        super().__init__(*PLAIN)
        self.value = nn.Parameter(torch.tensor(value))

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return self.value + 0 * normalized.flatten(1).sum(1)


class CountingModel(ModelWrapper):
    """Counts what is asked of the inner model, an image at a time.

    Attributes:
        forwards: Images scored so far.
        backwards: Images whose score was differentiated so far.
    """

    def __init__(self, model: QualityModel) -> None:
        super().__init__(model)
        self.forwards = 0
        self.backwards = 0

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        scores: Tensor = self.model(images)
        if scores.requires_grad:
            scores.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return scores

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class QuadraticModel(QualityModel):
    """`-||matrix @ (image - peak)||^2` on plain pixels: concave, largest at `peak`.

    Args:
        matrix: (K, 3 * H * W).
        peak: (3, H, W).
    """

    def __init__(self, matrix: Tensor, peak: Tensor) -> None:
        super().__init__(*PLAIN)
        self.matrix = nn.Parameter(matrix.clone())
        self.peak = nn.Parameter(peak.clone())

    @staticmethod
    def random(side: int = 4, seed: int = 0, peak: Tensor | None = None) -> QuadraticModel:
        """A normal square matrix in double precision, in eval mode; the peak is mid-gray if none is given."""
        draw = torch.Generator().manual_seed(seed)
        count = 3 * side * side
        matrix = torch.randn(count, count, generator=draw, dtype=torch.float64)
        middle = torch.full((3, side, side), 0.5, dtype=torch.float64)
        return QuadraticModel(matrix, middle if peak is None else peak).double().eval()

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return -((normalized - self.peak).flatten(1) @ self.matrix.T).square().sum(1)


class RecordingModel(ModelWrapper):
    """Keeps what the inner model is asked.

    Attributes:
        asked: Batches of images, in order.
        answers: Their scores, (N,) each.
    """

    def __init__(self, model: QualityModel) -> None:
        super().__init__(model)
        self.asked: list[Tensor] = []
        self.answers: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.model(images)
        self.asked.append(images.detach().clone())
        self.answers.append(scores.detach().clone())
        return scores


class Nearness(QualityModel):
    """Highest at one image."""

    def __init__(self, summit: Tensor) -> None:
        super().__init__(*PLAIN)
        self.summit = summit

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return -(normalized - self.summit).abs().flatten(1).sum(1)
