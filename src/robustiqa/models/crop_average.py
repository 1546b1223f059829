"""Crop averaging: a whole photograph's score is the mean over crops of the size the network takes.

A wrapper that is itself a quality model, so gradients, norms and attacks run end to end on photographs of any size.
Memory: that of the photograph and of `chunk` crops, where weights need no gradient; else of all crops.
Source: Su et al. 2020 (25 random crops); the covering grid is this project's default (the same crops for clean and
attacked photos, nothing left out, no draw to report).
Deviations: random crops are drawn from (seed, height, width), so that they stay where they are under attack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from robustiqa.core.checks import check_image_batch, check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.model import ModelWrapper, QualityModel
from robustiqa.core.seeds import generator

Window = tuple[int, slice, slice, slice]  # of a crop in a batch: photo, channels, rows, columns


def covering_offsets(length: int, crop: int) -> list[int]:
    """Where the fewest evenly spaced crops start that cover `length` pixels: [0, 144, 288] for 512 and 224."""
    count = -(-length // crop)
    return [round(place * (length - crop) / max(count - 1, 1)) for place in range(count)]


def reflected_indices(length: int, wanted: int) -> Tensor:
    """Pixel indices that extend `length` to `wanted` by reflecting at both ends as often as it takes; (wanted,)."""
    before = (wanted - length) // 2
    period = max(2 * (length - 1), 1)
    place = torch.arange(-before, wanted - before).remainder(period)
    return torch.minimum(place, period - place).clamp(max=length - 1)


class CropAverage(ModelWrapper):
    """Scores photographs of any size by the mean over crops.

    Args:
        model: A model with a `crop_size`.
        crops: How many seeded random crops (the paper's 25); None for the smallest even grid that covers the photo.
        seed: Of the random crops.
        small: What to do with photos smaller than the crop: `refuse`, or `pad` by repeated reflection.
        chunk: Crops that the network takes at a time, where weights need no gradient. Results do not depend on it.
    """

    def __init__(
        self,
        model: QualityModel,
        *,
        crops: int | None = None,
        seed: int = 919,
        small: str = "refuse",
        chunk: int = 16,
    ) -> None:
        super().__init__(model)
        if model.crop_size is None:
            raise InputError(f"{type(model).__name__} takes photographs of any size; it needs no crop averaging.")
        if crops is not None:
            check_positive_integer(crops, "crops")
        if small not in ("refuse", "pad"):
            raise InputError(f"small must be 'refuse' or 'pad', got {small!r}.")
        check_positive_integer(chunk, "chunk")
        self.side = model.crop_size
        self.crop_count = crops
        self.seed = seed
        self.small = small
        self.chunk = chunk

    def offsets(self, height: int, width: int) -> list[tuple[int, int]]:
        """Top-left corners (row, column) of the crops of a photograph of that size."""
        if self.crop_count is None:
            rows, columns = covering_offsets(height, self.side), covering_offsets(width, self.side)
            return [(row, column) for row in rows for column in columns]
        draw = generator("crops", self.seed, height, width)
        rows = torch.randint(height - self.side + 1, (self.crop_count,), generator=draw).tolist()
        columns = torch.randint(width - self.side + 1, (self.crop_count,), generator=draw).tolist()
        return list(zip(rows, columns, strict=True))

    def crops(self, images: Tensor) -> Tensor:
        """The crops of each photograph, differentiably; (N, 3, H, W) to (N, K, 3, side, side).

        Raises:
            InputError: if the photographs are smaller than a crop and `small` is `refuse`.
        """
        images = self._fit(images)
        height, width = images.shape[-2:]
        corners = self.offsets(height, width)
        return torch.stack([images[..., r : r + self.side, c : c + self.side] for r, c in corners], dim=1)

    def _fit(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if min(height, width) >= self.side:
            return images
        if self.small == "refuse":
            raise InputError(
                f"photographs must be at least {self.side}x{self.side} pixels, got {width}x{height}; "
                "ask for small='pad' (--small pad) to extend them by reflection."
            )
        if height < self.side:
            images = images.index_select(-2, reflected_indices(height, self.side).to(images.device))
        if width < self.side:
            images = images.index_select(-1, reflected_indices(width, self.side).to(images.device))
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Scores photographs (N, 3, H, W) in [0, 1]; (N,)."""
        check_image_batch(images)
        images = self._fit(images)
        corners = self.offsets(*images.shape[-2:])
        with_gradient = torch.is_grad_enabled()
        if len(images) * len(corners) <= self.chunk or (with_gradient and _needs_weight_gradients(self.model)):
            return self.whole(images)
        if with_gradient and images.requires_grad:
            scores: Tensor = _InChunks.apply(images, self, corners)
            return scores
        found = [self.model(crops) for crops, _ in self.chunks(images, corners)]
        return torch.cat(found).reshape(len(images), -1).mean(1)

    def whole(self, images: Tensor) -> Tensor:
        """Scores photographs (N, 3, H, W) in one pass over all their crops; (N,)."""
        crops = self.crops(images)  # (N, K, 3, side, side)
        scores: Tensor = self.model(crops.flatten(0, 1))
        return scores.reshape(crops.shape[:2]).mean(1)

    def chunks(self, images: Tensor, corners: list[tuple[int, int]]) -> Iterator[tuple[Tensor, list[Window]]]:
        """The crops of all photographs, photo by photo: at most `chunk` at a time, and where each lies in the batch."""
        windows: list[Window] = [
            (photo, slice(None), slice(row, row + self.side), slice(column, column + self.side))
            for photo in range(len(images))
            for row, column in corners
        ]
        for start in range(0, len(windows), self.chunk):
            some = windows[start : start + self.chunk]
            yield torch.stack([images[window] for window in some]), some


def _needs_weight_gradients(model: QualityModel) -> bool:
    return any(weight.requires_grad for weight in model.parameters())


class _InChunks(torch.autograd.Function):
    """Mean scores of photographs (N, 3, H, W) whose crops are differentiated as soon as they are scored.

    A crop's gradient is added to its place in the photo's, and its graph is gone before the next chunk begins. A
    gradient that is to be differentiated itself is taken of one pass over all crops.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, average: CropAverage, corners: list[tuple[int, int]]) -> Tensor:
        gradient = torch.zeros_like(images)
        found: list[Tensor] = []
        for crops, windows in average.chunks(images, corners):
            leaf = crops.requires_grad_()
            with torch.enable_grad():
                scores = average.model(leaf)
                (of_crops,) = torch.autograd.grad(scores.sum(), leaf)
            for window, of_crop in zip(windows, of_crops, strict=True):
                gradient[window] += of_crop / len(corners)
            found.append(scores.detach())
        ctx.average = average
        ctx.save_for_backward(images, gradient)
        return torch.cat(found).reshape(len(images), -1).mean(1)

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor, None, None]:
        images, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            scores = ctx.average.whole(images)
            (gradient,) = torch.autograd.grad(scores, images, weights[0], create_graph=True)
            return gradient, None, None
        return weights[0][:, None, None, None] * gradient, None, None
