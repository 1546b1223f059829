from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import create_attack
from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import Target
from robustiqa.attacks.security_curve import security_curve
from robustiqa.core import pixels
from robustiqa.core.attack import Oracle
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal
from tests.toys import ConvModel, CountingModel, LinearModel, QuadraticModel, RecordingModel, toy_photos

BUDGETS = ["1/255", "2/255", "4/255", "8/255"]


def test_the_curve_of_a_linear_score_is_a_line() -> None:
    model, photos = LinearModel.random(size=1.0), toy_photos(3)
    curve = security_curve(create_attack("apgd", steps=3), model, photos, BUDGETS)
    reach = float(model.slopes.detach().abs().sum())
    expected = torch.tensor([levels / 255 * reach for levels in (1, 2, 4, 8)])[:, None].expand(4, 3)
    torch.testing.assert_close(curve.changes, expected, rtol=1e-4, atol=0)
    assert curve.budgets == pytest.approx([1 / 255, 2 / 255, 4 / 255, 8 / 255])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("apgd", {"steps": 4}),
        ("apgd", {"steps": 2, "objective": "lower", "random_start": True}),
        ("apgd", {"steps": 3, "objective": "absolute_shift", "random_start": True}),
        ("mifgsm", {"steps": 1, "step_size": "8/255", "objective": "raise"}),
        ("ifgsm", {"steps": 1, "step_size": "8/255"}),
        ("random_sign", {}),
        ("random_sign", {"objective": "raise"}),
    ],
)
def test_a_curve_never_falls_and_every_point_is_within_its_budget(name: str, options: dict[str, Any]) -> None:
    model, photos = ConvModel(seed=3).eval(), toy_photos(5, low=0, high=255)
    curve = security_curve(create_attack(name, **options), model, photos, ["0", *BUDGETS])
    signs = {"raise": 1, "lower": -1}
    moved = curve.scores_8bit - curve.clean_scores
    climbed = signs[options["objective"]] * moved if options.get("objective") in signs else moved.abs()
    assert (climbed.diff(dim=0) >= 0).all()
    for eps, result in zip(curve.budgets, curve.results, strict=True):
        assert result.linf.max() <= eps + 1e-7
        assert pixels.linf_distance(result.images_8bit, photos).max() <= eps + 1e-7
        torch.testing.assert_close(result.scores_8bit, model.score(result.images_8bit), rtol=1e-6, atol=0)
        torch.testing.assert_close(result.scores, model.score(result.images), rtol=1e-6, atol=0)


def test_a_larger_budget_starts_where_the_smaller_one_ended() -> None:
    model = RecordingModel(QuadraticModel.random(4)).eval()
    photos = toy_photos(2, 4, low=0, high=255).double()
    curve = security_curve(create_attack("apgd", steps=2, objective="raise"), model, photos, [0.02, 0.04])
    starts = model.asked[5]  # the clean pass, two steps, two to measure, and on
    torch.testing.assert_close(starts, curve.results[0].images, rtol=0, atol=0)


def test_a_target_is_approached_budget_by_budget() -> None:
    model, photos = ConvModel(seed=3).eval(), toy_photos(4)
    aim = float(model(photos).detach().mean()) + 0.2
    curve = security_curve(create_attack("apgd", steps=5, objective=Target(score=aim)), model, photos, BUDGETS)
    assert ((curve.scores_8bit - aim).abs().diff(dim=0) <= 0).all()


def test_an_l2_curve_is_within_l2_budgets() -> None:
    model, photos = ConvModel(seed=3).eval(), toy_photos(3)
    curve = security_curve(create_attack("apgd", norm="l2", steps=4), model, photos, [0.2, 0.5, 1.5])
    assert (curve.changes.diff(dim=0) >= 0).all()
    for eps, result in zip(curve.budgets, curve.results, strict=True):
        assert (pixels.l2_distance(result.images_8bit.double(), photos.double()) <= eps * (1 + 1e-6)).all()


def test_the_work_of_all_budgets_and_goals_adds_up() -> None:
    model = CountingModel(ConvModel()).eval()
    curve = security_curve(create_attack("apgd", steps=5), model, toy_photos(2), BUDGETS[:3])
    assert [result.gradients.tolist() for result in curve.results] == [[10, 10], [20, 20], [30, 30]]
    assert [result.queries.tolist() for result in curve.results] == [[12, 12], [24, 24], [36, 36]]
    # The clean pass serves as the first of both goals under the first budget; each of 6 runs is measured twice.
    assert model.forwards == 2 * (1 + 36 - 2 + 12)
    assert model.backwards == 2 * (1 + 30 - 2)


def test_the_goal_that_won_is_told_photo_by_photo() -> None:
    model = LinearModel(torch.full((3, 8, 8), 0.01)).eval()
    photos = torch.cat([torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)])
    curve = security_curve(create_attack("apgd", steps=2), model, photos, BUDGETS)
    assert all(result.won.tolist() == [1, 0] for result in curve.results)


@dataclass(frozen=True, kw_only=True)
class Astray(NamedAttack):
    """Raises where it should lower under a small budget, and turns round under a larger one."""

    name: ClassVar[str] = "astray"

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        lowers = goal(torch.ones(len(images)))[0] < 0
        levels = (3 if self.budget < 4 / 255 else -1) if lowers else 1
        return images + levels / 255


def test_what_one_goal_gives_up_for_its_own_direction_is_not_lost() -> None:
    model, photos = LinearModel(torch.full((3, 8, 8), 0.01)).eval(), torch.full((2, 3, 8, 8), 100 / 255)
    curve = security_curve(Astray(), model, photos, ["3/255", "6/255"])
    moved = curve.scores_8bit - curve.clean_scores
    torch.testing.assert_close(moved, torch.full((2, 2), 3 / 255 * 1.92), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("budgets", "problem"),
    [
        ([], "budgets must ascend, got none."),
        (["2/255", "1/255"], "budgets must ascend, got 2/255, 1/255."),
        ([0.01, 0.01], "budgets must ascend, got 0.01, 0.01."),
        ([4], "each budget is in [0, 1] pixel units, got 4; did you mean '4/255'?"),
    ],
)
def test_budgets_that_do_not_ascend_are_refused(budgets: list[Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        security_curve(create_attack("apgd"), ConvModel().eval(), toy_photos(1), budgets)
    assert str(caught.value) == problem
