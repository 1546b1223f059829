from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import curve_fit

from robustiqa.core.calibration import Logistic
from robustiqa.core.errors import InputError
from robustiqa.metrics.checks import Array
from robustiqa.metrics.correlation import plcc, rmse
from robustiqa.metrics.mapping import apply_logistic, change_mapped, fit_logistic, plcc_mapped, rmse_mapped

TRUE = Logistic(low=12.0, high=83.0, center=0.4, width=0.07)


def _curve(logistic: Logistic, scores: Array) -> Array:
    rise = 1 / (1 + np.exp(-(scores - logistic.center) / logistic.width))
    values: Array = logistic.low + (logistic.high - logistic.low) * rise
    return values


def _scores(count: int = 300, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0, 1, count)


def test_the_fit_recovers_the_curve_that_made_the_opinions() -> None:
    scores = _scores()
    found = fit_logistic(scores, _curve(TRUE, scores))
    assert found is not None
    for name in ("low", "high", "center", "width"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=1e-5)


def test_the_fit_is_a_least_squares_minimum() -> None:
    scores = _scores()
    mos = _curve(TRUE, scores) + np.random.default_rng(1).normal(0, 6, len(scores))
    found = fit_logistic(scores, mos)
    assert found is not None
    least = rmse(_curve(found, scores), mos)
    assert least <= rmse(_curve(TRUE, scores), mos)
    for name in ("low", "high", "center", "width"):
        for factor in (0.99, 1.01):
            moved = Logistic(**{**vars(found), name: getattr(found, name) * factor})
            assert rmse(_curve(moved, scores), mos) > least


@pytest.mark.parametrize(("slope", "offset"), [(1e-4, -7.0), (100.0, 0.0), (1e4, 3e4)])
def test_the_fit_does_not_depend_on_the_scale_of_the_scores(slope: float, offset: float) -> None:
    scores = _scores()
    mos = _curve(TRUE, scores) + np.random.default_rng(1).normal(0, 6, len(scores))
    plain, moved = fit_logistic(scores, mos), fit_logistic(slope * scores + offset, mos)
    assert plain is not None and moved is not None
    mapped = apply_logistic(moved, slope * scores + offset)
    np.testing.assert_allclose(mapped, apply_logistic(plain, scores), atol=1e-6)


def test_a_straight_line_is_fitted_as_well_as_a_curve_can() -> None:
    scores = 100 * _scores()
    found = fit_logistic(scores, scores)
    assert found is not None
    np.testing.assert_allclose(apply_logistic(found, scores), scores, atol=1e-3)


def _exponential(scores: Array, low: float, rise: float, width: float) -> Array:
    values: Array = low + rise * np.exp(scores / width)
    return values


@pytest.mark.parametrize("seed", range(12))
def test_a_nearly_straight_relation_is_never_missing_and_is_the_curve_that_scipy_finds(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.uniform(20, 80, 60)
    mos = scores + draw.normal(0, 12, 60)
    found = fit_logistic(scores, mos)
    assert found is not None
    curve = apply_logistic(found, scores)
    line = np.polyval(np.polyfit(scores, mos, 1), scores).astype(np.float64)
    assert rmse(curve, mos) <= rmse(line, mos) * (1 + 1e-5)  # a line is a logistic's limit
    far = abs(found.center - 50) > 50 + 4 * found.width  # what remains is one end: an exponential
    if far:
        turn = 1 if found.center > 50 else -1
        start = [turn * -50.0, turn * 60.0, turn * 60.0]
        ends, _ = curve_fit(_exponential, scores, mos, p0=start, maxfev=20_000)
        np.testing.assert_allclose(curve, _exponential(scores, *ends), atol=0.02)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_curve_that_bends_one_way_is_not_missing(turn: int) -> None:
    draw = np.random.default_rng(0)
    scores = draw.uniform(20, 80, 60)
    mos = 50 + turn * (100 * np.exp(turn * (scores - 50) / 30 - 1) - 50) + draw.normal(0, 2, 60)
    found = fit_logistic(scores, mos)
    assert found is not None
    start = [50 - 50.0 * turn, turn * 20.0, turn * 30.0]
    ends, _ = curve_fit(_exponential, scores, mos, p0=start, maxfev=20_000)
    assert rmse(apply_logistic(found, scores), mos) <= rmse(_exponential(scores, *ends), mos) * (1 + 1e-5)


@pytest.mark.parametrize(
    ("crops", "sentence"),
    [
        ((2, 2), "expected one score a crop, got 5 scores for 4 crops."),
        ((5, 0), "expected one score a crop, got 5 scores for 5 crops."),
    ],
)
def test_crops_that_do_not_add_up_to_the_scores_are_refused(crops: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        fit_logistic(np.arange(5.0), np.arange(2.0), crops=crops)
    assert str(refused.value) == sentence


def _falling(scores: Array) -> Array:
    return 100 - _curve(TRUE, scores)


def _constant(scores: Array) -> Array:
    return np.full(len(scores), 40.0)


def _step(scores: Array) -> Array:
    return np.where(scores > 0.5, 80.0, 20.0)


def _constant_up_to_rounding(scores: Array) -> Array:
    return 40 + 1e-12 * _curve(TRUE, scores)


def _noisy_step(scores: Array) -> Array:
    return _step(scores) + np.random.default_rng(0).normal(0, 5, len(scores))


@pytest.mark.parametrize("opinions", [_falling, _constant, _constant_up_to_rounding, _step, _noisy_step])
def test_a_curve_that_falls_or_is_flat_or_a_step_is_missing(opinions: Callable[[Array], Array]) -> None:
    scores = _scores()
    assert fit_logistic(scores, opinions(scores)) is None


def test_one_outlying_photo_does_not_make_a_curve() -> None:
    scores = _scores()
    mos = np.full(len(scores), 50.0) + np.random.default_rng(0).normal(0, 5, len(scores))
    mos[scores.argmax()] = 100
    assert fit_logistic(scores, mos) is None


def test_three_distinct_scores_do_not_determine_four_parameters() -> None:
    scores = np.tile([1.0, 2.0, 3.0], 20)
    mos = np.tile([10.0, 60.0, 80.0], 20) + np.random.default_rng(0).normal(0, 5, 60)
    assert fit_logistic(scores, mos) is None


def test_constant_scores_have_no_curve() -> None:
    assert fit_logistic(np.full(50, 3.0), _scores(50)) is None


@pytest.mark.parametrize("count", [2, 4])
def test_no_more_photos_than_parameters_have_no_curve(count: int) -> None:
    assert fit_logistic(_scores(count), _scores(count)) is None


def test_a_fit_that_does_not_converge_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = _scores()
    monkeypatch.setattr("robustiqa.metrics.mapping.MOST_EVALUATIONS", 5)
    assert fit_logistic(scores, _curve(TRUE, scores) + np.random.default_rng(1).normal(0, 6, len(scores))) is None


def test_unrelated_opinions_never_warn_or_raise() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = fit_logistic(rng.normal(size=30), rng.uniform(0, 100, 30))
        assert found is None or (found.high > found.low and found.width > 0)


def test_a_curve_is_applied_as_its_formula_says() -> None:
    scores = np.linspace(-1, 2, 50)
    np.testing.assert_allclose(apply_logistic(TRUE, scores), _curve(TRUE, scores), rtol=1e-12)


def test_mapped_metrics_are_the_plain_ones_of_the_mapped_scores() -> None:
    scores = _scores()
    mos = _curve(TRUE, scores) + np.random.default_rng(1).normal(0, 6, len(scores))
    attacked = scores - 0.2
    mapped, mapped_attacked = _curve(TRUE, scores), _curve(TRUE, attacked)
    assert plcc_mapped(attacked, mos, logistic=TRUE) == pytest.approx(plcc(mapped_attacked, mos), rel=1e-12)
    assert rmse_mapped(attacked, mos, logistic=TRUE) == pytest.approx(rmse(mapped_attacked, mos), rel=1e-12)
    assert change_mapped(scores, attacked, logistic=TRUE) == pytest.approx(rmse(mapped, mapped_attacked), rel=1e-12)


def test_a_curve_fitted_on_clean_scores_does_not_follow_a_common_shift() -> None:
    scores = _scores()
    mos = _curve(TRUE, scores) + np.random.default_rng(1).normal(0, 6, len(scores))
    clean = fit_logistic(scores, mos)
    refitted = fit_logistic(scores + 5, mos)
    assert clean is not None and refitted is not None
    assert rmse_mapped(scores + 5, mos, logistic=refitted) < 7  # what refitting would hide
    assert rmse_mapped(scores + 5, mos, logistic=clean) > 30


def test_metrics_without_a_curve_are_missing() -> None:
    scores = _scores()
    for metric in (plcc_mapped, rmse_mapped, change_mapped):
        assert math.isnan(metric(scores, scores, logistic=None))


def test_scores_that_all_saturate_have_no_mapped_correlation() -> None:
    scores = _scores()
    assert math.isnan(plcc_mapped(scores + 100, _curve(TRUE, scores), logistic=TRUE))
