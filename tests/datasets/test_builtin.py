from __future__ import annotations

import io
import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from robustiqa.core.dataset import Photo
from robustiqa.core.errors import InputError
from robustiqa.core.seeds import generator
from robustiqa.datasets.builtin import PHOTOGRAPHS, load_builtin
from robustiqa.datasets.distortions import DEPTHS, LEVELS, STRENGTHS, distort, pseudo_mos
from robustiqa.datasets.scenes import paint_scene, power_law_field

SMALL = load_builtin(scenes=20, size=48)


def photo(key: str) -> Photo:
    return SMALL.select([key]).photos[0]


def test_there_are_21_pictures_of_each_scene_and_scenes_are_not_cut() -> None:
    assert len(SMALL) == (20 + len(PHOTOGRAPHS)) * (1 + len(STRENGTHS) * LEVELS)
    scenes = {part: {photo.group for photo in SMALL.part(part)} for part in SMALL.parts}
    assert {part: len(names) for part, names in scenes.items()} == {"train": 17, "validation": 3, "test": 5}
    assert len(set.union(*scenes.values())) == 25
    assert sum(len(SMALL.part(part)) for part in SMALL.parts) == len(SMALL)


def test_more_scenes_leave_the_first_as_they_are() -> None:
    more = load_builtin(scenes=31, size=48)
    for part, keys in SMALL.parts.items():
        assert set(keys) <= set(more.parts[part])
    assert more.select([photo.key for photo in SMALL]).photos == SMALL.photos


def test_a_picture_is_8_bit_and_depends_on_its_fields_alone() -> None:
    for key in ("scene-0003-noise-2", "scene-0003-exposure-3", "chelsea-jpeg-4", "rocket-pristine-0"):
        image = photo(key).read()
        assert image.shape == (3, 48, 48)
        assert image.dtype == torch.float32
        np.testing.assert_array_equal(image.numpy(), (np.round(image.numpy() * 255.0) / 255).astype(np.float32))
        torch.manual_seed(torch.seed())
        load_builtin(scenes=1, size=48, seed=9).photos[5].read()
        assert torch.equal(photo(key).read(), image)
        assert torch.equal(pickle.loads(pickle.dumps(photo(key))).read(), image)


def test_each_picture_draws_its_own_noise_and_direction_of_exposure() -> None:
    residuals = [
        (photo(f"{scene}-noise-{level}").read() - photo(f"{scene}-pristine-0").read()).flatten().numpy()
        for scene in ("scene-0003", "scene-0004")
        for level in (1, 2)
    ]
    alike = np.corrcoef(residuals) - np.eye(4)
    assert np.abs(alike).max() < 0.1
    brighter = {
        bool(
            photo(f"scene-{number:04d}-exposure-1").read().mean()
            > photo(f"scene-{number:04d}-pristine-0").read().mean()
        )
        for number in range(8)
    }
    assert brighter == {True, False}


def test_seeds_and_scenes_differ() -> None:
    pictures = [paint_scene(seed, name, 48) for seed in (0, 1) for name in ("scene-0000", "scene-0001")]
    for number, first in enumerate(pictures):
        for second in pictures[number + 1 :]:
            assert (first - second).abs().mean() > 0.05


def test_the_score_falls_with_the_level_and_scatters_little_about_the_convention() -> None:
    for kind in STRENGTHS:
        steps = [pseudo_mos(kind, level) for level in range(LEVELS + 1)]
        assert steps[0] == 90
        assert steps[-1] == pytest.approx(90 - DEPTHS[kind])
        np.testing.assert_allclose(np.diff(steps), -DEPTHS[kind] / 4)
    scatter = []
    for picture in SMALL:
        assert picture.mos is not None
        assert 0 <= picture.mos <= 100
        _, kind, level = picture.key.rsplit("-", 2)
        scatter.append(picture.mos - pseudo_mos(kind, int(level)))
    assert np.std(scatter) == pytest.approx(2.0, rel=0.1)
    assert abs(np.mean(scatter)) < 0.3
    assert np.abs(scatter).max() < 10


def test_a_power_law_field_has_a_spectrum_that_falls_as_asked() -> None:
    for slope in (1.0, 1.7):
        field = power_law_field(256, slope, generator("field", slope)).double().numpy()
        assert field.std() == pytest.approx(1, abs=1e-3)
        assert field.mean() == pytest.approx(0, abs=1e-5)
        amplitude = np.abs(np.fft.fft2(field))
        frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None, :])
        inside = (frequency > 0.01) & (frequency < 0.5)
        measured = np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0]
        assert measured == pytest.approx(-slope, abs=0.05)


def test_painted_scenes_are_exposed_like_photographs() -> None:
    for number in range(6):
        picture = paint_scene(0, f"scene-{number:04d}", 96)
        luminance = (picture * torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)).sum(0)
        assert 0.38 < luminance.mean() < 0.54
        assert 0.15 < luminance.std() < 0.26
        assert ((picture == 0) | (picture == 1)).float().mean() < 0.1


def levels_of(image: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return image.double().numpy() * 255


@pytest.fixture(name="scene")
def _scene() -> torch.Tensor:
    return paint_scene(0, "scene-0001", 64)


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_blur_weighs_each_neighbor_by_a_gaussian_of_its_distance(level: int) -> None:
    sigma = STRENGTHS["blur"][level - 1]
    dots = torch.zeros(3, 41, 41)
    dots[1, 20, 20] = 1.0  # far from any border
    blurred = levels_of(distort(dots, "blur", level, generator()))
    radius = math.floor(3 * sigma + 0.5)
    weights = {step: math.exp(-0.5 * (step / sigma) ** 2) for step in range(-radius, radius + 1)}
    total = sum(weights.values())
    for y in range(41):
        for x in range(41):
            expected = 255 * weights.get(y - 20, 0.0) * weights.get(x - 20, 0.0) / total**2
            assert abs(blurred[1, y, x] - expected) < 0.5 + 1e-3
    assert blurred[[0, 2]].max() == 0


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_contrast_and_exposure_are_affine_and_a_gain(scene: torch.Tensor, level: int) -> None:
    clean = levels_of(scene)
    faded = levels_of(distort(scene, "contrast", level, generator()))
    expected = clean.mean() + STRENGTHS["contrast"][level - 1] * (clean - clean.mean())
    assert np.abs(faded - expected).max() < 0.51
    gain = 2 ** (STRENGTHS["exposure"][level - 1] / 2.2)
    directions = set()
    for seed in range(6):
        exposed = levels_of(distort(scene, "exposure", level, generator(seed)))
        over = bool(exposed.mean() > clean.mean())
        directions.add(over)
        assert np.abs(exposed - np.clip(clean * (gain if over else 1 / gain), 0, 255)).max() < 0.51
    assert directions == {True, False}


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_noise_has_the_strength_of_its_level(level: int) -> None:
    gray = torch.full((3, 128, 128), 0.5)
    noisy = distort(gray, "noise", level, generator(level))
    sigma = STRENGTHS["noise"][level - 1]
    assert (noisy - 0.5).std().item() == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_jpeg_is_pillows(scene: torch.Tensor, level: int) -> None:
    file = io.BytesIO()
    pixels = np.round(levels_of(scene)).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=int(STRENGTHS["jpeg"][level - 1]))
    expected = np.asarray(Image.open(file), dtype=np.float64).transpose(2, 0, 1)
    np.testing.assert_allclose(levels_of(distort(scene, "jpeg", level, generator())), expected, atol=1e-4)


@pytest.mark.parametrize("kind", sorted(STRENGTHS))
def test_a_higher_level_is_farther_from_the_picture_and_level_0_is_the_picture(scene: torch.Tensor, kind: str) -> None:
    errors = [
        float((distort(scene, kind, level, generator("same")) - scene).square().mean()) for level in range(LEVELS + 1)
    ]
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert len(set(errors)) == LEVELS + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 31}, "size must lie between 32 and 300 pixels, got 31."),
        ({"size": 301}, "size must lie between 32 and 300 pixels, got 301."),
        ({"scenes": 0}, "scenes must be a whole number of at least 1, got 0."),
    ],
)
def test_sizes_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_builtin(**options)
    assert str(caught.value) == message
