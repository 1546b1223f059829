from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, stats

from robustiqa.core.errors import InputError
from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Group
from robustiqa.evaluation.summary import Summary
from robustiqa.evaluation.views import Evaluation
from robustiqa.metrics import get_metric
from robustiqa.metrics.bootstrap import (
    Interval,
    bootstrap_interval,
    paired_difference,
    paired_reduction,
    resample_counts,
)
from robustiqa.metrics.robustness import change_over_spread
from tests.evaluation.synthetic import (
    CALIBRATION,
    FGSM_LABEL,
    IFGSM_LABEL,
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


def _rising(scores: Array, high: float, low: float, center: float, width: float) -> Array:
    found: Array = low + (high - low) / (1 + np.exp(-(scores - center) / width))
    return found


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
    if measure == "plcc_fitted_mos":
        start = [max(mos), min(mos), sum(before) / len(before), before.std() / 4]
        best, _ = optimize.curve_fit(_rising, before, mos, p0=start, maxfev=10_000)
        return float(stats.pearsonr(_rising(after, *best), mos)[0])
    if measure == "plcc_mapped_mos":
        return float(stats.pearsonr(mapped[1], mos)[0])
    if measure.endswith("_gain"):
        low, span = min(before), max(before) - min(before)
        first, second = (before - low) / span, (after - low) / span
        if measure in ("absolute_gain", "relative_gain"):
            rises = [(y - x) / (x + 1 if measure == "relative_gain" else 1) for x, y in zip(first, second, strict=True)]
            return float(sum(rises) / len(rises))
        distance = stats.wasserstein_distance if measure == "wasserstein_gain" else stats.energy_distance
        return float(math.copysign(distance(first, second), after.sum() - before.sum()))
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
    tolerance = 1e-4 if MEASURES[measure].needs == "fit" else 1e-9  # of two searches for one curve
    assert found.seeds == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert found.value == pytest.approx(sum(expected) / 2, rel=tolerance, abs=tolerance)
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
        if kind.needs == "scale":
            metric = partial(metric, scale=evaluation.scale("base-1"))
        elif kind.needs:
            curve = summary.logistic("base-1") if kind.needs == "logistic" else summary.fit("base-1")
            metric = partial(metric, logistic=curve)
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


def test_two_conditions_of_one_model_are_paired_photo_by_photo() -> None:
    evaluation = synthetic(25)
    summary = Summary(evaluation, samples=60, seed=3)
    stronger, weaker = Condition(IFGSM_LABEL, "worst_of_both"), WORST
    moved = [np.abs(summary.scores("nt-1", condition).change) for condition in (weaker, stronger)]
    counts = np.concatenate(list(resample_counts(25, 60, 3)))
    means = [counts @ part / 25 for part in moved]
    for found, values, of_all in (
        (summary.contrast(OTHER, "mean_absolute_change", weaker, stronger), means[1] - means[0], np.subtract),
        (summary.excess(OTHER, "mean_absolute_change", weaker, stronger), means[1] / means[0] - 1, None),
    ):
        first, second = (float(part.mean()) for part in moved)
        assert found.value == pytest.approx(second - first if of_all is not None else second / first - 1)
        low, high = np.quantile(values, [0.025, 0.975])
        assert found.interval.low == pytest.approx(low)
        assert found.interval.high == pytest.approx(high)
