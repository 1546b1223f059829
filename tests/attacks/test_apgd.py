from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks.apgd import APGD, _Run, checkpoints
from robustiqa.attacks.gradient import IFGSM
from robustiqa.attacks.objectives import create_objective
from robustiqa.core.balls import create_ball
from robustiqa.core.errors import InputError
from tests.attacks.climbs import Hill, apgd
from tests.toys import ConvModel, LinearModel, QuadraticModel, RecordingModel, toy_photos


def linear(photos: int = 3, low: int = 16, high: int = 239) -> tuple[LinearModel, Tensor]:
    return LinearModel.random(12, size=1.0).double(), toy_photos(photos, 12, low=low, high=high).double()


def test_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(50) == [11, 21, 29, 35, 40, 44, 47]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9]
    assert checkpoints(1) == []


@pytest.mark.parametrize("steps", [1, 5, 50])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("linf", "4/255"), ("l2", 0.3)])
@pytest.mark.parametrize("random_start", [False, True])
def test_a_linear_score_moves_by_eps_times_the_dual_norm(
    norm: str, eps: float | str, steps: int, random_start: bool
) -> None:
    model, photos = linear()
    slopes = model.slopes.detach()
    attack = APGD(eps=eps, norm=norm, steps=steps, objective="lower", random_start=random_start)
    result = attack(model, photos)
    size = slopes.abs().sum() if norm == "linf" else slopes.square().sum().sqrt()
    moved = (result.clean_scores - result.scores) / (attack.budget * size)
    least = 1 - 1e-9
    if random_start and norm == "l2":  # one step of 2 * eps from a point of the sphere ends at an angle of atan(1 / 2)
        least = 0.85 if steps == 1 else 0.99
    assert (moved > least).all()
    assert (moved < 1 + 1e-9).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 1.0), ("l2", 4.0)])
def test_a_linear_score_reaches_its_best_within_the_pixel_range(norm: str, eps: float) -> None:
    model, photos = linear(low=0, high=255)
    slopes = model.slopes.detach()
    room = torch.where(slopes > 0, 1 - photos, photos)
    if norm == "linf":
        best = (slopes.abs() * room.clamp_max(eps)).sum((1, 2, 3))
    else:  # clip(scale * slopes) with the scale at which it is eps long, by bisection
        low, high = photos.new_zeros(3, 1, 1, 1), photos.new_full((3, 1, 1, 1), 1e6)
        for _ in range(200):
            middle = (low + high) / 2
            fits = torch.minimum(middle * slopes.abs(), room).square().sum((1, 2, 3), keepdim=True) <= eps**2
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        best = (slopes.abs() * torch.minimum(low * slopes.abs(), room)).sum((1, 2, 3))
    result = APGD(eps=eps, norm=norm, objective="raise")(model, photos)
    share = (result.scores - result.clean_scores) / best
    assert (share > 0.99).all()
    assert (share < 1 + 1e-9).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.5)])
def test_a_peak_inside_the_ball_is_found(norm: str, eps: float) -> None:
    photos = toy_photos(2, 4, low=60, high=200).double()
    peak = photos.mean(0)
    close = peak + 0.03 * torch.sin(1000 * photos)
    model = QuadraticModel(torch.eye(48, dtype=torch.float64), peak).double().eval()
    result = APGD(eps=eps, norm=norm, steps=100, objective="raise")(model, close)
    assert (result.scores > 1e-3 * result.clean_scores).all()  # both below 0, the score of the peak
    assert (result.scores > IFGSM(eps=0.1, steps=100, objective="raise")(model, close).scores).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("l2", 0.3)])
@pytest.mark.parametrize(("objective", "sign"), [("raise", 1.0), ("lower", -1.0)])
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_points_and_step_sizes_agree_with_numpy(norm: str, eps: float, objective: str, sign: float, steps: int) -> None:
    photos = toy_photos(1, 4, seed=steps, low=0, high=255).double()
    inner = QuadraticModel.random(4, seed=steps)
    model = RecordingModel(inner).eval()
    result = APGD(eps=eps, norm=norm, steps=steps, objective=objective)(model, photos)
    matrix, peak = inner.matrix.detach().numpy(), inner.peak.detach().flatten().numpy()
    scored, sizes, best = apgd(Hill(matrix, peak, photos.flatten().numpy(), norm, eps, sign), steps)
    assert len(model.asked) == steps + 3  # the clean image once, and two to measure
    for asked, expected in zip(model.asked, scored, strict=False):
        np.testing.assert_allclose(asked.flatten().numpy(), expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(result.images.flatten().numpy(), best, rtol=0, atol=1e-7)
    assert len(set(sizes)) > 2 or steps < 40 or objective == "lower"  # steps that were halved were compared


def test_a_step_is_halved_under_either_condition_and_the_photo_sent_to_its_best_point() -> None:
    cases = {  # climbs of 8 steps, whether halved before, whether the best value rose: whether to halve
        (5, False, True): True,
        (6, False, True): False,  # 6 is the share of .75
        (8, False, False): True,
        (8, True, False): False,  # without progress, but it was halved just now
        (2, True, False): True,
    }
    climbs, halved, rose = (torch.tensor(column) for column in zip(*cases, strict=True))
    photo = torch.zeros(len(cases), 3, 1, 1)
    run = _Run.starting(torch.arange(len(cases)), photo, photo, photo, torch.zeros(len(cases)), 0.2)
    run.climbs, run.halved, run.top, run.top_value = climbs, halved, photo + 0.5, rose.float()
    run.point, run.value = photo + 0.1, torch.full((len(cases),), -1.0)
    run.judge(8)
    expected = torch.tensor(list(cases.values()))
    assert torch.equal(run.halved, expected)
    torch.testing.assert_close(run.step.flatten(), torch.where(expected, 0.1, 0.2))
    torch.testing.assert_close(run.point[:, 0, 0, 0], torch.where(expected, 0.5, 0.1))
    torch.testing.assert_close(run.value, torch.where(expected, rose.float(), -1.0))
    assert torch.equal(run.judged_value, run.top_value)
    assert not run.climbs.any()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("l2", 0.3)])
def test_every_photo_has_a_step_of_its_own(norm: str, eps: float) -> None:
    model = QuadraticModel.random(4)
    photos = torch.cat([model.peak.detach()[None] + 0.002, toy_photos(3, 4, low=0, high=255).double()])
    attack = APGD(eps=eps, norm=norm, steps=30, objective="raise")
    together = attack(model, photos)
    for place in range(4):
        alone = attack(model, photos[place : place + 1])
        torch.testing.assert_close(together.images[place], alone.images[0], rtol=0, atol=1e-7)


def test_the_best_point_that_was_seen_is_returned_and_never_a_worse_one_than_the_photo() -> None:
    for objective, sign in (("raise", 1), ("lower", -1)):
        model = RecordingModel(ConvModel(seed=4)).eval()
        result = APGD(eps="8/255", steps=15, objective=objective, random_start=True)(model, toy_photos(3))
        seen = sign * torch.stack(model.answers[:17])  # the photos and 16 points
        torch.testing.assert_close(sign * result.scores, seen.amax(0), rtol=1e-6, atol=0)
    peak = QuadraticModel.random(4)
    result = APGD(steps=3, objective="raise", random_start=True)(peak, peak.peak.detach()[None])
    assert torch.equal(result.images, result.clean_images)


def test_more_steps_and_more_runs_never_lose() -> None:
    model, photos = QuadraticModel.random(4, seed=2), toy_photos(3, 4, low=0, high=255).double()
    found = [APGD(eps=0.1, steps=steps, objective="raise")(model, photos).scores for steps in (1, 5, 20, 80)]
    assert all((more >= less).all() for less, more in pairwise(found))
    for restart_from in ("random", "best"):
        runs = [
            APGD(eps=0.1, steps=6, objective="raise", restarts=restarts, restart_from=restart_from)(model, photos)
            for restarts in (0, 1, 3)
        ]
        assert all((more.scores >= less.scores).all() for less, more in pairwise(runs))
        assert (runs[-1].scores > runs[0].scores).any()
        assert [run.gradients.tolist() for run in runs] == [[6] * 3, [12] * 3, [24] * 3]
        assert [run.queries.tolist() for run in runs] == [[7] * 3, [14] * 3, [28] * 3]


def test_restarts_belong_to_seed_and_key() -> None:
    model, photos = ConvModel().eval(), toy_photos(3)

    def found(seed: int, rows: list[int]) -> Tensor:
        recording = RecordingModel(model).eval()
        attack = APGD(steps=2, restarts=1, seed=seed, objective="raise")
        attack(recording, photos[rows], keys=["abc"[row] for row in rows])
        return recording.asked[3]  # the clean image, two steps, then the second start

    starts = found(0, [0, 1, 2])
    assert torch.equal(found(0, [2, 1]), starts[[2, 1]])
    assert not torch.equal(found(1, [0]), starts[:1])
    assert (starts - photos).abs().amax() <= 4 / 255 + 1e-7
    assert (starts - photos).abs().amax((1, 2, 3)).min() > 3.9 / 255


def test_a_restart_from_the_best_point_starts_there() -> None:
    model = RecordingModel(QuadraticModel.random(4)).eval()
    photos = toy_photos(2, 4).double()
    APGD(eps=0.1, steps=5, restarts=1, restart_from="best", objective="raise")(model, photos)
    answers = torch.stack(model.answers[:6])
    torch.testing.assert_close(model.answers[6], answers.amax(0))


@pytest.mark.parametrize("name", ["absolute_shift", "squared_shift"])
def test_a_shift_from_a_random_start_moves_a_linear_score_as_far_as_a_push(name: str) -> None:
    model, photos = linear(4)
    result = APGD(eps=0.01, steps=10, objective=name, random_start=True)(model, photos)
    moved = (result.scores - result.clean_scores).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01 * float(model.slopes.detach().abs().sum())))
    with pytest.raises(InputError) as caught:
        APGD(objective=name)
    assert str(caught.value) == (
        f"'apgd' starts at the clean image, where {name!r} has no gradient; "
        "use 'apgd' with random_start=True, or another objective."
    )


@pytest.mark.parametrize("name", ["lower", "raise", "farther_end", "worst_of_both", "rank_split", "target"])
def test_every_objective_is_met(name: str) -> None:
    model, photos = linear(4)
    reach = 0.01 * float(model.slopes.detach().abs().sum())
    clean = model(photos).detach()
    middle = float(clean.sort().values[1:3].mean())
    options = {"rank_split": {"threshold": middle}, "target": {"score": middle}}.get(name, {})
    result = APGD(eps=0.01, steps=60, objective=create_objective(name, **options))(model, photos)
    moved = result.scores - clean
    if name == "target":
        near = (clean - middle).abs() < 0.9 * reach
        assert near.any()
        assert ((result.scores - middle).abs()[near] < 0.01 * reach).all()
        return
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, reach))
    ways = {
        "lower": -torch.ones(4),
        "raise": torch.ones(4),
        "farther_end": torch.where(clean > 50, -1.0, 1.0),
        "rank_split": torch.where(clean > middle, -1.0, 1.0),
    }
    assert name not in ways or torch.equal(moved.sign(), ways[name].to(moved))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0."),
        ({"eot": 0}, "eot must be a whole number of at least 1, got 0."),
        ({"restarts": -1}, "restarts must be a whole number of at least 0, got -1."),
        ({"restart_from": "worst"}, "restart_from must be one of random, best, got 'worst'."),
        ({"norm": "l3"}, "unknown norm 'l3'. Known: l2, linf."),
        ({"eps": 2}, "eps is in [0, 1] pixel units, got 2; did you mean '2/255'?"),
        ({"score_bound": "low"}, "score_bound must be a finite number on the model's score scale, got 'low'."),
        ({"tolerance": -1}, "tolerance must be a finite number of at least 0 on the model's score scale, got -1."),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        APGD(**options)
    assert str(caught.value) == problem


def test_a_subclass_can_not_lie_about_its_l2_size() -> None:
    class Liar(APGD):
        def perturb_from(self, start: Tensor, oracle: Any, images: Tensor, goal: Any, generators: Any) -> Tensor:
            return images + 7

    photos = toy_photos(2, 8)
    result = Liar(norm="l2", eps=0.3)(ConvModel().eval(), photos)
    assert (create_ball("l2", 0.3).distance(result.images_8bit, photos) <= 0.3 * (1 + 1e-6)).all()
    torch.testing.assert_close(result.l2, torch.full((2,), 0.3))
