"""A small dataset in memory: seeded scenes under noise of a known strength, which is their opinion score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from robustiqa.core.dataset import TARGET_SCALE, Dataset, Photo
from robustiqa.core.pixels import quantize


@dataclass(frozen=True)
class Scene:
    """A smooth picture with grain on it, 8-bit, made anew each time it is read; can be pickled.

    Attributes:
        seed: Of the picture and its grain.
        height: In pixels.
        width: In pixels.
        grain: Standard deviation of the noise, [0, 1] units.
    """

    seed: int
    height: int
    width: int
    grain: float

    def read(self) -> Tensor:
        draw = torch.Generator().manual_seed(self.seed)
        coarse = torch.rand(1, 3, 6, 6, generator=draw)
        smooth = F.interpolate(coarse, (self.height, self.width), mode="bilinear", align_corners=True)
        noisy = smooth + self.grain * torch.randn(smooth.shape, generator=draw)
        return quantize(noisy.clamp(0, 1))[0]


def tiny_dataset(
    train: int = 24, validation: int = 4, test: int = 4, *, low: int = 224, high: int = 256, seed: int = 0
) -> Dataset:
    """Photographs with sides of `low` to `high` pixels; the more grain, the lower the score, evenly over 0..100.

    Args:
        train: Photographs in that part; likewise for the others. A part of none is left out.
        validation: See `train`.
        test: See `train`.
        low: Shortest side.
        high: Longest side.
        seed: Another seed, other photographs.
    """
    counts = {"train": train, "validation": validation, "test": test}
    draw = torch.Generator().manual_seed(seed)
    photos: list[Photo] = []
    parts: dict[str, tuple[str, ...]] = {}
    for part, count in counts.items():
        keys = tuple(f"{part}-{place:03d}.png" for place in range(count))
        if keys:
            parts[part] = keys
        for place, key in enumerate(keys):
            height, width = torch.randint(low, high + 1, (2,), generator=draw).tolist()
            mos = 100 * (place + 0.5) / count
            source = Scene(seed=1000 * seed + len(photos), height=height, width=width, grain=0.3 * (1 - mos / 100))
            photos.append(Photo(key, source, mos))
    ordered = tuple(sorted(photos, key=lambda photo: photo.key))
    return Dataset("tiny", ordered, TARGET_SCALE, parts)
