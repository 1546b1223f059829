from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks.objectives import Lower, Raise, WorstOfBoth
from robustiqa.core.attack import Attack, Oracle, clean_pass, frozen_weights
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.core.objective import Goal
from tests.toys import ConvModel, CountingModel, LinearModel, toy_photos

Step = Callable[[Oracle, Tensor, Goal], Tensor]


@dataclass(frozen=True, kw_only=True)
class Scripted(Attack):
    """Does what the test says."""

    script: Step

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        return self.script(oracle, images, goal)


@dataclass(frozen=True, kw_only=True)
class ScriptedBlackBox(Scripted):
    threat_model: ClassVar[str] = "black-box"


def far_away(oracle: Oracle, images: Tensor, goal: Goal) -> Tensor:
    return images + 7


def one_step(oracle: Oracle, images: Tensor, goal: Goal) -> Tensor:
    return images + oracle.ascent(images, goal)[0].sign()


def same(oracle: Oracle, images: Tensor, goal: Goal) -> Tensor:
    return images


class Unlearned(QualityModel):
    """A score that no gradient reaches."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return normalized.detach().round().flatten(1).mean(1)


class RootOfNothing(QualityModel):
    """A finite score with a gradient of 0 / 0."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return (0 * normalized).flatten(1).sum(1).sqrt()


def test_clean_pass_of_a_linear_model_has_its_slopes_as_gradient() -> None:
    model, photos = LinearModel.random(), toy_photos(3)
    clean = clean_pass(model, photos)
    expected = 50 + (model.slopes.detach().numpy().astype(float) * photos.numpy()).sum((1, 2, 3))
    np.testing.assert_allclose(clean.scores.numpy(), expected, rtol=1e-6)
    for gradient in clean.gradient:
        torch.testing.assert_close(gradient, model.slopes.detach(), rtol=0, atol=0)
    torch.testing.assert_close(clean.gradient_l1, model.slopes.detach().abs().sum().expand(3))


def test_clean_pass_agrees_with_finite_differences_on_a_convolution() -> None:
    model, photos = ConvModel().eval().double(), toy_photos(2, 6).double()
    gradient = clean_pass(model, photos).gradient
    for place in [(0, 0, 0, 0), (0, 2, 3, 5), (1, 1, 5, 1)]:
        step = torch.zeros_like(photos)
        step[place] = 1e-5
        with torch.no_grad():
            slope = (model(photos + step) - model(photos - step))[place[0]] / 2e-5
        torch.testing.assert_close(gradient[place], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("objective", [Lower(), Raise(), WorstOfBoth()])
def test_a_shared_clean_pass_gives_the_same_result_with_one_backward_pass_fewer(objective: Any) -> None:
    photos = toy_photos(3)
    alone, sharing = CountingModel(ConvModel()).eval(), CountingModel(ConvModel()).eval()
    clean = clean_pass(ConvModel().eval(), photos)
    attack = Scripted(objective=objective, script=one_step)
    found, shared = attack(alone, photos), attack(sharing, photos, clean=clean)
    assert torch.equal(found.images, shared.images)
    assert torch.equal(found.scores_8bit, shared.scores_8bit)
    assert torch.equal(found.gradients, shared.gradients)
    assert (alone.forwards - sharing.forwards, alone.backwards - sharing.backwards) == (3, 3)


def test_a_clean_pass_of_other_images_is_refused() -> None:
    model = ConvModel().eval()
    clean = clean_pass(model, toy_photos(2, 8))
    with pytest.raises(InputError) as caught:
        Scripted(objective=Lower(), script=same)(model, toy_photos(3, 8), clean=clean)
    assert str(caught.value) == "clean must be clean_pass(model, images), got one of (2, 3, 8, 8)."


@pytest.mark.parametrize("eps", [0.0, 0.01, "4/255"])
def test_an_attack_that_leaves_the_budget_is_put_back_into_it(eps: float | str) -> None:
    photos = toy_photos(2, 8)
    attack = Scripted(eps=eps, objective=Lower(), script=far_away)
    result = attack(ConvModel().eval(), photos)
    torch.testing.assert_close(result.images, (photos + attack.budget).clamp(0, 1), rtol=0, atol=1e-7)
    moved = (255 * (result.images_8bit - photos)).round()
    assert set(moved.flatten().tolist()) == {int(255 * attack.budget + 1e-6)}


def test_the_goal_that_moves_the_8bit_score_most_is_kept_photo_by_photo() -> None:
    model = LinearModel(torch.full((3, 8, 8), 0.01)).eval()
    dark, bright = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    photos = torch.cat([dark, bright, torch.full((1, 3, 8, 8), 2 / 255)])  # the last has 2 levels of room below
    result = Scripted(objective=WorstOfBoth(), script=one_step)(model, photos)
    assert result.won.tolist() == [1, 0, 1]
    step = 4 / 255 * 0.01 * 192
    expected = torch.tensor([step, -step, step])
    torch.testing.assert_close(result.scores - result.clean_scores, expected, rtol=1e-3, atol=0)


def test_worst_of_both_is_the_larger_of_lowering_and_raising() -> None:
    model, photos = ConvModel().eval(), toy_photos(5, low=0, high=255)
    both, *single = (
        Scripted(objective=objective, script=one_step)(model, photos) for objective in (WorstOfBoth(), Lower(), Raise())
    )
    changes = torch.stack([(run.scores_8bit - run.clean_scores).abs() for run in single])
    assert torch.equal((both.scores_8bit - both.clean_scores).abs(), changes.amax(0))
    for place, won in enumerate(both.won.tolist()):
        assert torch.equal(both.images_8bit[place], single[won].images_8bit[place])
        assert torch.equal(both.scores[place], single[won].scores[place])
    assert torch.equal(both.gradients, single[0].gradients + single[1].gradients)


def test_distances_of_a_result_are_those_of_its_images() -> None:
    photos = toy_photos(2, 16)
    result = Scripted(eps=0.02, objective=Raise(), script=one_step)(LinearModel.random(16), photos)
    np.testing.assert_allclose(result.linf.numpy(), [0.02, 0.02], rtol=1e-5)
    np.testing.assert_allclose(result.l2.numpy(), [0.02 * (3 * 16 * 16) ** 0.5] * 2, rtol=1e-5)
    assert ((result.ssim > 0.5) & (result.ssim < 1)).all()


def test_queries_count_photos_by_row_and_leave_measuring_out() -> None:
    def search(oracle: Oracle, images: Tensor, goal: Goal) -> Tensor:
        oracle.scores(images)
        oracle.scores(images[:2], rows=torch.tensor([0, 2]))
        oracle.scores(images[[1, 1, 1]], rows=torch.tensor([1, 1, 1]))  # three candidates of one photo
        return images

    model = CountingModel(ConvModel()).eval()
    result = ScriptedBlackBox(objective=Lower(), script=search)(model, toy_photos(4))
    assert result.queries.tolist() == [2, 4, 2, 1]
    assert result.gradients.tolist() == [0, 0, 0, 0]
    assert model.forwards == 9 + 3 * 4  # clean, float and 8-bit beside the queries
    assert model.backwards == 0


def test_a_black_box_attack_that_asks_for_a_gradient_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        ScriptedBlackBox(objective=Lower(), script=one_step)(ConvModel().eval(), toy_photos(2))
    assert str(caught.value) == "a black-box attack asked for a gradient; it may only query scores."


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Unlearned(), "the model's scores have no gradient in the images; use a black-box attack."),
        (RootOfNothing(), "the model's gradient in the images is not a number; use a black-box attack."),
    ],
)
def test_a_model_without_a_usable_gradient_is_refused_instead_of_called_robust(
    model: QualityModel, problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        Scripted(objective=Lower(), script=one_step)(model.eval(), toy_photos(2))
    assert str(caught.value) == problem
    ScriptedBlackBox(objective=Lower(), script=same)(model, toy_photos(2))


def test_weights_need_gradients_again_after_an_attack_that_fails() -> None:
    model = ConvModel().eval()
    model.head.bias.requires_grad_(False)
    before = [weight.requires_grad for weight in model.parameters()]

    def fail(oracle: Oracle, images: Tensor, goal: Goal) -> Tensor:
        assert not any(weight.requires_grad for weight in model.parameters())
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        Scripted(objective=Lower(), script=fail)(model, toy_photos(2))
    assert [weight.requires_grad for weight in model.parameters()] == before
    with frozen_weights(model):
        pass
    assert [weight.requires_grad for weight in model.parameters()] == before


def test_an_attack_works_where_the_caller_has_turned_gradients_off() -> None:
    model, photos = LinearModel.random(), toy_photos(2)
    attack = Scripted(objective=Raise(), script=one_step)
    with torch.no_grad():
        quiet = attack(model, photos)
    assert torch.equal(quiet.images, attack(model, photos).images)
    assert not quiet.scores.requires_grad


def test_an_attack_works_on_any_module_that_returns_scores() -> None:
    stranger = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(0))
    result = Scripted(objective=Raise(), script=one_step)(stranger.eval(), toy_photos(3))
    assert (result.scores > result.clean_scores).all()


def test_keys_must_name_each_image() -> None:
    with pytest.raises(InputError) as caught:
        Scripted(objective=Lower(), script=same)(ConvModel().eval(), toy_photos(3), keys=["a"])
    assert str(caught.value) == "keys must name each of the 3 images, got 1."


@pytest.mark.parametrize(
    ("eps", "problem"),
    [
        (4, "eps is in [0, 1] pixel units, got 4; did you mean '4/255'?"),
        (-0.1, "eps is in [0, 1] pixel units, got -0.1."),
        ("four", "eps must be a number or a fraction like '4/255', got 'four'."),
        ("1/0", "eps must be a number or a fraction like '4/255', got '1/0'."),
    ],
)
def test_a_wrong_budget_is_refused_at_construction(eps: float | str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Scripted(eps=eps, objective=Lower(), script=same)
    assert str(caught.value) == problem
