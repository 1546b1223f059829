from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import score_boundary
from robustiqa.attacks.jnd import just_noticeable_difference
from robustiqa.attacks.lockstep import Scored, Search
from robustiqa.attacks.objectives import RankSplit, Target
from robustiqa.attacks.score_boundary import Boundary, ScoreBoundary, jnd_box
from robustiqa.core.errors import InputError, MissingExtraError
from robustiqa.core.model import QualityModel, ScoreScale
from tests.toys import ConstantModel, ConvModel, CountingModel, LinearModel, toy_photos

pytest.importorskip("kornia", reason="needs kornia, an optional extra")


class Watching(LinearModel):
    """A linear model that keeps every image it was asked about, (3, H, W) each."""

    def __init__(self, slopes: Tensor) -> None:
        super().__init__(slopes)
        self.seen: list[Tensor] = []

    def raw_scores(self, normalized: Tensor) -> Tensor:
        self.seen += list(normalized.detach().clone())
        return super().raw_scores(normalized)


def smooth_slopes(side: int = 24, size: float = 0.1) -> Tensor:
    """Slopes of low frequency, as a quality model's are closer to than to white noise."""
    coarse = torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    return size * torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")[0]


SMALL: dict[str, Any] = {"query_budget": 120, "search_trials": 15, "refine_queries": 25}


def test_boundaries_follow_a_trace_written_by_hand() -> None:
    def is_at(boundary: Boundary, share: float, last: float) -> bool:
        return boundary.share == pytest.approx(share) and boundary.last == pytest.approx(last)

    first = Boundary()
    assert is_at(first, 0.01, 0)
    assert is_at(first.after_crossing(0.0299), 0.01, 0)  # below the upper boundary, .01 + 2 * .01
    assert is_at(first.after_crossing(0.0301), 0.02, 0)  # half way to it
    second = first.following(0.0104)
    assert is_at(second, 0.02, 0.01)
    closer = second.closer()
    assert is_at(closer, 0.015, 0.01)
    assert closer.can_come_closer
    assert is_at(closer.closer(), 0.0125, 0.01)
    assert is_at(closer.following(0.0151), 0.02, 0.015)
    leap = second.after_crossing(0.2)
    assert is_at(leap, 0.03, 0.01)
    assert is_at(leap.following(0.0301), 0.05, 0.03)
    assert is_at(leap.following(0.06), 0.08, 0.06)  # already past .05: counted from there
    tiny = Boundary(0.001, 0.0)
    assert not tiny.can_come_closer
    assert is_at(tiny.after_crossing(0.0049), 0.001, 0)  # an upper boundary is no lower than .005
    assert is_at(tiny.after_crossing(0.0051), 0.003, 0)
    assert not Boundary(0.0025, 0.0).can_come_closer  # 1/400


def test_a_model_that_can_not_be_moved_costs_three_boundaries_of_trials() -> None:
    attack = ScoreBoundary(objective="raise", search_trials=7)
    result = attack(ConstantModel().eval(), toy_photos(2, 16))
    assert result.queries.tolist() == [21, 21]  # at .01, .005 and .0025 of the scale
    assert torch.equal(result.images, result.clean_images)


@dataclass
class Round:
    """What one round handed to SurFree."""

    start: Tensor
    found: Tensor
    is_past: Any

    @property
    def share(self) -> float:
        return float(self.is_past.args[0])


def recorded_rounds(monkeypatch: pytest.MonkeyPatch) -> list[Round]:
    """Replaces SurFree by one that keeps what it is handed and leaves images as they are."""
    rounds: list[Round] = []

    class Recorded:
        def __init__(self, start: Tensor, *_: Tensor, is_past: Any, **__: Any) -> None:
            self.start, self.is_past = start, is_past

        def run(self, found: Scored) -> Search[Scored]:
            yield from ()
            rounds.append(Round(self.start, found.image, self.is_past))
            return found

    monkeypatch.setattr(score_boundary, "SurFree", Recorded)
    return rounds


@pytest.mark.parametrize(
    ("objective", "clean", "room"),
    [("raise", 30.0, 170.0), ("lower", 30.0, 80.0), ("raise", 200.0, 2.5), ("lower", -60.0, 10.0)],
)
def test_a_boundary_is_a_share_of_the_way_to_the_end_of_the_models_scale(
    monkeypatch: pytest.MonkeyPatch, objective: str, clean: float, room: float
) -> None:
    model, photo = LinearModel(smooth_slopes(size=5.0), bias=0.0).eval(), toy_photos(1)
    model.scale = ScoreScale(-50.0, 200.0)
    model.bias.data += clean - model.score(photo)[0]
    rounds = recorded_rounds(monkeypatch)
    ScoreBoundary(objective=objective, query_budget=5)(model, photo)
    score, sign = model.score(photo).item(), 1 if objective == "raise" else -1
    for found in rounds:
        assert found.is_past(score + sign * found.share * room * 1.001)
        assert not found.is_past(score + sign * found.share * room * 0.999)
        assert not found.is_past(float("nan"))
    assert rounds


def test_rounds_go_on_from_what_the_last_one_left_and_each_crosses_the_next_boundary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = recorded_rounds(monkeypatch)
    result = ScoreBoundary(objective="raise", query_budget=80)(
        LinearModel(smooth_slopes(size=1.0)).eval(), toy_photos(1)
    )
    shares = [found.share for found in rounds]
    assert len(shares) > 2
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.02)  # a large slope: the first texture crosses three times as far
    assert rounds[-1].is_past(result.scores.item())
    assert torch.equal(rounds[0].start, result.clean_images[0])
    assert all(torch.equal(after.start, before.found) for before, after in pairwise(rounds))


@pytest.mark.parametrize("eps", ["51/255", "6/255"])
def test_no_image_asked_about_leaves_the_box_around_the_clean_photo_nor_does_the_8_bit_result(eps: str) -> None:
    model, photos = Watching(smooth_slopes()).eval(), toy_photos(1, low=0, high=255)
    attack = ScoreBoundary(objective="raise", eps=eps, query_budget=400, search_trials=40, refine_queries=30)
    result = attack(model, photos)
    low, high = jnd_box(photos, attack.budget)
    assert result.scores > result.clean_scores
    seen = torch.stack(model.seen)
    assert ((seen >= low - 1e-6) & (seen <= high + 1e-6)).all()
    assert ((result.images_8bit >= low - 1e-6) & (result.images_8bit <= high + 1e-6)).all()
    visible = 0.38 * just_noticeable_difference(photos)
    assert ((result.images_8bit - photos).abs() <= visible.clamp(max=attack.budget) + 1e-6).all()


def test_the_box_is_the_whole_levels_of_the_jnd_unless_eps_or_the_range_is_tighter() -> None:
    photos = toy_photos(2, 12, low=0, high=255)
    jnd = 255 * 0.38 * just_noticeable_difference(photos).double()
    low, high = jnd_box(photos, 51 / 255)
    levels = torch.floor(jnd + 1e-4).expand_as(photos)
    clean = (255 * photos).round().double()
    torch.testing.assert_close(255 * high.double(), (clean + levels).clamp(max=255), rtol=0, atol=1e-4)
    torch.testing.assert_close(255 * low.double(), (clean - levels).clamp(min=0), rtol=0, atol=1e-4)
    assert levels.max() < 51
    tight = jnd_box(photos, 2.5 / 255)
    assert (255 * (tight[1] - photos)).max().item() == pytest.approx(2.5, abs=1e-4)
    assert (255 * (photos - tight[0])).max().item() == pytest.approx(2.5, abs=1e-4)
    black_beside_white = torch.zeros(1, 3, 12, 12)
    black_beside_white[..., 6:] = 1
    widest = 255 * jnd_box(black_beside_white, 1.0)[1].amax().item()
    assert widest == 255
    assert (255 * jnd_box(black_beside_white, 1.0)[1][..., 5]).max().item() == pytest.approx(50)


def test_textures_change_the_photo_only_where_the_mask_allows() -> None:
    model = Watching(torch.zeros(3, 24, 24)).eval()  # nothing is ever crossed: all queries are textures
    photos = torch.full((1, 3, 24, 24), 0.4)
    photos[..., 12:] = 0.6
    ScoreBoundary(objective="lower", search_trials=5)(model, photos)
    changed = (torch.stack(model.seen) != photos).any(0).any(0).any(0)
    assert changed.any()
    assert not changed[:9].any()
    assert not changed[15:].any()


@pytest.mark.parametrize("seed", [1, 3])
def test_what_is_past_a_closer_boundary_is_not_shrunk_toward_itself(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    model, rounds = LinearModel(smooth_slopes(size=0.6)).eval(), recorded_rounds(monkeypatch)
    ScoreBoundary(objective="raise", query_budget=80, search_trials=2, seed=seed)(model, toy_photos(1))
    assert len(rounds) > 5 and not any(torch.equal(found.start, found.found) for found in rounds)


@pytest.mark.parametrize("budget", [1, 7, 60, 173])
def test_no_photo_costs_more_than_its_budget_and_every_query_is_counted(budget: int) -> None:
    model = CountingModel(ConvModel(1)).eval()
    photos = torch.cat([toy_photos(2, 16), torch.full((1, 3, 16, 16), 0.5)])
    attack = ScoreBoundary(objective="raise", query_budget=budget, search_trials=11, refine_queries=20)
    result = attack(model, photos)
    assert result.queries.max() <= budget
    assert model.forwards == 3 * 3 + result.queries.sum()
    assert model.backwards == 0
    if budget <= 7:
        assert result.queries.tolist() == [budget] * 3


def test_photos_of_a_batch_advance_each_at_its_own_pace_and_as_if_alone() -> None:
    model = LinearModel(smooth_slopes()).eval().double()
    photos = torch.cat(
        [toy_photos(2), torch.full((1, 3, 24, 24), 0.5), toy_photos(1, seed=3, low=100, high=160)]
    ).double()
    attack = ScoreBoundary(objective=RankSplit(threshold=50.0), **SMALL)
    together = attack(model, photos, keys=["a", "b", "c", "d"])
    for place, key in enumerate("abcd"):
        alone = attack(model, photos[place : place + 1], keys=[key])
        torch.testing.assert_close(together.images[place], alone.images[0], rtol=0, atol=1e-9)
        assert together.queries[place] == alone.queries[0]
    assert len(set(together.scores.tolist())) == 4


def test_more_queries_move_a_score_farther_but_never_beyond_the_corner_of_the_box() -> None:
    model, photos = LinearModel(smooth_slopes()).eval(), toy_photos(1)
    slopes, (low, high) = model.slopes.detach(), jnd_box(photos, 0.2)
    farthest = (slopes * torch.where(slopes > 0, high - photos, low - photos)).sum().item()
    shares = []
    for budget in (20, 200, 800):
        result = ScoreBoundary(objective="raise", query_budget=budget)(model, photos)
        shares.append((result.scores - result.clean_scores).item() / farthest)
    assert shares == sorted(shares)
    assert shares[-1] > 2 * shares[0]
    assert shares[-1] <= 1 + 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slopes", "least", "most"), [("equal", 0.99, 1.0), ("smooth", 0.5, 0.6), ("white", 0.15, 0.25)]
)
def test_8000_queries_reach_the_share_of_the_best_that_the_docstring_says(
    slopes: str, least: float, most: float
) -> None:
    white = 0.5 * torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(1))
    model = LinearModel({"equal": torch.full_like(white, 0.05), "smooth": smooth_slopes(), "white": white}[slopes])
    photos = toy_photos(2)
    low, high = jnd_box(photos, 0.2)
    weights = model.slopes.detach()
    farthest = (weights * torch.where(weights > 0, high - photos, low - photos)).flatten(1).sum(1)
    result = ScoreBoundary(objective="raise")(model.eval(), photos)
    shares = (result.scores - result.clean_scores) / farthest
    assert least <= shares.min() <= shares.max() <= most + 1e-4


def test_an_eps_of_zero_costs_nothing() -> None:
    result = ScoreBoundary(eps=0)(ConvModel().eval(), toy_photos(2))
    assert result.queries.tolist() == [0, 0]


def test_scores_that_are_no_numbers_end_the_search() -> None:
    class Broken(QualityModel):
        clean_sum: Tensor

        def raw_scores(self, normalized: Tensor) -> Tensor:
            sums = normalized.flatten(1).sum(1)
            return torch.where(sums == self.clean_sum, torch.full_like(sums, 50.0), torch.nan)

    photos, model = toy_photos(1, 16), Broken().eval()
    model.clean_sum = ((photos - model.input_mean[:, None, None]) / model.input_std[:, None, None]).flatten(1).sum(1)
    result = ScoreBoundary(objective="raise", search_trials=4)(model, photos)
    assert result.queries.tolist() == [12]
    assert torch.equal(result.images, photos)


@pytest.mark.parametrize("objective", ["absolute_shift", "squared_shift", Target(score=10.0)])
def test_an_objective_without_a_direction_is_refused_in_one_sentence(objective: Any) -> None:
    name = objective if isinstance(objective, str) else objective.name
    with pytest.raises(InputError) as caught:
        ScoreBoundary(objective=objective)
    assert str(caught.value) == (
        f"'score_boundary' raises or lowers scores past boundaries, and {name!r} does not say which; "
        "use 'lower', 'raise', 'farther_end', 'rank_split' or 'worst_of_both'."
    )


@pytest.mark.parametrize("option", ["query_budget", "search_trials", "refine_queries"])
def test_a_count_below_one_is_refused(option: str) -> None:
    options: dict[str, Any] = {option: 0}
    with pytest.raises(InputError, match=rf"^{option} must be a whole number of at least 1, got 0\.$"):
        ScoreBoundary(**options)


def test_defaults_are_8000_queries_and_a_ball_that_only_the_jnd_limits() -> None:
    attack = ScoreBoundary()
    assert attack.label == "score_boundary(eps=51/255, query_budget=8000, search_trials=200, refine_queries=100)"
    assert replace(attack, eps="4/255").budget == pytest.approx(4 / 255)


def test_without_kornia_the_attack_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia.filters", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'robustiqa\[kornia\]'"):
        ScoreBoundary()(ConvModel().eval(), toy_photos(1))
