"""Square Attack: closed forms on a linear model, a NumPy search beside it, and what the published code fixes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks.objectives import RankSplit, Target
from robustiqa.attacks.square import Square, square_side
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.core.seeds import generator
from tests.toys import ConstantModel, ConvModel, LinearModel, Nearness, RecordingModel, toy_photos

EPS = 4 / 255


def gain(model: QualityModel, photos: Tensor, **options: Any) -> Tensor:
    result = Square(objective="raise", **options)(model, photos)
    return result.scores - result.clean_scores


def test_ten_thousand_queries_reach_four_fifths_of_what_a_linear_score_can_move() -> None:
    model, photo = LinearModel.random(side=16, size=1.0), toy_photos(1, 16)
    reached = gain(model, photo, queries=10_000)
    most = EPS * model.slopes.abs().sum()
    assert 0.8 * most <= reached.item() <= most + 1e-3


def test_with_one_horizon_more_queries_continue_the_search_and_never_lose_ground() -> None:
    photos, gains, asked = toy_photos(2, 16), [], []
    for queries in (1, 20, 120, 400):
        model = RecordingModel(ConvModel(3).eval()).eval()
        gains.append(gain(model, photos, queries=queries, horizon=400))
        asked.append(model.asked[1 : queries + 1])
    for shorter, longer in itertools.pairwise(asked):
        assert len(shorter) < len(longer)
        assert all(torch.equal(one, other) for one, other in zip(shorter, longer, strict=False))
    for before, after in itertools.pairwise(gains):
        assert (after >= before).all()
    assert (gains[-1] > gains[0]).all()


def test_the_value_of_a_run_is_the_best_that_was_asked_about() -> None:
    inner, photos = ConvModel(5).eval(), toy_photos(1, 16)
    model = RecordingModel(inner).eval()
    reached = Square(objective="lower", queries=60)(model, photos)
    with torch.no_grad():
        seen = torch.cat([inner(images) for images in model.asked[1:61]])
    assert reached.scores.item() == pytest.approx(min(seen.min().item(), reached.clean_scores.item()), abs=1e-5)


# Published code: the share for query i of 10,000, halved after each threshold
@pytest.mark.parametrize(
    ("place", "halvings"),
    [
        *[(0, 0), (10, 0), (11, 1), (50, 1), (51, 2), (200, 2), (201, 3), (500, 3), (501, 4), (1000, 4), (1001, 5)],
        *[(2000, 5), (2001, 6), (4000, 6), (4001, 7), (6000, 7), (6001, 8), (8000, 8), (8001, 9), (9999, 9)],
    ],
)
def test_sides_follow_the_published_schedule_scaled_to_the_horizon(place: int, halvings: int) -> None:
    expected = round(math.sqrt(0.05 / 2**halvings * 300 * 400))
    assert square_side(place, 10_000, 0.05, 300, 400) == expected
    assert square_side(place // 10, 1000, 0.05, 300, 400) == square_side(place // 10 * 10, 10_000, 0.05, 300, 400)


def test_a_square_is_one_pixel_at_least_and_never_the_whole_photo() -> None:
    assert square_side(9999, 10_000, 0.05, 24, 24) == 1
    assert square_side(0, 10_000, 1.0, 24, 24) == 23
    assert square_side(0, 10_000, 1.0, 8, 100) == 7
    assert square_side(0, 10_000, 0.5, 1, 1) == 1


def searched(model: LinearModel, photo: Tensor, queries: int, squares: int, share: float) -> np.ndarray[Any, Any]:
    """Algorithm 1 for one photo in float64 NumPy, on the same draws."""
    draw = generator(0, "0")
    clean = photo[0].double().numpy()
    ends = [np.clip(clean - EPS, 0, 1), np.clip(clean + EPS, 0, 1)]
    slopes = model.slopes.detach().double().numpy()
    up = torch.randint(2, (3, 1, clean.shape[2]), generator=draw).numpy()
    best = np.where(up == 1, ends[1], ends[0])
    uniform = torch.rand((256, squares, 4), generator=draw).double().numpy()
    for place in range(queries - 1):
        side = square_side(place, queries, share, *clean.shape[1:])
        candidate = best.copy()
        for row, column, color, other in uniform[place]:
            top, left = int(row * (clean.shape[1] - side + 1)), int(column * (clean.shape[2] - side + 1))
            window = (slice(top, top + side), slice(left, left + side))
            chosen = int(8 * color)
            for attempt in (chosen, (chosen + 1 + int(7 * other)) % 8):
                before = candidate.copy()
                for channel in range(3):
                    candidate[(channel, *window)] = ends[attempt >> channel & 1][(channel, *window)]
                if not np.array_equal(candidate, before):
                    break
        if (slopes * candidate).sum() > (slopes * best).sum():
            best = candidate
    return best


@pytest.mark.parametrize(("squares", "share"), [(1, 0.05), (2, 0.3)])
def test_the_search_is_that_of_a_numpy_loop_over_the_same_draws(squares: int, share: float) -> None:
    model, photo = LinearModel.random(side=10, size=1.0), toy_photos(1, 10)
    found = Square(objective="raise", queries=200, squares=squares, share=share)(model, photo)
    expected = searched(model, photo, 200, squares, share)
    np.testing.assert_allclose(found.images[0].numpy(), expected, atol=1e-6)


def test_every_image_asked_about_is_within_the_budget_and_an_8bit_image() -> None:
    photos, model = toy_photos(2, 12, low=0, high=255), RecordingModel(ConvModel(1).eval()).eval()
    Square(objective="lower", queries=80)(model, photos)
    for images in model.asked[1:81]:
        assert (images - photos).abs().max() <= EPS + 1e-6
        assert images.min() >= 0 and images.max() <= 1
        assert (255 * images - (255 * images).round()).abs().max() < 1e-4


def test_no_query_is_spent_on_the_image_that_is_held_already() -> None:
    model, photos = RecordingModel(ConstantModel().eval()).eval(), toy_photos(2, 12)
    Square(objective="raise", queries=300)(model, photos)
    stripes, *proposals = model.asked[1:301]
    assert all((images != stripes).flatten(1).any(1).all() for images in proposals)


def test_pixels_of_the_last_row_and_column_are_reached() -> None:
    slopes = torch.zeros(3, 8, 8)
    slopes[:, -1, :] = slopes[:, :, -1] = 1.0
    reached = gain(LinearModel(slopes).eval(), toy_photos(1, 8), queries=3000)
    assert reached.item() == pytest.approx(EPS * slopes.sum().item(), rel=1e-3)


def test_a_photo_that_can_only_lose_is_returned_as_it_came() -> None:
    photos = toy_photos(1, 8)
    result = Square(objective="raise", queries=30)(Nearness(photos).eval(), photos)
    assert torch.equal(result.images, photos)


def test_a_photo_that_moved_enough_costs_no_more_queries_and_the_others_go_on() -> None:
    model, photos = LinearModel.random(side=12, size=1.0), toy_photos(3, 12)
    keys = ["a", "b", "c"]
    wanted = 0.5 * EPS * model.slopes.abs().sum().item()
    stopping = Square(objective="raise", queries=800, stop_change=wanted)
    together = stopping(model, photos, keys=keys)
    change = together.scores - together.clean_scores
    assert (change >= wanted).all() and (together.queries < 800).all()
    assert len(set(together.queries.tolist())) > 1
    for place, key in enumerate(keys):
        alone = stopping(model, photos[place : place + 1], keys=[key])
        assert alone.queries.item() == together.queries[place].item()
        spent = int(alone.queries.item())
        shorter = Square(objective="raise", queries=spent - 1, horizon=800)(
            model, photos[place : place + 1], keys=[key]
        )
        assert (shorter.scores - shorter.clean_scores).item() < wanted


def test_moving_the_wrong_way_ends_no_search() -> None:
    model, photos = LinearModel.random(side=12, size=1.0), toy_photos(4, 12)
    starts = [gain(model, photos, queries=1, seed=seed) for seed in range(3)]
    assert any((start <= 0).any() for start in starts)
    result = Square(objective="raise", queries=200, stop_change=1e-6)(model, photos)
    assert (result.scores > result.clean_scores).all()


@pytest.mark.parametrize("stop_change", [None, 1.5])
def test_photos_of_one_batch_go_opposite_ways(stop_change: float | None) -> None:
    model, photos = LinearModel.random(side=12, size=1.0), toy_photos(5, 12)
    middle = model(photos).median().item()
    result = Square(objective=RankSplit(middle), queries=150, stop_change=stop_change)(model, photos)
    change = result.scores - result.clean_scores
    assert ((change < -1) == (result.clean_scores > middle)).all()
    assert ((change > 1) == (result.clean_scores <= middle)).all()


def test_a_target_is_approached_from_either_side() -> None:
    model, photos = LinearModel.random(side=12, size=1.0), toy_photos(4, 12)
    clean, reach = model(photos).detach(), EPS * model.slopes.abs().sum().item()
    aim = clean.median().item()
    result = Square(objective=Target(aim), queries=300)(model, photos)
    before, after = ((scores - aim).abs() for scores in (clean, result.scores))
    assert (after <= (before - 0.4 * reach).clamp(min=0.05)).all()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"queries": 0}, "queries must be a whole number of at least 1, got 0."),
        ({"squares": 0}, "squares must be a whole number of at least 1, got 0."),
        ({"horizon": 0}, "horizon must be a whole number of at least 1, got 0."),
        ({"share": 0.0}, "share must lie in (0, 1], got 0.0."),
        ({"share": 1.5}, "share must lie in (0, 1], got 1.5."),
        ({"stop_change": 0.0}, "stop_change must be a number of score points above 0, got 0.0."),
        ({"stop_change": math.inf}, "stop_change must be a number of score points above 0, got inf."),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Square(**options)
    assert str(caught.value) == problem
