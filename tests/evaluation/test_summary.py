from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from robustiqa.core.errors import InputError
from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Group
from robustiqa.evaluation.study import Study, study, with_shrink
from robustiqa.evaluation.summary import Summary
from robustiqa.evaluation.views import Evaluation
from robustiqa.metrics import get_metric
from robustiqa.metrics.bootstrap import Interval, bootstrap_interval, paired_difference, paired_reduction
from robustiqa.metrics.robustness import change_over_spread
from tests.evaluation.synthetic import (
    CALIBRATION,
    COMPARISON,
    FGSM_LABEL,
    IFGSM_LABEL,
    RANDOM_LABEL,
    compared,
    synthetic,
)

BASE = Group("base", ("base-1", "base-2"))
NT = Group("+NT", ("nt-1", "nt-2"))
ONE, OTHER = Group("a", ("base-1",)), Group("b", ("nt-1",))
WORST = Condition(FGSM_LABEL, "worst_of_both")
Array = npt.NDArray[np.float64]


def columns(evaluation: Evaluation, label: str, condition: Condition) -> tuple[Array, Array, Array]:
    """Opinions, scores before, scores after."""
    scores = Summary(evaluation).scores(label, condition)
    assert scores.mos is not None
    return scores.mos, scores.before, scores.after


def oracle(measure: str, mos: Array, before: Array, after: Array, label: str) -> float:
    """Each measure from scipy and loops."""
    curve = CALIBRATION.get(label)
    mapped: Any = None
    if curve is not None:
        mapped = [
            [
                curve["low"] + (curve["high"] - curve["low"]) / (1 + math.exp(-(x - curve["center"]) / curve["width"]))
                for x in side
            ]
            for side in (before, after)
        ]
    pairs = {"mos": (after, mos), "change": (before, after)}
    if measure in ("rmse_mos", "rmse_change"):
        first, second = pairs[measure[5:]]
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(first, second, strict=True)) / len(first))
    if measure[:5] in ("srocc", "krocc") or measure in ("plcc_mos", "plcc_change"):
        test: Any = {"srocc": stats.spearmanr, "krocc": stats.kendalltau, "plcc_": stats.pearsonr}[measure[:5]]
        return float(test(*pairs[measure.split("_")[1]])[0])
    spread = math.sqrt(sum((x - sum(before) / len(before)) ** 2 for x in before) / len(before))
    if measure == "spread":
        return spread
    if measure == "change_over_spread":
        return oracle("rmse_change", mos, before, after, label) / spread
    if measure == "mean_absolute_change":
        return float(sum(abs(x - y) for x, y in zip(before, after, strict=True)) / len(before))
    if measure == "r_robustness":
        return sum(
            math.log10(max(100 - x, x) / max(abs(x - y), 0.1)) for x, y in zip(before, after, strict=True)
        ) / len(before)
    if measure == "plcc_mapped_mos":
        return float(stats.pearsonr(mapped[1], mos)[0])
    assert measure == "change_mapped"
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(*mapped, strict=True)) / len(before))


@pytest.mark.parametrize(
    ("measure", "condition"),
    [
        *((name, UNTOUCHED) for name, measure in MEASURES.items() if measure.against != "before"),
        *((name, WORST) for name in MEASURES),
        *((name, Condition(IFGSM_LABEL, "rank_split")) for name in MEASURES),
    ],
    ids=lambda value: value if isinstance(value, str) else value.objective,
)
def test_every_measure_agrees_with_scipy_and_loops_seed_by_seed(measure: str, condition: Condition) -> None:
    evaluation = compared(40)
    found = Summary(evaluation, samples=10).estimate(BASE, measure, condition)
    expected = [oracle(measure, *columns(evaluation, label, condition), label) for label in BASE.labels]
    assert found.seeds == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found.value == pytest.approx(sum(expected) / 2, rel=1e-9, abs=1e-9)
    assert found.count == 40


@pytest.mark.parametrize("measure", MEASURES)
def test_one_model_has_the_interval_of_the_bootstrap_itself(measure: str) -> None:
    evaluation = compared(30)
    mos, before, after = columns(evaluation, "base-1", WORST)
    summary = Summary(evaluation, samples=200, seed=3)
    found = summary.estimate(ONE, measure, WORST).interval
    kind = MEASURES[measure]
    if kind.against == "alone":
        expected = bootstrap_interval(lambda x: float(np.std(x)), before, samples=200, seed=3)
    else:
        metric: Any = get_metric(kind.metric)
        if kind.needs:
            metric = partial(
                metric,
                **{kind.needs: evaluation.scale("base-1") if kind.needs == "scale" else summary.logistic("base-1")},
            )
        expected = bootstrap_interval(
            metric, *((after, mos) if kind.against == "mos" else (before, after)), samples=200, seed=3
        )
    assert as_tuple(found) == pytest.approx(as_tuple(expected), rel=1e-12)


def as_tuple(interval: Interval) -> tuple[float, ...]:
    return (interval.value, interval.low, interval.high, interval.samples, interval.dropped, interval.level)


@pytest.mark.parametrize("measure", ["srocc_mos", "change_over_spread"])
def test_differences_and_reductions_of_two_models_are_those_of_the_paired_bootstrap(measure: str) -> None:
    evaluation = compared(30)
    summary = Summary(evaluation, samples=200, seed=1)
    sides = []
    for label in ("base-1", "nt-1"):
        mos, before, after = columns(evaluation, label, WORST)
        sides.append((after, mos) if MEASURES[measure].against == "mos" else (before, after))
    metric: Any = get_metric(MEASURES[measure].metric)
    expected = paired_difference(metric, *sides, samples=200, seed=1)
    assert as_tuple(summary.difference(ONE, OTHER, measure, WORST).interval) == pytest.approx(
        as_tuple(expected), rel=1e-12
    )
    if measure == "change_over_spread":
        expected = paired_reduction(metric, *sides, samples=200, seed=1)
        assert as_tuple(summary.reduction(ONE, OTHER, measure, WORST).interval) == pytest.approx(
            as_tuple(expected), rel=1e-12
        )


def test_seeds_are_averaged_within_each_resample() -> None:
    evaluation = compared(25)
    sides = [columns(evaluation, label, WORST) for label in BASE.labels]
    expected = bootstrap_interval(
        lambda a, b, c, d: (change_over_spread(a, b) + change_over_spread(c, d)) / 2,
        *(part for side in sides for part in side[1:]),
        samples=150,
    )
    found = Summary(evaluation, samples=150).estimate(BASE, "change_over_spread", WORST)
    assert as_tuple(found.interval) == pytest.approx(as_tuple(expected), rel=1e-12)
    assert len(found.seeds) == 2


def test_a_paired_interval_of_models_that_agree_is_narrower_than_either_models_own() -> None:
    summary = Summary(compared(60), samples=300)
    widths = [
        estimate.interval.high - estimate.interval.low
        for estimate in (
            summary.difference(BASE, NT, "rmse_mos"),
            summary.difference(BASE, BASE, "rmse_mos"),
            summary.estimate(BASE, "rmse_mos"),
        )
    ]
    assert widths[1] == 0 < widths[0]
    assert summary.difference(BASE, BASE, "rmse_mos").value == 0


def test_seeds_of_a_difference_pair_by_position_and_are_left_out_where_they_can_not() -> None:
    summary = Summary(compared(20), samples=20)
    first, second = (summary.estimate(group, "srocc_mos") for group in (BASE, NT))
    expected = [b - a for a, b in zip(first.seeds, second.seeds, strict=True)]
    assert summary.difference(BASE, NT, "srocc_mos").seeds == pytest.approx(expected, abs=1e-12)
    assert summary.difference(BASE, OTHER, "srocc_mos").seeds == ()


def test_float_scores_are_measured_where_asked() -> None:
    evaluation = compared(20)
    summary = Summary(evaluation, samples=20)
    scores = evaluation.attacked("base-1", FGSM_LABEL, "worst_of_both")
    expected = math.sqrt(np.mean((scores.float_after - scores.before) ** 2))
    in_float = summary.estimate(ONE, "rmse_change", replace(WORST, precision="float")).value
    assert in_float == pytest.approx(expected)
    assert in_float == pytest.approx(1.1 * summary.estimate(ONE, "rmse_change", WORST).value)


def test_floored_photos_of_r_robustness_are_counted_over_seeds() -> None:
    evaluation = synthetic(20, models={"base-1": (10, 0.8, 0.0), "base-2": (10, 0.8, 9.0)}, attacks=(FGSM_LABEL,))
    found = Summary(evaluation, samples=20).estimate(BASE, "r_robustness", WORST)
    assert found.floored == 20
    assert Summary(evaluation, samples=20).estimate(BASE, "srocc_change", WORST).floored == 0


def test_without_opinions_what_needs_them_is_undefined_and_the_rest_is_there() -> None:
    summary = Summary(compared(20, mos=False), samples=20)
    for name, measure in MEASURES.items():
        assert summary.estimate(BASE, name, WORST).defined == (measure.against != "mos")


def test_a_curve_that_could_not_be_fitted_leaves_its_number_out() -> None:
    summary = Summary(compared(20), samples=20)
    assert not summary.estimate(Group("noise", ("noise-1",)), "plcc_mapped_mos", WORST).defined
    mixed = summary.estimate(Group("both", ("base-1", "noise-1")), "plcc_mapped_mos", WORST)
    assert not mixed.defined
    assert [math.isnan(seed) for seed in mixed.seeds] == [False, True]
    assert not Summary(synthetic(20), samples=20).estimate(ONE, "plcc_mapped_mos", WORST).defined


def test_one_photo_leaves_every_number_undefined() -> None:
    summary = Summary(compared(1), samples=20)
    for name in MEASURES:
        found = summary.estimate(BASE, name, WORST)
        assert not found.defined and math.isnan(found.interval.low)


def test_a_curve_with_other_fields_is_refused() -> None:
    evaluation = synthetic(5, info={"calibration": {"base-1": {"slope": 1.0}}})
    with pytest.raises(InputError) as caught:
        Summary(evaluation).logistic("base-1")
    assert str(caught.value) == (
        "the calibration of 'base-1' must hold low, high, center and width, got {'slope': 1.0}."
    )


def test_models_that_scored_other_photos_are_not_compared() -> None:
    evaluation = compared(10)
    cut = [r for r in evaluation.records if not (r.scored_by == "nt-1" and r.key.endswith("3.jpg"))]
    summary = Summary(Evaluation(tuple(cut), evaluation.info), samples=10)
    with pytest.raises(InputError, match="were evaluated on other photographs"):
        summary.difference(ONE, OTHER, "srocc_mos")
    with pytest.raises(InputError, match="were evaluated on other photographs"):
        summary.estimate(NT, "srocc_mos")


def test_transfer_pairs_the_models_that_score_with_those_that_were_attacked() -> None:
    evaluation = compared(20, transfer=True)
    condition = replace(WORST, attacked_on=BASE)
    found = Summary(evaluation, samples=20).estimate(NT, "rmse_change", condition)
    expected = [
        math.sqrt(np.mean(evaluation.attacked(nt, FGSM_LABEL, "worst_of_both", attacked_on=base).change ** 2))
        for base, nt in zip(BASE.labels, NT.labels, strict=True)
    ]
    assert found.seeds == pytest.approx(expected)
    white_box = Summary(evaluation, samples=20).estimate(BASE, "rmse_change", WORST)
    assert Summary(evaluation, samples=20).estimate(BASE, "rmse_change", condition).seeds == white_box.seeds
    with pytest.raises(InputError, match="transfer pairs them"):
        Summary(evaluation).estimate(OTHER, "rmse_change", condition)


# --- the comparison and its controls ---


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
