"""When photos stop, and how random models are averaged: what attacks inside a ball share, seen through APGD."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.attacks.apgd import APGD
from robustiqa.attacks.objectives import Target
from robustiqa.core.errors import InputError
from tests.toys import ConvModel, CountingModel, Fickle, LinearModel, RecordingModel, toy_photos


def linear(photos: int) -> tuple[LinearModel, Tensor]:
    return LinearModel.random(12, size=1.0).double(), toy_photos(photos, 12).double()


def test_a_photo_that_reached_the_score_bound_costs_no_more() -> None:
    model, photos = linear(4)
    reach = 0.02 * float(model.slopes.detach().abs().sum())
    clean = model(photos).detach()
    order = clean.argsort(descending=True)
    photos, clean = photos[order], clean[order]
    bound = float(clean[0]) - 1.01 * float(clean[0] - clean[1])  # the first can get there, the others may be there
    assert float(clean[0]) - bound < reach
    counting = CountingModel(model).eval()
    result = APGD(eps=0.02, steps=9, objective="lower", score_bound=bound)(counting, photos)
    there = clean <= bound
    assert there.any()
    assert not there.all()
    assert torch.equal(result.images[there], photos[there])
    assert (result.scores[~there] <= bound).all()
    assert result.gradients.tolist() == [0 if done else 2 for done in there.tolist()]  # the photo, the corner
    assert result.queries.tolist() == result.gradients.tolist()
    assert counting.forwards == 4 + 2 * 4 + int(result.queries.sum())  # the clean scores, and two to measure
    unreachable = APGD(eps=0.02, steps=9, objective="lower", score_bound=-1e6)(model, photos)
    assert unreachable.gradients.tolist() == [9] * 4


def test_a_photo_close_enough_to_its_target_costs_no_more() -> None:
    model, photos = linear(3)
    reach = 0.05 * float(model.slopes.detach().abs().sum())
    clean = model(photos).detach()
    aim = float(clean[0]) + 0.3 * reach
    free = APGD(eps=0.05, steps=60, objective=Target(score=aim))(model, photos)
    result = APGD(eps=0.05, steps=60, objective=Target(score=aim), tolerance=0.02 * reach)(model, photos)
    close = (result.scores - aim).abs() <= 0.02 * reach
    assert close[0]
    assert (result.gradients[close] < free.gradients[close]).all()
    assert (result.gradients[~close] == 60).all()


def test_photos_that_stopped_leave_the_draws_of_the_others_alone() -> None:
    model, photos = ConvModel(seed=4).eval(), toy_photos(3)
    clean = model(photos).detach().sort().values
    attack = APGD(eps=1e-3, steps=2, restarts=2, objective="lower", score_bound=float(clean[:2].mean()))
    together = attack(model, photos, keys=["a", "b", "c"])
    alone = [attack(model, photos[place : place + 1], keys=["abc"[place]]) for place in range(3)]
    assert together.gradients.min() == 0  # one is there already
    assert together.gradients.max() == 6  # one never gets there
    apart = (together.images - torch.cat([one.images for one in alone])).abs()
    assert (apart > 1e-6).float().mean() <= 1e-3  # rounding may turn a sign
    assert torch.equal(together.gradients, torch.cat([one.gradients for one in alone]))


def test_a_restart_of_the_photos_that_go_on_draws_what_each_would_draw_alone() -> None:
    model, photos = linear(3)
    clean = model(photos).detach()
    photos, clean = photos[clean.argsort()], clean.sort().values
    bound = float(clean[:2].mean())  # the first photo is there, the others can't get there in so small a ball
    attack = APGD(eps=1e-5, steps=1, restarts=1, objective="lower", score_bound=bound)
    together, alone = RecordingModel(model).eval(), RecordingModel(model).eval()
    attack(together, photos, keys=["a", "b", "c"])
    attack(alone, photos[2:], keys=["c"])
    assert torch.equal(together.asked[3][1], alone.asked[2][0])  # of two photos the first pass is one of its own


def test_with_two_directions_each_stops_at_the_bound_for_itself() -> None:
    model, photos = linear(2)
    clean = model(photos).detach()
    bound = float(clean.mean())
    result = APGD(eps=0.1, steps=4, score_bound=bound)(model, photos)
    assert (((clean - bound) * (result.scores - bound)) <= 0).all()  # each photo crossed the bound
    assert torch.equal(result.won, (clean < bound).long())


def test_a_random_model_is_climbed_along_its_mean_gradient() -> None:
    first = LinearModel.random(8).slopes.detach()
    second = -0.6 * first.flip(0)
    photos = toy_photos(2, 8)
    counting = CountingModel(Fickle(first, second)).eval()
    result = APGD(eps=0.02, steps=3, eot=2, objective="raise")(counting, photos)
    torch.testing.assert_close(result.images, photos + 0.02 * (first + second).sign(), rtol=0, atol=1e-6)
    assert result.gradients.tolist() == [6, 6]
    assert result.queries.tolist() == [8, 8]
    assert (counting.forwards, counting.backwards) == (2 * (1 + 8 + 2), 2 * (1 + 6))


@pytest.mark.parametrize(
    ("objective", "options", "problem"),
    [
        (
            Target(score=50.0),
            {"score_bound": 40.0},
            "score_bound stops objectives that lower or raise scores, not 'target'; leave it out.",
        ),
        ("lower", {"tolerance": 1.0}, "tolerance stops the objective 'target', not 'lower'; leave it out."),
    ],
)
def test_a_stop_that_does_not_go_with_the_objective_is_refused(
    objective: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        APGD(objective=objective, **options)(ConvModel().eval(), toy_photos(1))
    assert str(caught.value) == problem
