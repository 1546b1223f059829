from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from robustiqa.attacks.jnd import edge_map, just_noticeable_difference, luminance_adaptation
from robustiqa.core.errors import MissingExtraError
from tests.toys import toy_photos

pytest.importorskip("kornia", reason="needs kornia, an optional extra")

Array = npt.NDArray[np.float64]


def gray_photo(levels: Tensor) -> Tensor:
    """(H, W) levels as a photograph, (1, 3, H, W), in double precision."""
    return levels.double().expand(1, 3, *levels.shape) / 255


def step(height: Tensor | float, side: int = 12, base: float = 60.0) -> Tensor:
    """`base` on the left, `base + height` on the right; one height, or one a row."""
    levels = torch.full((side, side), base)
    levels[:, side // 2 :] += torch.as_tensor(height).reshape(-1, 1)
    return gray_photo(levels)


def jnd_by_loops(photo: Array, edges: Array) -> Array:
    """The formulas pixel by pixel, in grey levels."""
    gray: Array = 255 * (0.299 * photo[0] + 0.587 * photo[1] + 0.114 * photo[2])
    found = np.zeros_like(gray)
    for y, x in np.ndindex(gray.shape):
        g = gray[y, x]
        luminance = 17 * (1 - np.sqrt(g / 127)) + 3 if g <= 127 else 3 * (g - 127) / 128 + 3
        window = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        masking = 0.117 * np.ptp(255 * edges[window]) + 3 * 0.117 * np.ptp(gray[window])
        found[y, x] = luminance + masking - 0.3 * min(luminance, masking)
    return found


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("spread", [0, 6, 40, 127])
def test_the_map_is_luminance_plus_masking_less_their_overlap(seed: int, spread: int) -> None:
    photos = toy_photos(2, 13, seed, low=128 - spread, high=128 + spread)[..., :11].double()
    edges = edge_map(photos)
    found = just_noticeable_difference(photos)
    assert found.shape == (2, 1, 13, 11)
    for photo, edge, jnd in zip(photos, edges, found, strict=True):
        expected = jnd_by_loops(photo.numpy(), edge[0].numpy())
        np.testing.assert_allclose(255 * jnd[0].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_a_flat_photo_hides_what_its_luminance_hides() -> None:
    levels = torch.tensor([0.0, 127.0, 255.0, 127 / 4])
    expected = torch.tensor([20.0, 3.0, 6.0, 11.5])
    torch.testing.assert_close(luminance_adaptation(levels), expected)
    for level, jnd in zip(levels, expected, strict=True):
        found = 255 * just_noticeable_difference(gray_photo(level.expand(8, 8)))
        torch.testing.assert_close(found, jnd.double().expand_as(found), rtol=1e-6, atol=0)


def test_the_largest_jnd_is_that_of_black_beside_white_and_none_is_below_three_levels() -> None:
    half = 255 * just_noticeable_difference(step(255.0, base=0.0))
    largest = 20 + 0.117 * 255 + 0.351 * 255 - 0.3 * 20
    assert half.max().item() == pytest.approx(largest)
    assert largest == pytest.approx(133.34)
    noise = 255 * just_noticeable_difference(toy_photos(4, 24, low=0, high=255))
    assert noise.min() >= 3
    assert noise.max() <= largest


@pytest.mark.parametrize(("height", "is_edge"), [(37.0, False), (38.0, True), (-37.0, False), (-38.0, True)])
def test_a_step_is_an_edge_from_150_levels_of_the_sobel_gradient_which_is_four_times_its_height(
    height: float, is_edge: bool
) -> None:
    edges = edge_map(step(height))
    assert set(edges.flatten().tolist()) <= {0.0, 1.0}
    assert edges.sum(3).flatten().tolist() == [float(is_edge)] * 12  # one pixel a row
    assert not edges[..., :5].any()
    assert not edges[..., 7:].any()


def test_a_weaker_step_is_an_edge_where_it_goes_on_from_one() -> None:
    strong_above = torch.where(torch.arange(12) < 4, 60.0, 30.0)
    assert edge_map(step(strong_above)).sum(3).flatten()[1:-1].min() == 1
    assert edge_map(step(30.0)).sum() == 0
    too_weak_below = torch.where(torch.arange(12) < 4, 60.0, 8.0)
    assert edge_map(step(too_weak_below))[..., 6:, :].sum() == 0


def test_photos_of_a_batch_do_not_see_one_another() -> None:
    photos = toy_photos(3, 16)
    alone = torch.cat([just_noticeable_difference(photo[None]) for photo in photos])
    assert torch.equal(just_noticeable_difference(photos), alone)


def test_without_kornia_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia.filters", None)
    with pytest.raises(MissingExtraError) as caught:
        just_noticeable_difference(toy_photos(1))
    assert str(caught.value) == (
        "edge maps need kornia, which is not installed; install it with `pip install 'robustiqa[kornia]'`."
    )
