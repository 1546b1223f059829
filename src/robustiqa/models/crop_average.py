"""Crop averaging: a whole photograph's score is the mean over crops of the size the network takes.

A wrapper that is itself a quality model, so gradients, norms and attacks run end to end on photographs of any size.
Source: Su et al. 2020 (25 random crops); the covering grid is this project's default (the same crops for clean and
attacked photos, nothing left out, no draw to report).
Deviations: random crops are drawn from (seed, height, width), so that they stay where they are under attack.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustiqa.core.checks import check_image_batch, check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.model import ModelWrapper, QualityModel
from robustiqa.core.seeds import generator


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
    """

    def __init__(
        self, model: QualityModel, *, crops: int | None = None, seed: int = 919, small: str = "refuse"
    ) -> None:
        super().__init__(model)
        if model.crop_size is None:
            raise InputError(f"{type(model).__name__} takes photographs of any size; it needs no crop averaging.")
        if crops is not None:
            check_positive_integer(crops, "crops")
        if small not in ("refuse", "pad"):
            raise InputError(f"small must be 'refuse' or 'pad', got {small!r}.")
        self.side = model.crop_size
        self.crop_count = crops
        self.seed = seed
        self.small = small

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
        crops = self.crops(images)  # (N, K, 3, side, side)
        scores: Tensor = self.model(crops.flatten(0, 1))
        return scores.reshape(crops.shape[:2]).mean(1)
