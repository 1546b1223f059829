"""Center crops: the middle, under a name that says so."""

from __future__ import annotations

import pytest
import torch

from robustiqa.core.errors import InputError
from robustiqa.datasets.center_crop import center_crops
from tests.photos import tiny_dataset


@pytest.mark.parametrize("side", [7, 8, 20])
def test_a_crop_is_the_middle_of_its_photograph(side: int) -> None:
    dataset = tiny_dataset(train=0, validation=0, test=4, low=20, high=31)
    for whole, cut in zip(dataset, center_crops(dataset, side), strict=True):
        image, crop = whole.read(), cut.read()
        assert crop.shape == (3, side, side)
        top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
        assert torch.equal(crop, image[:, top : top + side, left : left + side])
        assert (cut.key, cut.mos) == (whole.key, whole.mos)


def test_a_short_photograph_keeps_its_length_and_the_name_says_what_was_cut() -> None:
    dataset = tiny_dataset(train=0, validation=0, test=2, low=20, high=20)
    cut = center_crops(dataset, 24)
    assert torch.equal(cut.photos[0].read(), dataset.photos[0].read())
    assert cut.name == "tiny, center crops of 24 pixels"
    assert cut.parts == dataset.parts
    with pytest.raises(InputError, match=r"^side must be"):
        center_crops(dataset, 0)
