from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from robustiqa.core import pixels
from robustiqa.core.balls import Ball, L2Ball, LinfBall, create_ball
from robustiqa.core.errors import InputError
from robustiqa.core.seeds import generator
from tests.toys import toy_photos

Array = npt.NDArray[np.float64]


def random_images(count: int = 3, side: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Clean images with values at both ends, and images that have left the range."""
    draw = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 3, side, side, generator=draw, dtype=torch.float64)
    center = center.where(center > 0.2, 0.0).where(center < 0.8, 1.0)
    return center, center + 0.5 * torch.randn(center.shape, generator=draw, dtype=torch.float64)


def projected_by_dykstra(image: Array, center: Array, eps: float) -> Array:
    """The nearest point of ball and pixel range together, by Dykstra's alternating projections."""
    point, owed_by_ball, owed_by_range = image.copy(), np.zeros_like(image), np.zeros_like(image)
    for _ in range(5000):
        wanted = point + owed_by_ball - center
        in_ball = center + wanted * min(1.0, eps / max(float(np.linalg.norm(wanted)), 1e-300))
        owed_by_ball = point + owed_by_ball - in_ball
        point = np.clip(in_ball + owed_by_range, 0, 1)
        owed_by_range = in_ball + owed_by_range - point
    return point


def to_8bit_by_loops(image: Array, center: Array, eps: float) -> Array:
    """Levels: round each value, then take levels back one by one, the cheapest for what it saves first."""
    clean, wanted = center.flatten() * 255, image.flatten() * 255 - center.flatten() * 255
    moved = np.rint(wanted)
    limit = (255 * eps) ** 2 * (1 + 1e-6)

    def price(place: int) -> float:
        size, far = abs(wanted[place]), abs(moved[place])
        return float(((size - far + 1) ** 2 - (size - far) ** 2) / (far**2 - (far - 1) ** 2))

    waiting = sorted((place for place in range(len(wanted)) if moved[place]), key=price)
    while (moved**2).sum() > limit:
        place = waiting.pop(0)
        moved[place] -= np.sign(moved[place])
    return np.rint(clean + moved).reshape(image.shape)


@pytest.mark.parametrize("eps", [0.05, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_l2_projection_is_the_nearest_point_of_ball_and_range(eps: float, seed: int) -> None:
    center, images = random_images(seed=seed)
    found = L2Ball(eps).project(images, center)
    for place in range(len(images)):
        expected = projected_by_dykstra(images[place].numpy(), center[place].numpy(), eps)
        np.testing.assert_allclose(found[place].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [0.0, 1e-3, 0.5, 3.0])
def test_the_l2_projection_is_in_range_and_just_as_long_as_it_may_be(eps: float, dtype: torch.dtype) -> None:
    center, images = (part.to(dtype) for part in random_images(4, 16))
    found = L2Ball(eps).project(images, center)
    assert found.min() >= 0
    assert found.max() <= 1
    lengths = pixels.l2_distance(found, center)
    torch.testing.assert_close(lengths, torch.full_like(lengths, eps), rtol=2e-6, atol=1e-7)


def test_the_l2_projection_leaves_what_is_inside_alone_whatever_stands_beside_it() -> None:
    center = toy_photos(2, 8)
    images = center + torch.tensor([1e-3, 1.0]).reshape(2, 1, 1, 1) * torch.sin(1000 * center)
    ball = L2Ball(0.1)
    found = ball.project(images, center)
    assert torch.equal(found[0], images[0])
    torch.testing.assert_close(ball.project(found, center), found, rtol=0, atol=1e-7)
    assert torch.equal(ball.project(images[1:], center[1:])[0], found[1])


@pytest.mark.parametrize("ball", [LinfBall(0.03), L2Ball(0.7)])
def test_the_steepest_direction_has_length_one_and_no_other_climbs_more(ball: Ball) -> None:
    draw = torch.Generator().manual_seed(0)
    gradient = torch.randn(2, 3, 5, 5, generator=draw)
    direction = ball.steepest(gradient)
    torch.testing.assert_close(ball.distance(direction, torch.zeros_like(direction)), torch.ones(2))
    dual = gradient.abs().sum((1, 2, 3)) if ball.norm == "linf" else gradient.square().sum((1, 2, 3)).sqrt()
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), dual)
    assert torch.equal(ball.steepest(torch.zeros_like(gradient)), torch.zeros_like(gradient))


@pytest.mark.parametrize("ball", [LinfBall(0.2), L2Ball(0.2)])
def test_a_random_point_is_uniform_in_the_ball(ball: Ball) -> None:
    center = torch.full((3000, 3, 1, 1), 0.5)
    found = ball.random_point(center, [generator(0, place) for place in range(len(center))])
    share = (ball.distance(found, center) / ball.eps) ** 3  # of the ball's volume that lies further in
    assert kstest(share.numpy(), "uniform").pvalue > 0.01
    assert (found - center).mean((0, 2, 3)).abs().max() < 0.01
    assert len({tuple(image) for image in found.flatten(1).tolist()}) == len(found)


@pytest.mark.parametrize("ball", [LinfBall(0.2), L2Ball(0.5)])
def test_a_random_point_belongs_to_the_generator_and_stays_in_range(ball: Ball) -> None:
    center = toy_photos(3, 8, low=0, high=255)
    found = ball.random_point(center, [generator(key) for key in "abc"])
    assert torch.equal(ball.random_point(center[[2]], [generator("c")])[0], found[2])
    assert torch.equal(found, ball.project(found, center))


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_l2_rounding_agrees_with_a_loop_over_values_and_stays_in_the_budget(eps: float, seed: int) -> None:
    center = toy_photos(3, 6, seed, low=0, high=255)
    ball = L2Ball(eps)
    drawn = torch.randn(center.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    images = ball.project(center.double() + drawn, (center.double() * 255).round() / 255)
    found = ball.to_8bit(images, center)
    levels = (found.double() * 255).round()
    assert ((levels - (center.double() * 255).round()).square().sum((1, 2, 3)).sqrt() <= 255 * eps * (1 + 1e-6)).all()
    assert torch.equal(found.float(), pixels.quantize(found.float()))
    for place in range(len(center)):
        clean = (center[place].double() * 255).round() / 255
        expected = to_8bit_by_loops(images[place].numpy(), clean.numpy(), eps)
        np.testing.assert_array_equal(levels[place].numpy(), expected)


def test_l2_rounding_gives_the_nearest_levels_where_they_fit() -> None:
    center = toy_photos(2, 6)
    images = center + 0.4 * torch.sin(100 * center) / 255 + 2 / 255
    assert torch.equal(L2Ball(5.0).to_8bit(images, center), pixels.quantize(images))


def test_l2_rounding_takes_back_no_more_than_it_must() -> None:
    center = torch.full((1, 3, 4, 4), 100 / 255)
    images = center + 0.6 / 255  # 48 values round up to a level; the change allows .36 * 48 = 17.3
    moved = (255 * (L2Ball(0.6 * 48**0.5 / 255).to_8bit(images, center) - center)).round()
    assert moved.sum() == 17
    assert set(moved.flatten().tolist()) == {0.0, 1.0}


def test_l2_rounding_takes_back_what_costs_least_for_what_it_saves() -> None:
    center = torch.full((1, 3, 6, 6), 100 / 255)
    images = center + 0.6 / 255
    images[0, 0, 0, 0] = center[0, 0, 0, 0] + 10.1 / 255  # 9 for 10 saves 19, 0 for 1 saves 1 only
    ball = L2Ball((10.1**2 + 107 * 0.6**2) ** 0.5 / 255)
    moved = (255 * (ball.to_8bit(images, center) - center)).round()
    assert moved[0, 0, 0, 0] == 9
    assert moved.square().sum() == 140  # of 140.5


def test_an_l2_budget_of_whole_levels_is_used_to_the_last() -> None:
    center = torch.full((1, 3, 2, 2), 100 / 255)
    images = center.clone()
    images[0, 0, 0, 0] += 3 / 255
    assert torch.equal(L2Ball(3 / 255).to_8bit(images, center), images)


@pytest.mark.parametrize("eps", [0.05, 0.5])
def test_l2_rounding_stays_in_the_budget_whatever_comes_in(eps: float) -> None:
    center = toy_photos(2, 8, low=0, high=255)
    found = L2Ball(eps).to_8bit(center + torch.tensor([-9.0, 9.0]).reshape(2, 1, 1, 1), center)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (pixels.l2_distance(found.double(), center.double()) <= eps * (1 + 1e-6)).all()


def test_a_ball_has_the_levels_that_one_value_may_change_by() -> None:
    assert [create_ball("linf", eps).levels for eps in ("4/255", 0.01, 0)] == [4, 2, 0]
    assert [create_ball("l2", eps).levels for eps in ("4/255", 3, 0)] == [4, 255, 0]


@pytest.mark.parametrize(
    ("norm", "eps", "problem"),
    [
        ("l1", 1, "unknown norm 'l1'. Known: l2, linf."),
        ("lnf", 1, "unknown norm 'lnf'; did you mean 'linf'? Known: l2, linf."),
        ("linf", 4, "eps is in [0, 1] pixel units, got 4; did you mean '4/255'?"),
        ("l2", -1, "eps is an L2 length in [0, 1] pixel units, finite and at least 0, got -1."),
        ("l2", float("inf"), "eps is an L2 length in [0, 1] pixel units, finite and at least 0, got inf."),
        ("l2", "two", "eps must be a number or a fraction like '4/255', got 'two'."),
    ],
)
def test_a_ball_that_does_not_exist_is_refused_in_one_sentence(norm: str, eps: float | str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        create_ball(norm, eps)
    assert str(caught.value) == problem
