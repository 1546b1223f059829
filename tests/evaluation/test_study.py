from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robustiqa.core.errors import InputError
from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.study import Study, study, with_shrink
from robustiqa.evaluation.views import Evaluation
from tests.evaluation.synthetic import COMPARISON, FGSM_LABEL, IFGSM_LABEL, RANDOM_LABEL, compared, synthetic

BASE = Group("base", ("base-1", "base-2"))
NT = Group("+NT", ("nt-1", "nt-2"))
WORST = Condition(FGSM_LABEL, "worst_of_both")


@pytest.fixture(scope="module")
def compared_study() -> Study:
    return study(compared(40), samples=100)


def test_a_study_puts_baseline_and_defended_side_by_side(compared_study: Study) -> None:
    assert [(group.name, group.labels) for group in compared_study.columns] == [
        ("base", ("base-1", "base-2")),
        ("+NT", ("nt-1", "nt-2")),
    ]
    assert compared_study.comparison is not None
    assert [group.name for group in compared_study.comparison.controls] == ["shrink", "matched accuracy", "noise"]
    assert compared_study.labels == ("base-1", "base-2", "nt-1", "nt-2", "early-1", "noise-1")
    assert compared_study.attacks == [FGSM_LABEL, IFGSM_LABEL]
    assert compared_study.headline == WORST
    assert compared_study.has_mos


def test_without_a_comparison_every_model_is_a_column() -> None:
    found = study(synthetic(5))
    assert [group.name for group in found.columns] == list(found.labels) == synthetic(5).models
    assert found.comparison is None and found.gain("change_over_spread", WORST) is None


def test_shrink_compresses_the_baseline_to_the_defended_spread_about_its_own_mean(compared_study: Study) -> None:
    evaluation = compared_study.evaluation
    assert compared_study.comparison is not None and compared_study.comparison.shrink is not None
    for plain, held, label in zip(BASE.labels, NT.labels, compared_study.comparison.shrink.labels, strict=True):
        before, target, made = (evaluation.clean(name).before for name in (plain, held, label))
        assert np.std(made) == pytest.approx(np.std(target))
        assert np.mean(made) == pytest.approx(np.mean(before))
        factor = np.std(target) / np.std(before)
        attacked, shrunk = (evaluation.attacked(name, FGSM_LABEL, "worst_of_both") for name in (plain, label))
        assert shrunk.change == pytest.approx(factor * attacked.change)
        assert shrunk.float_after - shrunk.before == pytest.approx(factor * (attacked.float_after - attacked.before))
        norms = [[record.gradient_l1 for record in evaluation.clean(name).records] for name in (plain, label)]
        assert norms[1] == pytest.approx([factor * norm for norm in norms[0] if norm is not None])


def test_shrink_lowers_rmse_and_leaves_ranks_change_over_spread_and_mapped_plcc(compared_study: Study) -> None:
    summary, comparison = compared_study.summary, compared_study.comparison
    assert comparison is not None and comparison.shrink is not None
    for measure in (
        "srocc_change",
        "srocc_mos",
        "krocc_change",
        "change_over_spread",
        "plcc_mapped_mos",
        "change_mapped",
    ):
        for condition in (WORST, Condition(FGSM_LABEL, "rank_split")):
            plain, shrunk = (summary.estimate(group, measure, condition) for group in (BASE, comparison.shrink))
            assert shrunk.seeds == pytest.approx(plain.seeds), measure
    plain, shrunk = (summary.estimate(group, "rmse_change", WORST) for group in (BASE, comparison.shrink))
    assert shrunk.value < 0.9 * plain.value


def test_shrink_decides_the_direction_of_farther_end_by_its_own_scores(compared_study: Study) -> None:
    comparison = compared_study.comparison
    assert comparison is not None and comparison.shrink is not None
    scores = compared_study.evaluation.attacked(comparison.shrink.labels[0], FGSM_LABEL, "farther_end")
    assert [record.goal for record in scores.records] == ["raise" if x <= 50 else "lower" for x in scores.before]


def test_shrink_leaves_transferred_records_out() -> None:
    extended, shrunk = with_shrink(compared(5, transfer=True), BASE, NT)
    assert shrunk is not None
    for plain, made in zip(BASE.labels, shrunk.labels, strict=True):
        white_box = [r.identity[2:] for r in extended.records if r.scored_by == r.attacked_on == plain]
        assert [r.identity[2:] for r in extended.records if made in (r.scored_by, r.attacked_on)] == white_box
        assert len(white_box) == 5 * (1 + 2 * 3)


def test_a_baseline_without_spread_has_no_shrink() -> None:
    evaluation = synthetic(
        6,
        models={"base-1": (0.0, 0.8, 5.0), "nt-1": (3.0, 0.8, 2.0)},
        info={"comparison": {"base": ["base-1"], "defended": ["nt-1"]}},
    )
    found = study(evaluation)
    assert found.comparison is not None and found.comparison.shrink is None
    assert found.gain("change_over_spread", WORST) is None


def test_the_gain_is_over_the_control_that_does_best(compared_study: Study) -> None:
    summary, comparison = compared_study.summary, compared_study.comparison
    assert comparison is not None
    values = {group.name: summary.estimate(group, "change_over_spread", WORST).value for group in comparison.controls}
    gain = compared_study.gain("change_over_spread", WORST)
    assert gain is not None
    assert gain.control.name == min(values, key=lambda name: values[name])
    nt = summary.estimate(NT, "change_over_spread", WORST).value
    assert gain.estimate.value == pytest.approx(1 - nt / min(values.values()))
    ranks = compared_study.gain("srocc_change", WORST)
    assert ranks is not None
    best = max(summary.estimate(group, "srocc_change", WORST).value for group in comparison.controls)
    assert ranks.estimate.value == pytest.approx(summary.estimate(NT, "srocc_change", WORST).value - best)


def test_a_control_that_was_not_attacked_so_is_not_in_the_choice() -> None:
    evaluation = compared(20)
    cut = [r for r in evaluation.records if not (r.scored_by in ("early-1", "noise-1") and r.attack == FGSM_LABEL)]
    found = study(Evaluation(tuple(cut), evaluation.info), samples=20)
    gain = found.gain("change_over_spread", WORST)
    assert gain is not None and gain.control.name == "shrink"


def test_random_signs_are_found_by_their_size(compared_study: Study) -> None:
    assert compared_study.random_signs(FGSM_LABEL) == RANDOM_LABEL
    assert compared_study.random_signs(IFGSM_LABEL) is None
    assert compared_study.budgets[FGSM_LABEL] == (0.01, 2)


def test_objectives_are_what_the_records_of_all_columns_can_show() -> None:
    both = study(compared(4))
    assert both.objectives(FGSM_LABEL) == ["worst_of_both", "rank_split", "farther_end"]
    assert both.objectives(FGSM_LABEL, "patchwise") == []
    crops = study(compared(4, variants=("end_to_end", "patchwise")))
    assert crops.objectives(FGSM_LABEL, "patchwise") == ["worst_of_both", "rank_split"]
    assert study(compared(4, goals=("lower",))).objectives(FGSM_LABEL) == ["lower"]
    assert study(compared(4, goals=("farther_end",))).headline == Condition(FGSM_LABEL, "farther_end")
    assert study(compared(4, attacks=())).headline is None
    assert study(compared(4, variants=("patchwise",))).headline == replace(WORST, variant="patchwise")


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        ({"base": ["base-1"]}, "a comparison must hold base and defended, got {'base': ['base-1']}."),
        (
            {**COMPARISON, "defended": ["nt-9"]},
            "the comparison's '+NT' names model 'nt-9', which the records don't hold; "
            "they hold: base-1, base-2, nt-1, nt-2, early-1, noise-1.",
        ),
        ({**COMPARISON, "base": []}, "the comparison's 'base' must be a list of model labels, got []."),
    ],
)
def test_a_comparison_that_does_not_fit_is_refused(comparison: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        study(synthetic(3, info={"comparison": comparison}))
    assert str(caught.value) == message


def test_no_records_make_no_study() -> None:
    with pytest.raises(InputError) as caught:
        study(Evaluation((), {}))
    assert str(caught.value) == "the evaluation holds no records; run it first."
