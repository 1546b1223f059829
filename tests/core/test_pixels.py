from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter

from robustiqa.core import pixels
from tests.toys import toy_photos

EVERY_LEVEL = (torch.arange(256).float() / 255).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)


def to_8bit_by_loops(adversarial: torch.Tensor, center: torch.Tensor, levels: int) -> npt.NDArray[np.float32]:
    """One value at a time: the nearest level, no farther than `levels` from the clean one."""
    found = np.empty(adversarial.numel(), np.float32)
    for place, (moved, clean) in enumerate(zip(adversarial.flatten().tolist(), center.flatten().tolist(), strict=True)):
        start = int(np.rint(clean * 255))
        allowed = [level for level in range(256) if abs(level - start) <= levels]
        nearest = min(range(256), key=lambda level: abs(level - moved * 255))
        level = min(allowed, key=lambda level: abs(level - nearest))
        found[place] = np.float32(level) / np.float32(255)
    return found.reshape(adversarial.shape)


@pytest.mark.parametrize(
    ("eps", "levels"), [(0.0, 0), (0.5 / 255, 0), (1 / 255, 1), (0.01, 2), (4 / 255, 4), (0.03, 7), (1.0, 255)]
)
def test_a_budget_holds_the_whole_levels_that_fit_into_it(eps: float, levels: int) -> None:
    assert pixels.whole_levels(eps) == levels


def test_a_budget_written_as_a_fraction_of_255_holds_just_that_many_levels() -> None:
    assert [pixels.whole_levels(count / 255) for count in range(256)] == list(range(256))
    assert [pixels.whole_levels(round(count / 255, 9)) for count in range(256)] == list(range(256))


@pytest.mark.parametrize(("eps", "levels"), [(0.01, 2), (4 / 255, 4), (0.5 / 255, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_to_8bit_agrees_with_a_loop_over_values(eps: float, levels: int, seed: int) -> None:
    center = toy_photos(1, 8, seed=seed, low=0, high=255)
    noise = torch.rand(center.shape, generator=torch.Generator().manual_seed(seed))
    adversarial = pixels.project_linf(center + eps * (2 * noise - 1) * 1.5, center, eps)
    found = pixels.to_8bit(adversarial, center, eps)
    np.testing.assert_array_equal(found.numpy(), to_8bit_by_loops(adversarial, center, levels))


def test_a_full_step_of_one_hundredth_becomes_two_levels_though_three_are_nearer() -> None:
    center = torch.full((1, 3, 2, 2), 100 / 255)
    found = pixels.to_8bit(center + 0.01, center, 0.01)
    torch.testing.assert_close(found, torch.full_like(center, 102 / 255), rtol=0, atol=0)


@pytest.mark.parametrize("eps", [0.0, 0.01, 4 / 255])
def test_every_8bit_level_survives_to_8bit_to_the_last_bit(eps: float) -> None:
    assert torch.equal(pixels.to_8bit(EVERY_LEVEL, EVERY_LEVEL, eps), EVERY_LEVEL)
    assert torch.equal(pixels.quantize(EVERY_LEVEL), EVERY_LEVEL)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_8bit_level_survives_on_a_gpu_to_the_last_bit() -> None:
    on_gpu = EVERY_LEVEL.cuda()
    assert torch.equal(pixels.to_8bit(on_gpu, on_gpu, 0.01).cpu(), EVERY_LEVEL)


def test_to_8bit_stays_in_the_pixel_range_whatever_comes_in() -> None:
    center = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2)
    found = pixels.to_8bit(center + torch.tensor([-0.5, 0.5]), center, 0.1)
    assert torch.equal(found, center)


def test_levels_equal_those_that_numpy_reads_from_bytes() -> None:
    stored = np.arange(256, dtype=np.uint8)
    read = stored.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(pixels.quantize(EVERY_LEVEL)[0, 0].flatten().numpy(), read)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 5, 7)])
def test_project_linf_clips_to_the_ball_and_to_the_pixel_range(shape: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(0)
    center = torch.rand(shape, generator=draw)
    images = 3 * torch.randn(shape, generator=draw)
    found = pixels.project_linf(images, center, 0.1)
    expected = np.clip(
        np.clip(images.numpy(), center.numpy() - np.float32(0.1), center.numpy() + np.float32(0.1)), 0, 1
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-7)


def test_project_linf_leaves_images_inside_the_ball_alone_and_is_idempotent() -> None:
    center = toy_photos(2, 8)
    inside = center + 0.01 * torch.sin(1000 * center)
    assert torch.equal(pixels.project_linf(inside, center, 0.02), inside)
    once = pixels.project_linf(center + 0.3, center, 0.02)
    assert torch.equal(pixels.project_linf(once, center, 0.02), once)


def test_distances_are_those_of_numpy_an_image_at_a_time() -> None:
    center, images = toy_photos(3, 6, seed=0), toy_photos(3, 6, seed=1)
    changes = (images - center).numpy().astype(np.float64)
    np.testing.assert_allclose(
        pixels.linf_distance(images, center).numpy(), [np.abs(change).max() for change in changes], rtol=1e-6
    )
    np.testing.assert_allclose(
        pixels.l2_distance(images, center).numpy(),
        [np.sqrt((change**2).sum()) for change in changes],
        rtol=1e-6,
    )


def ssim_by_scipy(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Wang et al. 2004 on one channel: Gaussian windows of sigma 1.5, 11 wide, borders mirrored and counted."""

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        smoothed: npt.NDArray[np.float64] = gaussian_filter(values, 1.5, mode="mirror", truncate=3.5)
        return smoothed

    means = mean(one), mean(other)
    variances = mean(one**2) - means[0] ** 2, mean(other**2) - means[1] ** 2
    covariance = mean(one * other) - means[0] * means[1]
    luminance = (2 * means[0] * means[1] + 0.01**2) / (means[0] ** 2 + means[1] ** 2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variances[0] + variances[1] + 0.03**2)
    return float((luminance * structure).mean())


def test_ssim_is_its_formula_with_the_filter_of_scipy_and_one_for_equal_images() -> None:
    center = toy_photos(2, 20)
    images = (center + 0.05 * torch.randn(center.shape)).clamp(0, 1)
    expected = [
        np.mean([ssim_by_scipy(one[c], other[c]) for c in range(3)])
        for one, other in zip(images.double().numpy(), center.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(pixels.ssim(images, center).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(pixels.ssim(center, center).numpy(), [1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 4, 19])
def test_ssim_in_strips_of_rows_is_that_of_the_whole(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    center = toy_photos(2, 20).double()
    images = (center + 0.05 * torch.randn(center.shape)).clamp(0, 1)
    whole = pixels.ssim(images, center)
    monkeypatch.setattr(pixels, "LARGE", 20 * 20 - 1)
    monkeypatch.setattr(pixels, "STRIP", rows * 20 + 7)
    torch.testing.assert_close(pixels.ssim(images, center), whole, rtol=1e-12, atol=0)
