"""Photographs that are shrunk to a longest side, for networks whose memory and time grow with the photograph."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from robustiqa.core import pixels
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.dataset import Dataset, ImageSource


@dataclass(frozen=True)
class Shrunk:
    """A photograph whose longer side is at most `max_side`.

    Attributes:
        source: The photograph.
        max_side: In pixels.
    """

    source: ImageSource
    max_side: int

    def read(self) -> Tensor:
        """The photograph, (3, H, W), float32 RGB in [0, 1]; see `shrink`."""
        return shrink(self.source.read(), self.max_side)


def shrink(image: Tensor, max_side: int) -> Tensor:
    """A photograph (3, H, W), shrunk until its longer side is `max_side`, in its proportions; smaller ones as they are.

    Antialiased bicubic interpolation, rounded to 8 bits: what comes out is a picture that a file can hold.
    """
    height, width = image.shape[1:]
    size = shrunk_size(height, width, max_side)
    if size == (height, width):
        return image
    smaller = F.interpolate(image[None], size, mode="bicubic", antialias=True)
    return pixels.quantize(smaller.clamp(0, 1))[0]


def shrunk_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Height and width of a photograph that `shrink` is through with."""
    longest = max(height, width)
    if longest <= max_side:
        return height, width
    return max(1, round(height * max_side / longest)), max(1, round(width * max_side / longest))


def shrunk(dataset: Dataset, max_side: int) -> Dataset:
    """Every photograph shrunk to a longest side, under a name that says so; keys, opinion scores and parts stay.

    Raises:
        InputError: if `max_side` is not a whole number of at least 1.
    """
    check_positive_integer(max_side, "max_side")
    photos = tuple(replace(photo, source=Shrunk(photo.source, max_side)) for photo in dataset.photos)
    return replace(dataset, name=f"{dataset.name}, at most {max_side} pixels a side", photos=photos)
