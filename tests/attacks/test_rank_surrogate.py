"""The rank surrogate: the share it stands for counted one by one, and what it changes about a search and what not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from robustiqa.attacks.apgd import APGD
from robustiqa.attacks.objectives import Lower, Raise, Target, WorstOfBoth
from robustiqa.attacks.rank_surrogate import ByRank, PassedShare, by_rank
from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import push
from tests.toys import ConvModel, toy_photos

COUNT = 20_000


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("score", [20.0, 49.0, 50.0, 57.5, 90.0])
def test_it_is_the_share_of_photos_around_a_score_that_are_overtaken(sign: float, score: float) -> None:
    others = stats.cauchy.ppf((np.arange(COUNT) + 0.5) / COUNT, loc=50.0, scale=10.0)
    low, high = sorted((50.0, score))
    between = np.mean((others > low) & (others < high))
    expected = between if sign * (score - 50.0) >= 0 else -between
    goal = PassedShare(torch.tensor([sign]), torch.tensor([50.0]), 10.0)
    assert goal(torch.tensor([score])).item() == pytest.approx(expected, abs=2 / COUNT)


def test_half_of_the_others_lie_within_a_tenth_of_the_scale() -> None:
    (goal,) = ByRank(Raise()).goals(torch.tensor([0.3]), ScoreScale(0.0, 1.0))
    assert goal(torch.tensor([0.4])).item() == pytest.approx(0.25)
    assert goal(torch.tensor([0.2])).item() == pytest.approx(-0.25)


def test_however_far_a_score_has_gone_there_is_a_gradient() -> None:
    scores = torch.tensor([1e6], requires_grad=True)
    goal = PassedShare(torch.ones(1), torch.tensor([50.0]), 10.0)
    (slope,) = torch.autograd.grad(goal(scores).sum(), scores)
    assert slope.item() > 0


def test_of_several_draws_those_weigh_most_that_have_passed_few() -> None:
    draws = torch.tensor([50.0, 60.0, 80.0], requires_grad=True)
    goal = PassedShare(torch.ones(3), torch.full((3,), 50.0), 10.0)
    (weights,) = torch.autograd.grad(goal(draws).sum(), draws)
    assert weights.tolist() == pytest.approx([1 / (10 * math.pi * part) for part in (1, 2, 10)])


@pytest.mark.parametrize("objective", [Lower(), Raise()])
@pytest.mark.parametrize("random_start", [False, True])
def test_apgd_takes_the_same_steps_to_a_rank_as_to_the_score_that_it_is_of(
    objective: Lower | Raise, random_start: bool
) -> None:
    model, photos = ConvModel(5).double().eval(), toy_photos(3, 12).double()
    plain = APGD(objective=objective, steps=30, random_start=random_start)(model, photos)
    ranked = APGD(objective=ByRank(objective), steps=30, random_start=random_start)(model, photos)
    assert torch.equal(plain.images, ranked.images)


def test_goals_keep_their_order_and_places_and_those_without_direction_are_left_alone() -> None:
    clean, scale = torch.tensor([10.0, 40.0, 70.0]), ScoreScale()
    lower, upper = ByRank(WorstOfBoth()).goals(clean, scale)
    assert (lower(clean - 1) > 0).all() and (upper(clean + 1) > 0).all()
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(lower.at(rows)(torch.tensor([60.0, 60.0])), lower(torch.tensor([60.0, 0.0, 60.0]))[rows])
    assert lower.degree == 1
    (target,) = Target(score=20.0).goals(clean, scale)
    assert by_rank(target, clean, scale) is target
    assert isinstance(by_rank(push(clean, 1.0), clean, scale), PassedShare)
