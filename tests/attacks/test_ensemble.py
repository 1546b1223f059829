"""The ensemble: a closed form, its members one by one beside it, models whose gradients mislead, random models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.attacks.apgd import APGD
from robustiqa.attacks.ensemble import PRESETS, REPEATS, UNMOVED, Ensemble, Preset
from robustiqa.attacks.rank_surrogate import PassedShare
from robustiqa.attacks.security_curve import security_curve
from robustiqa.attacks.square import Square
from robustiqa.core.attack import AttackResult, Oracle
from robustiqa.core.attack_result import Contest, chosen_contest
from robustiqa.core.errors import InputError
from robustiqa.core.model import ModelWrapper
from robustiqa.core.objective import Goal, Push
from tests.attack_options import TINY
from tests.toys import ConstantModel, ConvModel, CountingModel, Fickle, LinearModel, Nearness, toy_photos

KEYS = ["a", "b", "c"]
SIGNS = {"lower": -1.0, "raise": 1.0}


def contest(result: AttackResult) -> Contest:
    assert result.contest is not None
    return result.contest


def tiny(**options: Any) -> Ensemble:
    return Ensemble(preset=TINY, **options)


@pytest.mark.parametrize(("objective", "sign"), SIGNS.items())
@pytest.mark.parametrize("levels", [1, 4])
def test_a_linear_score_moves_by_eps_times_the_l1_norm_in_8_bits(objective: str, sign: float, levels: int) -> None:
    model, photos = LinearModel.random(12, size=1.0).double(), toy_photos(3, 12).double()
    result = tiny(eps=f"{levels}/255", objective=objective)(model, photos)
    most = levels / 255 * model.slopes.abs().sum().item()
    assert (sign * (result.scores_8bit - result.clean_scores)).tolist() == pytest.approx([most] * 3, rel=1e-5)
    assert contest(result).winners == ["apgd"] * 3  # Square gets near, the other only as far


@pytest.mark.parametrize("eps", [0.01, "4/255"])
@pytest.mark.parametrize(("objective", "sign"), SIGNS.items())
@pytest.mark.parametrize("seed", [0, 3])
def test_it_is_the_worst_in_8_bits_of_its_members_each_run_alone(
    eps: float | str, objective: str, sign: float, seed: int
) -> None:
    model, photos = ConvModel(seed).eval(), toy_photos(3, 16, seed)
    attack = tiny(eps=eps, objective=objective, seed=seed)
    result = attack(model, photos, keys=KEYS)
    names, reached = contest(result).names, contest(result).scores
    assert names == (UNMOVED, "apgd", "apgd_rank", "square") == (UNMOVED, *attack.members)
    alone = [member(model, photos, keys=KEYS) for member in attack.members.values()]
    for place, member in enumerate(alone, start=1):
        assert torch.equal(reached[place], member.scores_8bit)
        assert (sign * result.scores_8bit >= sign * member.scores_8bit - 1e-5).all()
    images = torch.stack([photos, *(member.images_8bit for member in alone)])
    assert torch.equal(result.images_8bit, images[contest(result).won, torch.arange(3)])
    torch.testing.assert_close(result.scores_8bit, (sign * reached).amax(0) * sign, rtol=1e-6, atol=0)


def test_the_worst_of_both_directions_keeps_the_contest_of_the_direction_that_won() -> None:
    model, photos = ConvModel(2).eval(), toy_photos(6, 16)
    both = tiny()(model, photos)
    ways = [tiny(objective=objective)(model, photos) for objective in ("lower", "raise")]
    for place, way in enumerate(both.won.tolist()):
        assert contest(both).winners[place] == contest(ways[way]).winners[place]
        assert torch.equal(contest(both).scores[:, place], contest(ways[way]).scores[:, place])
    assert torch.equal(both.queries, ways[0].queries + ways[1].queries)


class Harmful(Square):
    """Takes every photo the wrong way."""

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        return images - self.budget * oracle.scale.span


def test_the_clean_photo_stays_where_every_member_makes_things_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    model, photos = LinearModel(torch.full((3, 8, 8), 0.1)).eval(), toy_photos(2, 8)
    monkeypatch.setattr(Ensemble, "members", property(lambda self: {"harmful": Harmful(objective=self.objective)}))
    result = tiny(objective="raise")(model, photos)
    assert contest(result).winners == [UNMOVED] * 2
    assert torch.equal(result.images_8bit, photos)
    assert (contest(result).scores[1] < contest(result).scores[0]).all()


def test_of_equals_the_first_is_kept_and_without_a_whole_level_that_is_the_clean_photo() -> None:
    model, photos = ConvModel().eval(), toy_photos(2, 8)
    result = tiny(eps=0.001)(model, photos)
    assert contest(result).winners == [UNMOVED] * 2
    assert torch.equal(result.images, photos)
    assert contest(tiny()(ConstantModel().eval(), photos)).winners == [UNMOVED] * 2


class Coarse(ModelWrapper):
    """Scores in steps of a fiftieth: a gradient that is zero everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = torch.round(50 * self.model(images)) / 50
        return scores


class Backward(ModelWrapper):
    """The score with the gradient of its negative: every step along it leads down."""

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.model(images)
        return 2 * scores.detach() - scores


@pytest.mark.parametrize("masked", [Coarse, Backward])
@pytest.mark.parametrize(("objective", "sign"), SIGNS.items())
def test_where_gradients_are_masked_square_wins_and_is_named(
    masked: type[ModelWrapper], objective: str, sign: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, TINY, Preset(steps=8, queries=1000, eot=4))
    model, photos = masked(LinearModel.random(16, size=1.0)).eval(), toy_photos(3, 16)
    result = tiny(objective=objective)(model, photos)
    assert contest(result).winners == ["square"] * 3
    assert (sign * (result.scores_8bit - result.clean_scores) >= 2).all()
    assert torch.equal(contest(result).scores[1], result.clean_scores)  # APGD knows no better than the clean photo


def test_a_batch_gives_what_its_photos_give_one_by_one_to_the_last_bit() -> None:
    model, photos = ConvModel(4).double().eval(), toy_photos(3, 16).double()
    attack = tiny(objective="lower")
    together = attack(model, photos, keys=KEYS)
    for place, key in enumerate(KEYS):
        alone = attack(model, photos[place : place + 1], keys=[key])
        assert torch.equal(together.images[place], alone.images[0])
        assert contest(together).winners[place] == contest(alone).winners[0]
        torch.testing.assert_close(contest(together).scores[:, place], contest(alone).scores[:, 0])


def test_members_draw_by_the_seed_and_the_key_of_each_photo_and_by_nothing_else() -> None:
    model, photos = ConvModel(4).eval(), toy_photos(3, 16)
    first, again = (tiny(objective="raise")(model, photos, keys=KEYS) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(contest(first).scores, contest(again).scores)
    for other in (
        tiny(objective="raise", seed=1)(model, photos, keys=KEYS),
        tiny(objective="raise")(model, photos, keys=["d", "e", "f"]),
    ):
        same = contest(other).scores == contest(first).scores
        assert same[:2].all()  # the clean photo and APGD from it draw nothing
        assert not same[3].any()  # Square


def fickle() -> tuple[Fickle, LinearModel]:
    """A model that changes, and the mean of what it says."""
    slopes = LinearModel.random(8, size=0.1).slopes.detach()
    others = -0.6 * slopes.flip(0)
    return Fickle(slopes, others).eval(), LinearModel((slopes + others) / 2).eval()


def test_a_random_model_is_attacked_and_its_attackers_compared_by_means() -> None:
    (model, mean), photos = fickle(), toy_photos(2, 8)
    result = tiny(eps="4/255", objective="raise")(model, photos)
    along = photos + 4 / 255 * mean.slopes.detach().sign()
    assert contest(result).winners == ["apgd"] * 2
    torch.testing.assert_close(result.images, along, rtol=0, atol=1e-6)
    torch.testing.assert_close(contest(result).scores[:2], mean(torch.cat([photos, along])).detach().reshape(2, 2))


def passes(preset: Preset, eot: int) -> tuple[int, int]:
    """Forward and backward passes a photo and direction."""
    forward = REPEATS + 2 * (preset.steps + 1) * eot + preset.queries + (eot if eot > 1 else 0) + 4 * eot
    return forward, 2 * preset.steps * eot


@pytest.mark.parametrize("random", [False, True])
def test_passes_are_those_that_the_card_states(random: bool) -> None:
    model = CountingModel(fickle()[0] if random else ConvModel()).eval()
    result = tiny(objective="lower")(model, toy_photos(2, 8))
    preset = PRESETS[TINY]
    expected = passes(preset, preset.eot if random else 1)
    assert (result.queries.tolist(), result.gradients.tolist()) == ([expected[0]] * 2, [expected[1]] * 2)
    own = 2 if random else 0  # of a model that stays the same, APGD's first pass is the clean one
    assert model.forwards == 2 * (expected[0] + 2) + own


def test_the_card_states_what_the_presets_cost() -> None:
    import robustiqa.attacks.ensemble as module

    card = module.__doc__ or ""
    for name in ("standard", "quick"):
        stated = re.search(rf"^    {name}\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$", card, re.MULTILINE)
        assert stated is not None
        preset = PRESETS[name]
        assert tuple(map(int, stated.groups())) == (*passes(preset, 1), *passes(preset, preset.eot))
    forward, backward = passes(PRESETS["standard"], 1)
    assert f"{forward:,} forward and {backward} backward passes" in (Ensemble.__doc__ or "")


def test_published_numbers_stay_what_they_are_and_stand_in_the_provenance() -> None:
    assert PRESETS["standard"] == Preset(steps=100, queries=5000, eot=20)
    assert PRESETS["quick"] == Preset(steps=25, queries=500, eot=5)
    assert Ensemble().label == "ensemble(eps=4/255, preset=standard)"
    assert Ensemble(eps=0.01, preset="quick", seed=2).label == "ensemble(eps=0.01, preset=quick, seed=2)"
    assert Ensemble(seed=1).provenance == {
        "members": {
            "apgd": "apgd(eps=4/255, steps=100, seed=1)",
            "apgd_rank": "apgd(eps=4/255, random_start=True, steps=100, seed=1)",
            "square": "square(eps=4/255, queries=5000, share=0.05, squares=1, seed=1)",
        },
        "eot": 20,
    }


@pytest.mark.parametrize("objective", ["squared_shift", "absolute_shift"])
def test_a_goal_without_direction_has_no_rank_and_starts_at_a_random_point_where_it_is_flat(objective: str) -> None:
    attack = tiny(objective=objective)
    assert list(attack.members) == ["apgd", "square"]
    member = attack.members["apgd"]
    assert isinstance(member, APGD) and member.random_start
    model, photos = ConvModel(1).eval(), toy_photos(2, 12)
    result = attack(model, photos)
    assert contest(result).names == (UNMOVED, "apgd", "square")
    assert ((result.scores_8bit - result.clean_scores).abs() > 0.1).all()


def test_every_member_has_the_ensembles_budget_objective_and_seed() -> None:
    attack = Ensemble(eps="2/255", objective="lower", seed=5)
    for member in attack.members.values():
        assert (member.budget, member.norm, member.seed) == (2 / 255, "linf", 5)
    start = [member.random_start for member in attack.members.values() if isinstance(member, APGD)]
    assert start == [False, True]


def test_the_rank_surrogate_is_climbed_by_its_member_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    climbed: list[type[Goal]] = []

    def search(
        member: APGD | Square, passes: int, oracle: Oracle, images: Tensor, goal: Goal, draws: Sequence[torch.Generator]
    ) -> Tensor:
        climbed.append(type(goal))
        return images

    monkeypatch.setattr("robustiqa.attacks.ensemble._search", search)
    tiny(objective="lower")(ConvModel().eval(), toy_photos(1, 8))
    assert climbed == [Push, PassedShare, Push]


@pytest.mark.parametrize(("preset", "hint"), [("standrad", "; did you mean 'standard'?"), ("slow", ".")])
def test_an_unknown_preset_is_refused_with_the_nearest_and_all(preset: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        Ensemble(preset=preset)
    assert str(caught.value) == f"unknown preset {preset!r}{hint} Known: {', '.join(PRESETS)}."


def test_on_a_security_curve_a_photo_keeps_the_contest_of_the_image_it_keeps() -> None:
    photos = toy_photos(1, 12)
    model = Nearness(photos[0] + (photos[0] - 0.5).sign() / 255).eval()  # one level away is as good as it gets
    curve = security_curve(tiny(objective="raise"), model, photos, budgets=["1/255", "4/255"])
    small, large = (contest(result) for result in curve.results)
    assert small.winners == ["apgd"]
    assert torch.equal(curve.results[1].images, curve.results[0].images)
    assert torch.equal(large.scores, small.scores)


def test_a_photo_takes_its_contest_from_the_run_that_is_chosen_for_it() -> None:
    names = ("none", "square")
    first = Contest(names, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    second = Contest(names, torch.tensor([[5.0, 6.0], [7.0, 8.0]]), torch.tensor([0, 1]))
    taken = chosen_contest([first, second], torch.tensor([1, 0]))
    assert taken is not None
    assert (taken.scores.tolist(), taken.won.tolist()) == ([[5.0, 2.0], [7.0, 4.0]], [0, 0])
    assert chosen_contest([None, None], torch.tensor([1, 0])) is None
