"""Five ways to spoil a picture, each at graded levels, and what an observer is taken to say of it.

Levels are spaced so that neighbors look about equally far apart. Level 0 is the picture as it was.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustiqa.core.pixels import quantize

LEVELS = 4
STRENGTHS: dict[str, tuple[float, ...]] = {  # one a level, from 1
    "blur": (0.8, 1.4, 2.4, 4.0),  # standard deviation in pixels
    "contrast": (0.70, 0.50, 0.34, 0.20),  # factor on the distance from the mean
    "exposure": (0.8, 1.5, 2.2, 3.0),  # stops, over or under
    "jpeg": (20.0, 10.0, 5.0, 2.0),  # quality factor
    "noise": (0.025, 0.05, 0.10, 0.20),  # standard deviation in [0, 1] units
}
DEPTHS = {
    "blur": 80.0,
    "contrast": 60.0,
    "exposure": 65.0,
    "jpeg": 55.0,
    "noise": 75.0,
}  # MOS lost at level 4
PRISTINE_MOS = 90.0


def pseudo_mos(kind: str, level: int) -> float:
    """The score on 0..100: 90 for a pristine picture, less an equal step a level, down to 10..35 at the last.

    No person was asked. It orders the levels of a kind as any person would; across kinds it is a convention.
    """
    return PRISTINE_MOS - (DEPTHS[kind] * level / LEVELS if level else 0.0)


def distort(image: Tensor, kind: str, level: int, rng: torch.Generator) -> Tensor:
    """Applies one distortion and rounds to 8 bits.

    Args:
        image: Pixels, (3, H, W), in [0, 1].
        kind: A key of `STRENGTHS`.
        level: 1 to 4, or 0 for no change.
        rng: What noise and the direction of exposure are drawn from.

    Returns:
        The 8-bit picture, same shape, float32 in [0, 1].
    """
    if level == 0:
        return quantize(image[None])[0]
    spoiled = _DISTORTIONS[kind](image, STRENGTHS[kind][level - 1], rng).clamp(0, 1)
    return quantize(spoiled[None])[0]


def _blur(image: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
    from scipy.ndimage import gaussian_filter  # heavy import

    blurred = gaussian_filter(image.numpy(), sigma=(0, sigma, sigma), mode="mirror", truncate=3)
    return torch.from_numpy(blurred)


def _noise(image: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
    return image + sigma * torch.randn(image.shape, generator=rng)


def _jpeg(image: Tensor, quality: float, rng: torch.Generator) -> Tensor:
    levels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    file = io.BytesIO()
    Image.fromarray(levels.numpy()).save(file, format="JPEG", quality=int(quality))
    decoded = np.array(Image.open(file), dtype=np.float32) / np.float32(255)
    pixels: Tensor = torch.from_numpy(decoded).permute(2, 0, 1).contiguous()
    return pixels


def _contrast(image: Tensor, factor: float, rng: torch.Generator) -> Tensor:
    mean = image.mean()
    faded: Tensor = mean + factor * (image - mean)
    return faded


def _exposure(image: Tensor, stops: float, rng: torch.Generator) -> Tensor:
    """A gain in linear light, which at a display gamma of 2.2 is a gain of the pixels, too."""
    over = float(torch.rand((), generator=rng)) < 0.5
    gain = 2.0 ** ((stops if over else -stops) / 2.2)
    exposed: Tensor = image * gain
    return exposed


_DISTORTIONS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "blur": _blur,
    "contrast": _contrast,
    "exposure": _exposure,
    "jpeg": _jpeg,
    "noise": _noise,
}
