"""The L-infinity ball in pixel space, the 8-bit grid, and distances between images, all an image at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOUDEST = 64  # of 255 levels to either side of mid-gray: what the largest difference is amplified to
LARGE = 2**22  # pixels of a photograph from which on memory matters
STRIP = 2**19  # pixels that are then compared at a time
SSIM_REACH = 5  # rows that the window of SSIM, 11 of them high, reaches to either side


def project_linf(images: Tensor, center: Tensor, eps: float) -> Tensor:
    """The nearest images within `eps` of `center` and within [0, 1]; shapes (N, 3, H, W)."""
    return torch.clamp(torch.clamp(images, center - eps, center + eps), 0.0, 1.0)


def whole_levels(eps: float) -> int:
    """How many whole 8-bit levels an L-infinity budget holds: 2 for eps = .01, 4 for 4/255."""
    return math.floor(255 * eps + 1e-6)


def quantize(images: Tensor) -> Tensor:
    """The nearest 8-bit image, still as float in [0, 1]; what a PNG gives back."""
    return _from_levels(torch.round(images * 255))


def _from_levels(levels: Tensor) -> Tensor:
    """Levels 0..255 as pixels, to the last bit those of an image file on every device.

    Divides by a tensor: by a Python number, CUDA multiplies with its rounded reciprocal.
    """
    return levels / torch.full_like(levels[:1, :1, :1, :1], 255)


def to_8bit(images: Tensor, center: Tensor, eps: float) -> Tensor:
    """The 8-bit images nearest to `images`, clamped level by level to the budget around 8-bit `center`.

    Rounding comes first and the clamp second: rounding toward the clean image would weaken an attack by a third.

    Args:
        images: Adversarial images, (N, 3, H, W), in [0, 1].
        center: The clean images they came from, same shape.
        eps: L-infinity budget in [0, 1] units; `floor(255 * eps)` levels of it exist on the 8-bit grid.
    """
    levels = whole_levels(eps)
    clean = torch.round(center * 255)
    nearest = torch.round(images * 255)
    return _from_levels(torch.clamp(torch.clamp(nearest, clean - levels, clean + levels), 0, 255))


def linf_distance(images: Tensor, center: Tensor) -> Tensor:
    """Largest absolute pixel change, (N,)."""
    return (images - center).abs().flatten(1).amax(1)


def l2_distance(images: Tensor, center: Tensor) -> Tensor:
    """Euclidean length of the change, (N,)."""
    length: Tensor = torch.linalg.vector_norm((images - center).flatten(1), dim=1)
    return length


def ssim(images: Tensor, center: Tensor) -> Tensor:
    """Structural similarity, (N,); torchmetrics' (11x11 Gaussian window, sigma 1.5) on [0, 1] RGB.

    It is a mean over pixels. Those of large photographs are gone through in strips of rows, which takes less memory.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # heavy import

    height, width = images.shape[-2:]
    if height * width <= LARGE:
        value = structural_similarity_index_measure(images, center, data_range=1.0, reduction="none")
        assert isinstance(value, Tensor)
        return value.reshape(-1)
    total, step = images.new_zeros(len(images)), max(STRIP // width, 1)
    for first in range(0, height, step):
        top, last = max(first - SSIM_REACH, 0), min(first + step, height)
        rows = (..., slice(top, last + SSIM_REACH), slice(None))
        _, at_pixels = structural_similarity_index_measure(
            images[rows], center[rows], data_range=1.0, reduction="none", return_full_image=True
        )
        total = total + at_pixels[..., first - top : last - top, :].flatten(1).sum(1)
    return total / images[0].numel()


def visible_difference(images: Tensor, center: Tensor) -> tuple[Tensor, int]:
    """The difference about mid-gray, (N, 3, H, W) in [0, 1], and the whole number it was multiplied by.

    One number for all, so that the largest difference comes to `LOUDEST` levels, or as it is where it is larger.
    """
    difference = images - center
    levels = round(255 * float(difference.abs().max()))
    factor = max(1, LOUDEST // max(levels, 1))
    return (127 / 255 + factor * difference).clamp(0, 1), factor
