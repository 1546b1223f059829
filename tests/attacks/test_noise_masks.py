from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from robustiqa.attacks import noise_masks
from robustiqa.attacks.noise_masks import (
    minimum_barrier_distance,
    minimum_barrier_saliency,
    noise_mask,
    texture_crop,
    texture_images,
)
from robustiqa.core.errors import DataError
from tests.toys import toy_photos

pytest.importorskip("kornia", reason="needs kornia, an optional extra")

Array = npt.NDArray[np.float64]


def distance_by_flooding(values: Array) -> Array:
    """The least barrier: for each band of levels, what the border reaches without leaving the band."""
    levels = sorted(set(values.flatten().tolist()))
    found = np.full(values.shape, np.inf)
    border = np.ones(values.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    for i, low in enumerate(levels):
        for high in levels[i:]:
            inside = (values >= low) & (values <= high)
            reached = inside & border
            while True:
                padded = np.pad(reached, 1)
                grown = reached | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
                grown &= inside
                if (grown == reached).all():
                    break
                reached = grown
            found[reached] = np.minimum(found[reached], high - low)
    return found


def squares() -> Array:
    values = np.zeros((12, 14))
    values[2:10, 2:12] = 0.5
    values[4:7, 4:9] = 0.2
    return values


def ring_with_a_gap() -> Array:
    values = np.full((11, 11), 0.25)
    values[3:8, 3:8] = 1.0
    values[4:7, 4:7] = 0.25
    values[5, 7] = 0.5
    return values


def ramp_with_a_spot() -> Array:
    values = np.tile(np.linspace(0, 1, 11), (9, 1))
    values[4, 5] = 0.9
    return values


@pytest.mark.parametrize("values", [squares(), ring_with_a_gap(), ramp_with_a_spot()])
def test_the_barrier_distance_of_simple_pictures_is_exact(values: Array) -> None:
    found = minimum_barrier_distance(torch.from_numpy(values)[None, None])[0, 0]
    np.testing.assert_allclose(found.numpy(), distance_by_flooding(values), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_barrier_distance_of_noise_is_never_too_small_and_hardly_too_large(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 6, (10, 9)) / 5
    found = minimum_barrier_distance(torch.from_numpy(values)[None, None])[0, 0].numpy()
    exact = distance_by_flooding(values)
    assert (found >= exact - 1e-12).all()
    assert found.mean() <= 1.1 * exact.mean()


def test_saliency_is_the_mean_over_channels_as_a_share_of_the_farthest_pixel() -> None:
    picture = torch.stack([torch.from_numpy(squares()), torch.zeros(12, 14), torch.from_numpy(squares()) / 2])[None]
    found = minimum_barrier_saliency(picture)
    distance = distance_by_flooding(squares())
    np.testing.assert_allclose(found[0, 0].numpy(), distance / distance.max(), atol=1e-12)
    assert minimum_barrier_saliency(torch.full((1, 3, 6, 6), 0.4)).tolist() == torch.zeros(1, 1, 6, 6).tolist()


def half_and_half(height: float) -> Tensor:
    photo = torch.full((1, 3, 12, 12), 0.3)
    photo[..., 6:] += height
    return photo


def test_the_mask_is_within_a_pixel_of_edges_and_where_the_photo_is_salient() -> None:
    columns = noise_mask(half_and_half(0.5))[0, 0].any(0)
    assert columns.nonzero().flatten().tolist() in ([4, 5, 6], [5, 6, 7])
    spot = torch.full((1, 3, 12, 12), 0.3)
    spot[..., 5, 5] += 0.02  # too faint for an edge
    assert noise_mask(spot).nonzero().tolist() == [[0, 0, 5, 5]]
    faint = spot.clone()
    faint[..., 8, 8] += 0.02 * 0.2  # a fifth as salient, below 0.225
    assert noise_mask(faint).nonzero().tolist() == [[0, 0, 5, 5]]


def test_a_photo_in_which_nothing_stands_out_may_change_everywhere_whatever_stands_beside_it() -> None:
    photos = torch.cat([torch.full((1, 3, 12, 12), 0.3), half_and_half(0.5)])
    mask = noise_mask(photos)
    assert mask[0].all()
    assert not mask[1].all()
    assert mask.dtype == torch.bool
    assert mask.shape == (2, 1, 12, 12)


def test_textures_are_two_grey_photographs() -> None:
    textures = texture_images()
    assert textures.shape == (2, 512, 512)
    assert textures.min() >= 0
    assert textures.max() <= 1
    assert not torch.equal(textures[0], textures[1])


def test_a_crop_is_cut_from_a_texture_that_goes_on_as_its_own_mirror_image() -> None:
    textures = toy_photos(1, 8)[0][:2, :, :7]  # two of 8x7
    padded = np.pad(textures.numpy(), ((0, 0), (0, 32), (0, 28)), mode="symmetric")
    draw, seen = torch.Generator().manual_seed(0), set()
    for _ in range(60):
        crop = texture_crop(textures, 12, 10, draw).numpy()
        places = [
            (which, top, left)
            for which, top, left in np.ndindex(2, 8, 7)
            if np.array_equal(padded[which, top : top + 12, left : left + 10], crop)
        ]
        assert places
        seen.update(places)
    assert {which for which, _, _ in seen} == {0, 1}
    assert {top for _, top, _ in seen} == set(range(8))
    assert {left for _, _, left in seen} == set(range(7))


def test_missing_textures_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_masks, "TEXTURES", ("heather.png",))
    with pytest.raises(DataError, match=r"^expected scikit-image's texture .*heather\.png, found nothing; reinstall"):
        texture_images()
