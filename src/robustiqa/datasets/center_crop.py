"""Center crops: photographs cut to one square in their middle, for attacks that are too long for all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from robustiqa.core.checks import check_positive_integer
from robustiqa.core.dataset import Dataset, ImageSource


@dataclass(frozen=True)
class CenterCrop:
    """The middle of a photograph.

    Attributes:
        source: The photograph.
        side: Of the square, in pixels; a photograph that is shorter keeps its length there.
    """

    source: ImageSource
    side: int

    def read(self) -> Tensor:
        """The crop, (3, H, W), float32 RGB in [0, 1]."""
        image = self.source.read()
        top, left = (max(length - self.side, 0) // 2 for length in image.shape[1:])
        return image[:, top : top + self.side, left : left + self.side].contiguous()


def center_crops(dataset: Dataset, side: int) -> Dataset:
    """The middle of every photograph, under a name that says so; keys, opinion scores and parts stay.

    Raises:
        InputError: if `side` is not a whole number of at least 1.
    """
    check_positive_integer(side, "side")
    photos = tuple(replace(photo, source=CenterCrop(photo.source, side)) for photo in dataset.photos)
    return replace(dataset, name=f"{dataset.name}, center crops of {side} pixels", photos=photos)
