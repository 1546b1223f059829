"""NES and SPSA against the gradient of a linear score, which is known, and against loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks.estimated_gradient import NES, SPSA, EstimatedGradient, estimated_gradient
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from tests.toys import ConvModel, LinearModel, Nearness, RecordingModel, toy_photos

BOTH = pytest.mark.parametrize("attack", [NES, SPSA])
EXTRA = {NES: 1, SPSA: -1}  # squared length over the gradient's is 1 + (D + extra) / samples


def estimate(
    attack: type[EstimatedGradient], slopes: Tensor, samples: int, seed: int = 0, batch: int = 64, radius: float = 0.01
) -> Tensor:
    image, draw = torch.full_like(slopes, 0.5), torch.Generator().manual_seed(seed)
    return estimated_gradient(
        lambda points: (slopes * points).flatten(1).sum(1),
        image,
        lambda: attack.direction(image, draw),
        samples,
        radius,
        batch,
    )


def slopes(side: int, seed: int = 0) -> Tensor:
    return torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@BOTH
def test_an_estimate_is_the_gradient_on_average_and_as_long_as_the_closed_form_says(
    attack: type[EstimatedGradient],
) -> None:
    truth, samples, repeats = slopes(4), 6, 600
    found = torch.stack([estimate(attack, truth, samples, seed) for seed in range(repeats)])
    noise = math.sqrt(truth.numel() / (samples * repeats))  # of the mean's length, in gradients
    assert ((found.mean(0) - truth).norm() / truth.norm()).item() < 2 * noise
    length = (found.flatten(1).square().sum(1).mean() / truth.square().sum()).item()
    assert length == pytest.approx(1 + (truth.numel() + EXTRA[attack]) / samples, rel=0.06)


@BOTH
def test_the_cosine_grows_with_the_samples_as_expected(attack: type[EstimatedGradient]) -> None:
    truth = slopes(8)
    for samples in (4, 40, 400):
        cosines = [
            torch.cosine_similarity(estimate(attack, truth, samples, seed).flatten(), truth.flatten(), dim=0).item()
            for seed in range(20)
        ]
        expected = 1 / math.sqrt(1 + (truth.numel() + EXTRA[attack]) / samples)
        assert np.mean(cosines) == pytest.approx(expected, rel=0.12)


@BOTH
def test_an_estimate_is_that_of_a_loop_over_the_same_directions(attack: type[EstimatedGradient]) -> None:
    truth = slopes(3)
    draw, total = torch.Generator().manual_seed(7), np.zeros((3, 3, 3))
    for _ in range(11):
        direction = attack.direction(truth, draw).numpy()
        ahead, behind = ((truth.numpy() * (0.5 + sign * 0.01 * direction)).sum() for sign in (1, -1))
        total += direction * (ahead - behind) / 0.02
    np.testing.assert_allclose(estimate(attack, truth, 11, seed=7).numpy(), total / 11, rtol=1e-9)


@BOTH
@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_the_size_of_a_forward_pass_changes_no_draw(attack: type[EstimatedGradient], batch: int) -> None:
    torch.testing.assert_close(estimate(attack, slopes(3), 11, batch=batch), estimate(attack, slopes(3), 11))


def test_directions_have_mean_zero_variance_one_and_signs_are_signs() -> None:
    image, draw = torch.zeros(3, 100, 100), torch.Generator().manual_seed(0)
    for attack in (NES, SPSA):
        direction = attack.direction(image, draw)
        assert abs(direction.mean().item()) < 0.03
        assert direction.var().item() == pytest.approx(1, abs=0.03)
    assert set(SPSA.direction(image, draw).flatten().tolist()) == {-1.0, 1.0}
    assert NES.direction(image, draw).abs().max() > 3


@BOTH
def test_one_well_estimated_step_is_nearly_the_step_along_the_gradient(attack: type[EstimatedGradient]) -> None:
    model, photo = LinearModel.random(side=5, size=1.0), toy_photos(1, 5)
    result = attack(objective="raise", steps=1, samples=3000, step_size="4/255")(model, photo)
    most = 4 / 255 * model.slopes.abs().sum().item()
    assert 0.97 * most <= (result.scores - result.clean_scores).item() <= most + 1e-3


@BOTH
def test_every_pass_is_counted_and_none_is_larger_than_the_batch(attack: type[EstimatedGradient]) -> None:
    model, photos = RecordingModel(ConvModel().eval()).eval(), toy_photos(2, 8)
    result = attack(objective="lower", steps=3, samples=7, batch=6)(model, photos)
    assert result.queries.tolist() == [3 * (2 * 7 + 1)] * 2
    own = model.asked[1:-2]  # without the clean pass and the two that measure
    assert [len(images) for images in own] == [6, 6, 2, 1] * 3 * 2
    assert sum(map(len, own)) == int(result.queries.sum())


@BOTH
def test_points_outside_the_pixel_range_are_not_asked_about(attack: type[EstimatedGradient]) -> None:
    model, photos = RecordingModel(ConvModel().eval()).eval(), toy_photos(1, 8, low=0, high=1)
    attack(objective="lower", steps=2, samples=5, radius=0.1)(model, photos)
    assert all(images.min() >= 0 and images.max() <= 1 for images in model.asked)


@BOTH
def test_the_best_iterate_is_returned_and_not_the_last(attack: type[EstimatedGradient]) -> None:
    inner, photos = ConvModel(4).eval(), toy_photos(1, 8)
    best_places = []
    for seed in range(4):
        model = RecordingModel(inner).eval()
        result = attack(objective="raise", steps=12, samples=2, step_size="4/255", seed=seed)(model, photos)
        with torch.no_grad():
            iterates = torch.stack([inner(images)[0] for images in model.asked[1:-2] if len(images) == 1])
        assert len(iterates) == 12
        best_places.append(int(iterates.argmax()))
        assert result.scores.item() == pytest.approx(max(iterates.max().item(), result.clean_scores.item()), abs=1e-5)
    assert min(best_places) < 11  # else the last would do


@BOTH
def test_a_photo_that_can_only_lose_is_returned_as_it_came(attack: type[EstimatedGradient]) -> None:
    photos = toy_photos(1, 6)
    model: QualityModel = Nearness(photos).eval()
    assert torch.equal(attack(objective="raise", steps=3, samples=4)(model, photos).images, photos)


def test_the_default_step_crosses_the_ball_as_a_random_walk_does() -> None:
    assert NES(eps=0.1, steps=25).step == pytest.approx(0.02)
    assert NES(step_size="1/255").step == pytest.approx(1 / 255)
    assert (NES().reach, SPSA().reach) == (0.001, 0.01)


@BOTH
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0."),
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0."),
        ({"batch": 0}, "batch must be a whole number of at least 1, got 0."),
        ({"radius": 0}, "radius must be greater than 0, got 0; points at no distance say nothing."),
        ({"step_size": 0}, "step_size must be greater than 0, got 0; leave it out for eps / sqrt(steps)."),
    ],
)
def test_options_out_of_range_are_refused(
    attack: type[EstimatedGradient], options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        attack(**options)
    assert str(caught.value) == problem
