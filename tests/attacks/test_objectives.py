from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.attacks.objectives import (
    FartherEnd,
    Lower,
    Raise,
    RankSplit,
    Target,
    WorstOfBoth,
    create_objective,
    objectives,
)
from robustiqa.core.errors import InputError, UnknownNameError
from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import Objective, Push

SCORES = torch.tensor([10.0, 50.0, 50.5, 90.0])
FIELDS: dict[str, dict[str, float]] = {"rank_split": {"threshold": 40.0}, "target": {"score": 60.0}}


def every_objective() -> list[Objective]:
    return [create_objective(name, **FIELDS.get(name, {})) for name in objectives.names()]


def signs(objective: Objective, scale: ScoreScale | None = None) -> list[list[float]]:
    """The direction of each goal, an image at a time."""
    found = []
    for goal in objective.goals(SCORES, scale or ScoreScale()):
        assert isinstance(goal, Push)
        found.append(goal.signs.tolist())
    return found


def slope(objective: Objective, at: Tensor) -> Tensor:
    """Derivative of the first goal at scores `at`, after clean scores SCORES."""
    leaf = at.clone().requires_grad_()
    goal = objective.goals(SCORES, ScoreScale())[0]
    (found,) = torch.autograd.grad(goal(leaf).sum(), leaf)
    return found


def test_lower_raise_and_worst_of_both_push_every_score_their_way() -> None:
    assert signs(Lower()) == [[-1] * 4]
    assert signs(Raise()) == [[1] * 4]
    assert signs(WorstOfBoth()) == [[-1] * 4, [1] * 4]


def test_farther_end_lowers_above_mid_scale_only() -> None:
    assert signs(FartherEnd()) == [[1, 1, -1, -1]]


def test_farther_end_goes_by_the_scale_of_the_model() -> None:
    assert signs(FartherEnd(), ScoreScale(0, 20)) == [[1, -1, -1, -1]]
    assert signs(FartherEnd(), ScoreScale(60, 100)) == [[1, 1, 1, -1]]
    assert signs(FartherEnd(), ScoreScale(-200, 20)) == [[-1, -1, -1, -1]]


def test_farther_end_raises_a_score_at_the_middle() -> None:
    assert signs(FartherEnd(), ScoreScale(0, 180)) == [[1, 1, 1, 1]]


def test_rank_split_lowers_above_its_threshold_only_whatever_the_batch() -> None:
    assert signs(RankSplit(threshold=50.0)) == [[1, 1, -1, -1]]
    assert signs(RankSplit(threshold=5.0)) == [[-1, -1, -1, -1]]
    one = RankSplit(threshold=50.0).goals(SCORES[3:], ScoreScale())[0]
    assert isinstance(one, Push)
    assert one.signs.tolist() == [-1]


def test_target_slopes_toward_its_score_from_both_sides() -> None:
    torch.testing.assert_close(slope(Target(score=60.0), SCORES), 2 * (60.0 - SCORES))


@pytest.mark.parametrize("name", ["absolute_shift", "squared_shift"])
def test_shifts_are_flat_at_the_clean_score_and_lead_away_from_it(name: str) -> None:
    objective = create_objective(name)
    assert slope(objective, SCORES).tolist() == [0, 0, 0, 0]
    away = torch.tensor([-3.0, -1.0, 2.0, 4.0])
    assert slope(objective, SCORES + away).sign().tolist() == away.sign().tolist()


def test_shifts_are_the_absolute_and_the_squared_change() -> None:
    away = torch.tensor([-3.0, -1.0, 2.0, 4.0])
    values = {
        name: create_objective(name).goals(SCORES, ScoreScale())[0](SCORES + away)
        for name in ("absolute_shift", "squared_shift")
    }
    assert values["absolute_shift"].tolist() == [3, 1, 2, 4]
    assert values["squared_shift"].tolist() == [9, 1, 4, 16]


@pytest.mark.parametrize("objective", every_objective(), ids=lambda objective: objective.name)
def test_an_objective_says_truly_whether_it_is_flat_at_the_start(objective: Objective) -> None:
    flat = bool((slope(objective, SCORES) == 0).all())
    assert flat == objective.flat_at_start


@pytest.mark.parametrize("objective", every_objective(), ids=lambda objective: objective.name)
def test_goals_treat_images_one_by_one(objective: Objective) -> None:
    moved = SCORES + torch.tensor([3.0, -2.0, 1.0, -4.0])
    together = torch.stack([goal(moved) for goal in objective.goals(SCORES, ScoreScale())])
    alone = [
        torch.stack([goal(moved[i : i + 1]) for goal in objective.goals(SCORES[i : i + 1], ScoreScale())])
        for i in range(len(SCORES))
    ]
    assert torch.equal(together, torch.cat(alone, 1))


@pytest.mark.parametrize("objective", every_objective(), ids=lambda objective: objective.name)
def test_a_goal_in_other_units_is_multiplied_by_their_ratio_to_its_degree(objective: Objective) -> None:
    moved = SCORES + torch.tensor([3.0, -2.0, 1.0, -4.0])
    fields = {name: value / 10 for name, value in FIELDS.get(objective.name, {}).items()}
    in_tenths = create_objective(objective.name, **fields).goals(SCORES / 10, ScoreScale(0, 10))
    for goal, other in zip(objective.goals(SCORES, ScoreScale()), in_tenths, strict=True):
        assert goal.degree == other.degree
        torch.testing.assert_close(other(moved / 10), goal(moved) / 10**goal.degree)
        assert goal.at(torch.tensor([2, 0])).degree == goal.degree


@pytest.mark.parametrize("objective", every_objective(), ids=lambda objective: objective.name)
def test_an_objective_is_plain_data(objective: Objective) -> None:
    names = {type(one).__name__: type(one) for one in every_objective()}
    assert eval(repr(objective), names) == objective
    assert objectives.get(objective.name) is type(objective)
    assert hash(objective) == hash(eval(repr(objective), names))
    with pytest.raises(FrozenInstanceError):
        objective.name = "other"  # type: ignore[misc]


def test_create_objective_returns_a_built_one_as_it_is() -> None:
    built = RankSplit(threshold=3.0)
    assert create_objective(built) is built
    assert create_objective("rank_split", threshold=3.0) == built


@pytest.mark.parametrize(
    ("objective", "options", "sentence"),
    [
        (
            "rank_split",
            {},
            "objective 'rank_split' needs a threshold; build it with create_objective('rank_split', threshold=...).",
        ),
        ("target", {}, "objective 'target' needs a score; build it with create_objective('target', score=...)."),
        ("lower", {"score": 3}, "objective 'lower' has no option 'score'. Options: ."),
        (Lower(), {"score": 3}, "fields of an objective go with its name, got Lower() and ['score']."),
        (3, {}, "objective must be a name or an Objective, got int."),
        (
            "rank_split",
            {"threshold": float("nan")},
            "threshold must be a finite number on the model's score scale, got nan.",
        ),
        ("target", {"score": "60"}, "score must be a finite number on the model's score scale, got '60'."),
    ],
)
def test_a_wrong_objective_is_refused_in_one_sentence(objective: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        create_objective(objective, **options)
    assert str(caught.value) == sentence


def test_an_unknown_objective_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown objective 'rase'; did you mean 'raise'\? Known: "):
        create_objective("rase")


@pytest.mark.parametrize("name", ["lower", "rank_split", "absolute_shift", "squared_shift", "target"])
def test_a_goal_of_some_photos_is_the_goal_of_all_at_their_places(name: str) -> None:
    clean, scores = torch.tensor([20.0, 50.0, 80.0, 30.0]), torch.tensor([25.0, 40.0, 90.0, 10.0])
    (goal,) = create_objective(name, **FIELDS.get(name, {})).goals(clean, ScoreScale())
    rows = torch.tensor([3, 1, 1])
    assert torch.equal(goal.at(rows)(scores[rows]), goal(scores)[rows])
