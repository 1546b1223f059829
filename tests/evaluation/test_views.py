from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from robustiqa.attacks.gradient import IFGSM
from robustiqa.attacks.objectives import FartherEnd, RankSplit, WorstOfBoth
from robustiqa.core.errors import InputError
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.views import Evaluation
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, compared, synthetic
from tests.toys import ConvModel, toy_photos

DIRECTED = ["worst_of_both", "farther_end", "rank_split"]


def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def by_loop(
    evaluation: Evaluation, model: str, attack: str, objective: str, source: str, middle: float = 50.0
) -> dict[str, tuple[float, float, float]]:
    """Clean, float and 8-bit score of each photo, found record by record."""

    def only(scored_by: str, key: str, goal: str) -> Record:
        (found,) = [
            record
            for record in evaluation.records
            if record.scored_by == scored_by
            and record.attacked_on == source
            and record.key == key
            and record.attack == attack
            and record.goal == goal
            and record.variant == "end_to_end"
        ]
        return found

    keys = {record.key for record in evaluation.records}
    seen = {key: only(source, key, "lower").clean_score for key in keys}
    chosen = {}
    for key in keys:
        down, up = only(source, key, "lower"), only(source, key, "raise")
        if objective == "worst_of_both":
            goal = "raise" if abs(up.score - up.clean_score) > abs(down.score - down.clean_score) else "lower"
        else:
            threshold = middle if objective == "farther_end" else median(list(seen.values()))
            goal = "lower" if seen[key] > threshold else "raise"
        record = only(model, key, goal)
        chosen[key] = (record.clean_score, record.float_score, record.score)
    return chosen


@pytest.mark.parametrize("objective", DIRECTED)
@pytest.mark.parametrize("count", [7, 8])
def test_a_directed_objective_picks_what_a_loop_over_records_picks(objective: str, count: int) -> None:
    evaluation = synthetic(count, seed=count)
    found = evaluation.attacked("base-1", FGSM_LABEL, objective)
    expected = by_loop(evaluation, "base-1", FGSM_LABEL, objective, "base-1")
    assert found.keys == sorted(expected)
    for place, key in enumerate(found.keys):
        assert (found.before[place], found.float_after[place], found.after[place]) == expected[key]


@pytest.mark.parametrize("objective", DIRECTED)
def test_a_transferred_attack_goes_where_the_attacked_model_says(objective: str) -> None:
    evaluation = synthetic(12, transfer=True)
    found = evaluation.attacked("nt-1", FGSM_LABEL, objective, attacked_on="base-1")
    expected = by_loop(evaluation, "nt-1", FGSM_LABEL, objective, "base-1")
    assert {
        key: (b, f, a) for key, b, f, a in zip(found.keys, found.before, found.float_after, found.after, strict=True)
    } == expected


def test_farther_end_turns_at_the_middle_of_the_models_own_scale() -> None:
    evaluation = synthetic(10)
    evaluation.info["models"]["base-1"]["scale"] = {"low": 0.0, "high": 80.0}
    found = evaluation.attacked("base-1", FGSM_LABEL, "farther_end")
    expected = by_loop(evaluation, "base-1", FGSM_LABEL, "farther_end", "base-1", middle=40.0)
    assert found.after.tolist() == [expected[key][2] for key in found.keys]


def test_photos_are_sorted_by_key_whatever_the_order_of_the_records() -> None:
    evaluation = synthetic(9)
    shuffled = Evaluation(tuple(reversed(evaluation.records)), evaluation.info)
    for objective in [*DIRECTED, "lower"]:
        straight, turned = (e.attacked("base-1", FGSM_LABEL, objective) for e in (evaluation, shuffled))
        assert straight.keys == sorted(straight.keys)
        assert straight == turned
    assert shuffled.clean("base-1").keys == sorted(shuffled.clean("base-1").keys)


def test_an_unmoved_photo_counts_as_lowered_as_in_the_attack() -> None:
    record = Record("a", None, "m", "m", "x(eps=0)", "lower", "end_to_end", 0.0, 0, 50.0, 50.0, 50.0)
    evaluation = Evaluation((record, replace(record, goal="raise")), {})
    assert evaluation.attacked("m", "x(eps=0)", "worst_of_both").records[0].goal == "lower"


def test_scores_at_the_threshold_are_raised_as_in_the_objectives() -> None:
    def run(key: str, clean: float, goal: str) -> Record:
        after = clean + (1 if goal == "raise" else -1)
        return Record(key, None, "m", "m", "x(eps=.01)", goal, "end_to_end", 0.01, 2, clean, after, after)

    records = [
        run(key, clean, goal) for key, clean in (("a", 50.0), ("b", 60.0), ("c", 40.0)) for goal in ("lower", "raise")
    ]
    evaluation = Evaluation(tuple(records), {})
    assert evaluation.attacked("m", "x(eps=.01)", "farther_end").after.tolist() == [51.0, 59.0, 41.0]
    assert evaluation.attacked("m", "x(eps=.01)", "rank_split").after.tolist() == [51.0, 59.0, 41.0]


@pytest.mark.parametrize("objective", [WorstOfBoth(), FartherEnd(), None])
def test_a_view_of_both_directions_equals_the_attack_run_under_the_objective(
    objective: WorstOfBoth | FartherEnd | None,
) -> None:
    model, photos = ConvModel(seed=3).eval(), toy_photos(6, seed=4)
    clean = model.score(photos)
    wanted = objective or RankSplit(threshold=float(np.median(clean.numpy())))
    attack = IFGSM(eps="4/255", steps=2)
    records = []
    for goal in ("lower", "raise"):
        result = replace(attack, objective=goal)(model, photos)
        records += [
            Record(
                str(place), None, "m", "m", attack.label, goal, "end_to_end", attack.budget, 4, before, in_float, after
            )
            for place, (before, in_float, after) in enumerate(
                zip(result.clean_scores.tolist(), result.scores.tolist(), result.scores_8bit.tolist(), strict=True)
            )
        ]
    direct = replace(attack, objective=wanted)(model, photos)
    found = Evaluation(tuple(records), {}).attacked("m", attack.label, wanted.name)
    assert torch.allclose(torch.tensor(found.after), direct.scores_8bit.double(), atol=1e-4)
    assert torch.allclose(torch.tensor(found.float_after), direct.scores.double(), atol=1e-4)


def test_change_is_after_minus_before() -> None:
    found = synthetic(5).attacked("base-1", FGSM_LABEL, "lower")
    assert found.change.tolist() == [record.score - record.clean_score for record in found.records]
    assert len(found) == 5


def test_opinions_are_absent_if_one_photo_lacks_its_own() -> None:
    evaluation = synthetic(4)
    assert evaluation.clean("base-1").mos is not None
    first = evaluation.records[0].key
    without = tuple(replace(record, mos=None) if record.key == first else record for record in evaluation.records)
    assert Evaluation(without, {}).clean("base-1").mos is None


def test_models_attacks_and_goals_come_in_the_order_they_were_given() -> None:
    evaluation = compared(3, transfer=True)
    assert evaluation.models == ["base-1", "base-2", "nt-1", "nt-2", "early-1", "noise-1"]
    assert evaluation.attacks[:2] == [FGSM_LABEL, IFGSM_LABEL]
    assert evaluation.goals("nt-1", FGSM_LABEL) == ["lower", "raise"]
    assert evaluation.goals("nt-1", FGSM_LABEL, "patchwise") == []
    assert CLEAN not in evaluation.attacks


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError) as caught:
        synthetic(3, models={"a": (10, 0.5, 1)}).clean("b")
    assert str(caught.value) == "no clean scores of 'b'; the evaluation holds: a."


def test_an_objective_that_was_not_run_is_refused_with_what_was() -> None:
    evaluation = synthetic(3, goals=("lower",), attacks=(FGSM_LABEL,))
    for objective in ("worst_of_both", "target", "raise"):
        with pytest.raises(InputError) as caught:
            evaluation.attacked("base-1", FGSM_LABEL, objective)
        assert str(caught.value) == (
            f"no records of {FGSM_LABEL} on 'base-1' for objective {objective!r}; goals that were run: lower."
        )


def test_an_evaluation_that_was_stopped_between_directions_is_refused() -> None:
    evaluation = synthetic(3)
    cut = [record for record in evaluation.records if not (record.goal == "raise" and record.key.endswith("2.jpg"))]
    with pytest.raises(InputError, match="run for other photos in each direction; finish the evaluation"):
        Evaluation(tuple(cut), {}).attacked("base-1", FGSM_LABEL, "worst_of_both")


def test_a_transfer_whose_source_was_not_finished_is_refused() -> None:
    evaluation = synthetic(3, transfer=True)
    cut = [
        record
        for record in evaluation.records
        if not (record.scored_by == record.attacked_on == "base-1" and record.key.endswith("2.jpg"))
    ]
    with pytest.raises(InputError, match="scored by 'nt-1' on other photos; finish the evaluation"):
        Evaluation(tuple(cut), {}).attacked("nt-1", FGSM_LABEL, "worst_of_both", attacked_on="base-1")


def test_a_scale_that_was_not_recorded_is_0_to_100() -> None:
    assert (Evaluation((), {}).scale("m").low, Evaluation((), {}).scale("m").high) == (0.0, 100.0)
    assert math.isclose(synthetic(2).scale("base-1").span, 100)
