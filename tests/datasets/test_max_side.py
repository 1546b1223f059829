"""Photographs shrunk to a longest side: proportions, 8 bits, and a name that says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from robustiqa.core.errors import InputError
from robustiqa.datasets.max_side import shrink, shrunk
from tests.photos import tiny_dataset
from tests.toys import toy_photos


@pytest.mark.parametrize(
    ("size", "expected"),
    [((30, 40), (15, 20)), ((40, 30), (20, 15)), ((20, 20), (20, 20)), ((7, 9), (7, 9)), ((1, 100), (1, 20))],
)
def test_the_longer_side_is_met_and_proportions_are_kept(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = torch.rand(3, *size).mul(255).round().div(255)
    small = shrink(image, 20)
    assert small.shape == (3, *expected)
    assert torch.equal(small, image) == (size == expected)
    assert torch.equal((255 * small).round() / 255, small)
    assert 0 <= small.min() <= small.max() <= 1


def test_shrinking_is_pillows() -> None:
    image = toy_photos(1, 40, low=0, high=255)[0, :, :30]
    levels = (255 * image).byte().permute(1, 2, 0).numpy()
    expected = np.asarray(Image.fromarray(levels).resize((20, 15), Image.Resampling.BICUBIC)).astype(int)
    found = (255 * shrink(image, 20)).round().permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - expected).max() <= 1


def test_a_datasets_name_says_what_was_done_and_all_else_stays() -> None:
    dataset = tiny_dataset(train=1, validation=1, test=2, low=20, high=31)
    small = shrunk(dataset, 12)
    assert small.name == "tiny, at most 12 pixels a side"
    assert (small.parts, small.fingerprint()) == (dataset.parts, dataset.fingerprint())
    assert all(max(photo.read().shape) == 12 for photo in small)
    with pytest.raises(InputError, match=r"^max_side must be a whole number of at least 1, got 0\.$"):
        shrunk(dataset, 0)
