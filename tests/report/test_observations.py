"""The paper's observations: planted in made-up records, each is found where it is and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from robustiqa.evaluation.views import Evaluation
from robustiqa.report.benchmark_study import benchmark_study
from robustiqa.report.observations import observations_table, verdicts
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL
from tests.report.benchmarks import evaluation, read
from tests.report.reading import changed


def outcomes(found: Evaluation) -> dict[tuple[int, str], str]:
    made = verdicts(benchmark_study(found, samples=200))
    return {(verdict.number, verdict.objective): verdict.outcome for verdict in made}


def test_there_is_a_verdict_for_each_observation_and_objective_with_its_numbers() -> None:
    made = verdicts(read())
    objectives = ("farther_end", "worst_of_both", "rank_split")
    assert [(one.number, one.objective) for one in made] == [
        (1, ""),
        *((number, objective) for number in (2, 3, 4) for objective in objectives),
    ]
    first, second = made[0].sentence, made[1].sentence
    assert first.startswith("Observation 1, little accuracy is lost on clean photographs: ")
    assert "on Alpha" in first
    assert "the paper's largest loss is 0.040" in first
    assert "of 16 cells improve" in second  # 2 models, 2 attacks, 4 metrics
    assert "in the paper 3 of 4" in second
    assert [block.title[:2] for block in observations_table(read()).blocks] == ["1.", "2.", "3.", "4."]


def test_accuracy_that_is_lost_is_seen() -> None:
    assert outcomes(evaluation(200, correlation=0.80))[1, ""] == "held"
    assert outcomes(evaluation(200, correlation=0.50))[1, ""] == "not held"


def test_models_that_withstand_attacks_and_models_that_do_not_are_told_apart() -> None:
    assert outcomes(evaluation(moved=5.0))[2, "worst_of_both"] == "held"
    assert outcomes(evaluation(moved=60.0))[2, "worst_of_both"] == "not held"


def test_white_box_and_black_box_gains_are_told_apart() -> None:
    found = evaluation(moved=5.0)
    assert outcomes(found)[4, "worst_of_both"] == "not held"  # the stronger attack is said to be the blind one
    swapped = {FGSM_LABEL: "black-box", IFGSM_LABEL: "white-box"}
    strong = evaluation(moved=5.0, threats=swapped)
    assert outcomes(strong)[4, "worst_of_both"] in ("held", "not held")
    alone = evaluation(threats=dict.fromkeys((FGSM_LABEL, IFGSM_LABEL), "white-box"))
    assert outcomes(alone)[4, "rank_split"] == "not testable here"


def test_a_common_shift_moves_scores_far_and_keeps_their_order() -> None:
    """FGSM shifts all scores alike and far, I-FGSM mixes them up within a little: RMSE and SROCC disagree."""

    def plant(record: Any) -> Any:
        up = record.goal == "raise"
        place = int(record.key[6:10])
        if record.attack == FGSM_LABEL:
            return replace(record, score=record.clean_score + 40 * up)
        if record.attack == IFGSM_LABEL:
            return replace(record, score=record.clean_score + 20 * up * (place % 2))
        return record

    assert outcomes(changed(evaluation(), plant))[3, "worst_of_both"] == "held"

    def agree(record: Any) -> Any:
        up = record.goal == "raise"
        place = int(record.key[6:10])
        size = {FGSM_LABEL: 2.0, IFGSM_LABEL: 40.0}.get(record.attack, 0.0)
        return replace(record, score=record.clean_score + size * up * (place % 2))

    assert outcomes(changed(evaluation(), agree))[3, "worst_of_both"] == "not held"


def test_without_attacks_nothing_but_accuracy_is_testable() -> None:
    found = evaluation(200, correlation=0.80, attacks=(), threats={}, shown=[])
    assert set(outcomes(found).values()) == {"held", "not testable here"}


def test_without_opinions_accuracy_is_not_testable() -> None:
    found = changed(evaluation(), lambda record: replace(record, mos=None))
    assert outcomes(found)[1, ""] == "not testable here"
