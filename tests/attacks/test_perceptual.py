from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from robustiqa.attacks import create_attack
from robustiqa.attacks.objectives import SquaredShift, Target, create_objective
from robustiqa.attacks.perceptual import Perceptual, Tradeoff, one_level_noise, unit_length
from robustiqa.attacks.perceptual_sweep import PUBLISHED_WEIGHTS, perceptual_sweep
from robustiqa.core import pixels
from robustiqa.core.attack import Oracle
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.core.objective import Objective
from robustiqa.core.seeds import generator
from tests.toys import ConvModel, CountingModel, LinearModel, toy_photos

Array = npt.NDArray[np.float64]


class Bowl(QualityModel):
    """Minus the squared distance to `center`."""

    def __init__(self, center: Tensor) -> None:
        super().__init__((0, 0, 0), (1, 1, 1))
        self.center = center

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return -((normalized - self.center) ** 2).flatten(1).sum(1)


def tradeoff(objective: Objective, *, weight: float, span: float = 20.0) -> tuple[Tradeoff, Tensor]:
    """The objective of a small convolutional model in double precision, and a point beside the clean photos."""
    model, photos = ConvModel(seed=3).double().eval(), toy_photos(2, 12).double()
    model.scale = ScoreScale(40.0, 40.0 + span)
    clean_scores = model.score(photos)
    oracle = Oracle(model, photos, clean_scores, None)
    oracle.white_box = True
    (goal,) = objective.goals(clean_scores, model.scale)
    beside = photos + one_level_noise(photos, [generator(0), generator(1)])
    return Tradeoff(oracle, goal, photos, pixels.ssim if weight else None, weight), beside


@pytest.mark.parametrize("objective", ["squared_shift", "absolute_shift", "lower", "raise"])
@pytest.mark.parametrize("seed", [0, 1])
def test_without_a_similarity_a_linear_score_changes_by_eps_times_the_l1_norm(objective: str, seed: int) -> None:
    model, photos = LinearModel.random(seed=seed, size=1.0).double(), toy_photos(3, 24, seed).double()
    attack = Perceptual(eps="4/255", weight=0, steps=8, objective=objective, seed=seed)
    result = attack(model, photos)
    expected = attack.budget * model.slopes.detach().abs().sum()
    change = result.scores - result.clean_scores
    torch.testing.assert_close(change.abs(), expected.expand(3), rtol=1e-9, atol=0)
    if objective in ("lower", "raise"):
        assert (change > 0).tolist() == [objective == "raise"] * 3


def climbed(photo: Array, center: Array, noise: Array, steps: int, rate: float, eps: float) -> tuple[Array, int]:
    """Adam as Kingma and Ba write it, on gradients of length 1, in a loop; the best iterate and its place."""
    x = np.clip(photo + noise, 0, 1)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    best, best_value, place = x, -np.inf, -1
    for step in range(1, steps + 2):
        value = -((x - center) ** 2).sum()
        if value > best_value:
            best, best_value, place = x, value, step - 1
        gradient = -2 * (x - center)
        gradient /= np.sqrt((gradient**2).sum())
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        x = x + rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        x = np.clip(np.clip(x, photo - eps, photo + eps), 0, 1)
    return best, place


@pytest.mark.parametrize(("steps", "eps"), [(2, 16 / 255), (7, 16 / 255), (7, 2 / 255)])
def test_the_steps_are_those_of_adam_and_the_best_iterate_is_kept(steps: int, eps: float) -> None:
    photos = toy_photos(2, 6).double()
    signs = torch.randint(2, photos.shape[1:], generator=generator("signs")) * 2 - 1
    center = (photos[0] + signs * 4 / 255).double()
    attack = Perceptual(eps=eps, weight=0, steps=steps, objective="raise", seed=5)
    found = attack(Bowl(center).eval(), photos, keys=["a", "b"]).images
    for place, key in enumerate("ab"):
        draw = torch.randint(-1, 2, photos.shape[1:], generator=generator(5, key)).numpy() / 255
        expected, kept = climbed(photos[place].numpy(), center.numpy(), draw, steps, 0.005, eps)
        np.testing.assert_allclose(found[place].numpy(), expected, rtol=0, atol=1e-9)
        if (place, steps, eps) == (0, 7, 16 / 255):
            assert 0 < kept < steps  # here the last iterate would be a worse one


@pytest.mark.parametrize("weight", [0.0, 50.0])
@pytest.mark.parametrize("objective", [SquaredShift(), create_objective("lower"), Target(score=45.0)])
def test_the_gradient_of_the_objective_agrees_with_finite_differences(objective: Objective, weight: float) -> None:
    climbed_here, beside = tradeoff(objective, weight=weight)
    value, gradient = climbed_here.ascent(beside)
    torch.testing.assert_close(value, climbed_here.value(beside))
    direction = torch.randn(beside.shape, generator=generator("direction"), dtype=torch.float64)
    h = 1e-6
    difference = climbed_here.value(beside + h * direction) - climbed_here.value(beside - h * direction)
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), difference / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("span", [10.0, 20.0, 100.0])
def test_scores_are_weighed_in_tenths_of_their_scale(span: float) -> None:
    for objective, power in [(create_objective("lower"), 1), (SquaredShift(), 2)]:
        climbed_here, beside = tradeoff(objective, weight=7.0, span=span)
        scores, clean = climbed_here.oracle.scores(beside), climbed_here.oracle.clean_scores
        goal = -scores if power == 1 else (scores - clean) ** 2
        expected = (10 / span) ** power * goal + 7.0 * pixels.ssim(beside, climbed_here.clean)
        torch.testing.assert_close(climbed_here.value(beside), expected)


def test_the_start_is_noise_of_minus_one_none_or_one_level() -> None:
    model, photos = LinearModel(torch.zeros(3, 24, 24)).eval(), toy_photos(2)
    attack = Perceptual(weight=0, steps=1, objective="raise")
    result = attack(model, photos)
    changes = ((result.images - photos) * 255).round()
    for change in changes:  # 1,728 values a photo
        shares = [(change == level).float().mean().item() for level in (-1, 0, 1)]
        assert sum(shares) == pytest.approx(1)
        assert shares == pytest.approx([1 / 3] * 3, abs=0.05)
    assert not torch.equal(changes[0], changes[1])


def test_where_scores_are_flat_the_similarity_alone_is_climbed() -> None:
    model, photos = LinearModel(torch.zeros(3, 24, 24)).eval(), toy_photos(2)
    start = Perceptual(weight=0, steps=1, objective="raise")(model, photos)
    result = Perceptual(weight=1, steps=5, step_size=1e-4, objective="raise")(model, photos)
    assert (1 - result.ssim < 0.9 * (1 - start.ssim)).all()


def test_a_gradient_of_zero_stays_and_others_get_length_one() -> None:
    gradient = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 1e-20), torch.full((3, 2, 2), -4.0)])
    lengths = unit_length(gradient).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([0.0, 1.0, 1.0]))


def test_a_larger_weight_gives_a_smaller_change_that_is_harder_to_see() -> None:
    model, photos = CountingModel(ConvModel(seed=1)).eval(), toy_photos(2)
    attack = Perceptual(steps=12, objective="raise")
    sweep = perceptual_sweep(attack, model, photos, (0, 10, 50), keys=["a", "b"])
    assert sweep.weights == (0.0, 10.0, 50.0)
    assert model.backwards == 2 + 3 * 12 * 2  # one clean pass for all weights
    assert sweep.score_changes.shape == sweep.similarities.shape == sweep.linf.shape == (3, 2)
    assert (sweep.similarities.diff(dim=0) > 0).all()
    assert (sweep.score_changes > 0).all()
    assert (sweep.score_changes.diff(dim=0) < 0).all()
    alone = create_attack("perceptual", weight=10, steps=12, objective="raise")(model, photos, keys=["a", "b"])
    torch.testing.assert_close(sweep.score_changes[1], alone.scores_8bit - alone.clean_scores)
    torch.testing.assert_close(sweep.similarities[1], pixels.ssim(alone.images_8bit, photos))
    torch.testing.assert_close(sweep.linf[1], pixels.linf_distance(alone.images_8bit, photos))


def test_the_published_weights_are_33_from_0_to_9_million() -> None:
    assert len(PUBLISHED_WEIGHTS) == 33
    assert list(PUBLISHED_WEIGHTS) == sorted(set(PUBLISHED_WEIGHTS))
    assert (PUBLISHED_WEIGHTS[0], PUBLISHED_WEIGHTS[-1]) == (0, 9e6)


def test_a_sweep_over_no_weights_is_refused() -> None:
    with pytest.raises(InputError, match=r"^a sweep needs at least one weight\.$"):
        perceptual_sweep(Perceptual(), ConvModel().eval(), toy_photos(1), ())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"similarity": "sim"}, "unknown similarity 'sim'; did you mean 'ssim'? Known: dists, lpips, ssim."),
        ({"weight": -1}, "weight must be a finite number of at least 0, got -1."),
        ({"weight": float("inf")}, "weight must be a finite number of at least 0, got inf."),
        ({"weight": True}, "weight must be a finite number of at least 0, got True."),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0."),
        ({"step_size": 0}, "step_size must be greater than 0, got 0."),
        ({"step_size": 2}, "step_size is in [0, 1] pixel units, got 2; did you mean '2/255'?"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        create_attack("perceptual", **options)
    assert str(caught.value) == problem


def test_equal_work_has_equal_labels() -> None:
    written = [Perceptual(weight=20, step_size="1/255"), Perceptual(weight=20.0, step_size=1 / 255, eps=16 / 255)]
    assert {attack.label for attack in written} == {
        "perceptual(eps=16/255, similarity=ssim, weight=20.0, steps=200, step_size=1/255)"
    }
