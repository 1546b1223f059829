from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from robustiqa.attacks.gradient import FGSM, IFGSM
from robustiqa.attacks.objectives import RankSplit, Target, create_objective
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel, ScoreScale
from tests.toys import ConvModel, CountingModel, LinearModel, toy_photos

Array = npt.NDArray[np.float64]


class Bowl(QualityModel):
    """Minus the squared distance to `center`: a score whose best point lies inside the ball."""

    def __init__(self, center: Tensor) -> None:
        super().__init__((0, 0, 0), (1, 1, 1))
        self.center = center

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return -((normalized - self.center) ** 2).flatten(1).sum(1)


def l1(model: LinearModel) -> float:
    return float(model.slopes.detach().double().abs().sum())


def change(attack: FGSM | IFGSM, model: QualityModel, photos: Tensor) -> Tensor:
    result = attack(model, photos)
    return result.scores - result.clean_scores


@pytest.mark.parametrize("eps", [1e-3, 0.01, "4/255", "16/255"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("side", [1, 9, 24])
def test_fgsm_changes_a_linear_score_by_eps_times_the_l1_norm(eps: float | str, seed: int, side: int) -> None:
    model, photos = LinearModel.random(side, seed, size=1.0).double(), toy_photos(3, side, seed).double()
    attack = FGSM(eps=eps, objective="raise")
    expected = torch.full((3,), attack.budget * l1(model), dtype=torch.float64)
    torch.testing.assert_close(change(attack, model, photos), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(change(FGSM(eps=eps, objective="lower"), model, photos), -expected)


def test_fgsm_in_8_bits_changes_a_linear_score_by_whole_levels_times_the_l1_norm() -> None:
    model, photos = LinearModel.random(size=1.0), toy_photos(3)
    result = FGSM(eps=0.01, objective="raise")(model, photos)
    expected = torch.full((3,), 2 / 255 * l1(model))
    torch.testing.assert_close(result.scores_8bit - result.clean_scores, expected, rtol=1e-4, atol=0)


def test_fgsm_at_the_ends_of_the_range_moves_only_where_there_is_room() -> None:
    slopes = torch.tensor([1.0, -1.0, 2.0, -2.0]).reshape(1, 2, 2).expand(3, 2, 2)
    photos = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    moved = change(FGSM(eps=0.1, objective="raise"), LinearModel(slopes).eval(), photos)
    torch.testing.assert_close(moved, torch.tensor([3 * (0.1 * 1 + 0.1 * 2)]))


def test_pixels_without_a_gradient_stay() -> None:
    slopes = LinearModel.random().slopes.detach().clone()
    slopes[:, ::2] = 0
    result = FGSM(objective="raise")(LinearModel(slopes).eval(), toy_photos(2))
    moved = result.images != result.clean_images
    assert torch.equal(moved, (slopes != 0).expand_as(moved))


@pytest.mark.parametrize(("steps", "step_size"), [(1, 0.02), (4, 0.005), (5, 0.005), (10, None), (3, 0.02)])
def test_ifgsm_equals_fgsm_on_a_linear_model_once_its_steps_reach_the_budget(
    steps: int, step_size: float | None
) -> None:
    model, photos = LinearModel.random(), toy_photos(2)
    single = FGSM(eps=0.02)(model, photos)
    repeated = IFGSM(eps=0.02, steps=steps, step_size=step_size)(model, photos)
    torch.testing.assert_close(repeated.images, single.images, rtol=0, atol=2e-7)
    assert torch.equal(repeated.images_8bit, single.images_8bit)
    assert torch.equal(repeated.won, single.won)


def test_ifgsm_whose_steps_stay_inside_the_budget_goes_as_far_as_they_reach() -> None:
    model, photos = LinearModel.random().double(), toy_photos(2).double()
    moved = change(IFGSM(eps=0.02, steps=3, step_size=0.004, objective="raise"), model, photos)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.012 * l1(model)))


def ifgsm_by_loops(photo: Array, slope: Callable[[float, int], float], eps: float, steps: int, step: float) -> Array:
    """I-FGSM on a score that is a sum over pixels, a pixel and a step at a time."""
    found = photo.flatten()
    for place, start in enumerate(photo.flatten()):
        value = start
        for _ in range(steps):
            value = value + step * np.sign(slope(value, place))
            value = min(max(value, start - eps), start + eps)
            value = min(max(value, 0.0), 1.0)
        found[place] = value
    return found.reshape(photo.shape)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_ifgsm_agrees_with_a_loop_over_pixels_and_returns_its_last_iterate(steps: int) -> None:
    photos = toy_photos(2, 5, low=0, high=255).double()
    center = toy_photos(1, 5, seed=7, low=0, high=255)[0].double() * 0.1 + photos.mean(0) * 0.9
    flat = center.flatten().tolist()
    result = IFGSM(eps=0.03, steps=steps, step_size=0.011, objective="raise")(Bowl(center).eval(), photos)
    for photo, found in zip(photos, result.images, strict=True):
        expected = ifgsm_by_loops(photo.numpy(), lambda value, place: -2 * (value - flat[place]), 0.03, steps, 0.011)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_target_reaches_a_score_within_reach_to_within_a_step() -> None:
    model, photos = LinearModel.random(bias=50.0), toy_photos(4)
    aim = model(photos).detach().mean().item() + 0.2 * 0.03 * l1(model)
    attack = IFGSM(eps=0.1, steps=300, step_size=1e-3, objective=Target(score=aim))
    result = attack(model, photos)
    assert (result.clean_scores - aim).abs().min() > 2e-3 * l1(model)
    assert (result.scores - aim).abs().max() <= 1e-3 * l1(model) * 1.001


def test_target_beyond_reach_goes_to_the_edge_of_the_budget() -> None:
    model, photos = LinearModel.random(), toy_photos(2)
    moved = change(IFGSM(eps=0.01, objective=Target(score=1e4)), model, photos)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01 * l1(model)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["absolute_shift", "squared_shift"])
def test_a_shift_from_a_random_start_moves_a_linear_score_as_far_as_a_push(name: str) -> None:
    model, photos = LinearModel.random(size=1.0), toy_photos(8)
    moved = change(IFGSM(eps=0.01, objective=name, random_start=True), model, photos)
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.01 * l1(model)), rtol=1e-4, atol=0)
    assert set(moved.sign().tolist()) == {-1.0, 1.0}  # the start decides


def test_farther_end_and_rank_split_move_each_score_their_way() -> None:
    model, photos = LinearModel.random(), toy_photos(6, low=60, high=200)
    clean = model(photos).detach()
    middle = clean.sort().values[2:4].mean().item()
    away = torch.where(clean > middle, -1.0, 1.0)
    assert set(away.tolist()) == {-1.0, 1.0}
    assert torch.equal(change(FGSM(objective=RankSplit(threshold=middle)), model, photos).sign(), away)
    model.scale = ScoreScale(middle - 10, middle + 10)
    assert torch.equal(change(FGSM(objective="farther_end"), model, photos).sign(), away)


def test_more_steps_and_more_budget_change_the_score_of_a_network_more() -> None:
    model, photos = ConvModel(seed=3).eval(), toy_photos(4)
    model.body.requires_grad_(False)
    small, large = (change(IFGSM(eps=eps, objective="raise"), model, photos) for eps in ("2/255", "8/255"))
    assert (large > 2 * small).all()
    assert (small > 0).all()


def test_a_random_start_is_uniform_in_the_ball_and_belongs_to_seed_and_key() -> None:
    model = LinearModel(torch.zeros(3, 32, 32)).eval()  # no gradient: the start is the result
    photos = toy_photos(1, 32).expand(3, 3, 32, 32)

    def start(seed: int, keys: list[str]) -> Tensor:
        attack = IFGSM(eps=0.05, steps=1, objective="raise", random_start=True, seed=seed)
        return attack(model, photos[: len(keys)], keys=keys).images - photos[: len(keys)]

    first = start(0, ["a", "b", "c"])
    assert not torch.equal(first[0], first[1])
    assert torch.equal(start(0, ["c", "a"]), first[[2, 0]])
    assert not torch.equal(start(1, ["a"]), first[:1])
    quantiles = torch.quantile(first[0].flatten(), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(quantiles, torch.linspace(-0.05, 0.05, 5), rtol=0, atol=0.0025)


@pytest.mark.parametrize(("attack", "passes"), [(FGSM(objective="raise"), 1), (IFGSM(steps=7, objective="lower"), 7)])
def test_a_first_pass_at_the_clean_images_is_not_run_again(attack: FGSM | IFGSM, passes: int) -> None:
    model = CountingModel(ConvModel()).eval()
    result = attack(model, toy_photos(2))
    assert (model.backwards, model.forwards) == (2 * passes, 2 * (passes + 2))  # two more to measure
    assert result.gradients.tolist() == result.queries.tolist() == [passes] * 2


@pytest.mark.parametrize("objective", ["absolute_shift", "squared_shift"])
@pytest.mark.parametrize(("attack", "name"), [(FGSM, "fgsm"), (IFGSM, "ifgsm")])
def test_an_objective_that_is_flat_at_the_start_is_refused_without_a_random_start(
    attack: type[FGSM] | type[IFGSM], name: str, objective: str
) -> None:
    problem = (
        f"{name!r} starts at the clean image, where {objective!r} has no gradient; "
        "use 'ifgsm' with random_start=True, or another objective."
    )
    for given in (objective, create_objective(objective)):
        with pytest.raises(InputError) as caught:
            attack(objective=given)
        assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0."),
        ({"steps": 2.5}, "steps must be a whole number of at least 1, got 2.5."),
        ({"step_size": 0}, "step_size must be greater than 0, got 0; leave it out for 2.5 * eps / steps."),
        ({"step_size": 2}, "step_size is in [0, 1] pixel units, got 2; did you mean '2/255'?"),
        ({"step_size": "x"}, "step_size must be a number or a fraction like '4/255', got 'x'."),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        IFGSM(**options)
    assert str(caught.value) == problem
