from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from robustiqa.core.errors import InputError
from robustiqa.metrics.bootstrap import (
    BLOCK,
    bootstrap_interval,
    paired_difference,
    paired_reduction,
    resample_counts,
)
from robustiqa.metrics.checks import Array
from robustiqa.metrics.correlation import krocc, plcc, rmse, srocc
from robustiqa.metrics.resampled import PAIR_BLOCK, Statistic, resampled_form
from robustiqa.metrics.robustness import change_over_spread


def _mean(values: Array) -> float:
    return float(values.mean())


def _models(count: int = 200, seed: int = 0) -> tuple[Array, Array, Array]:
    """Opinions, and the scores of two models that share most of their error."""
    rng = np.random.default_rng(seed)
    mos = rng.uniform(0, 100, count)
    shared = mos + rng.normal(0, 20, count)
    return mos, shared + rng.normal(0, 4, count), shared + rng.normal(0, 4, count)


@pytest.mark.parametrize("count", [3, 50, 3 * PAIR_BLOCK + 7])
@pytest.mark.parametrize("tied", [False, True])
def test_correlations_over_resamples_equal_scipy_on_each(count: int, tied: bool) -> None:
    rng = np.random.default_rng(count)
    scores = rng.integers(0, 5, count) / 10 if tied else rng.normal(size=count)
    mos = scores + (rng.integers(0, 3, count) / 10 if tied else rng.normal(size=count))
    counts = np.concatenate(list(resample_counts(count, 60, seed=3)))
    forms = {metric: resampled_form(metric) for metric in (plcc, srocc, krocc)}
    found = {metric: form(counts, scores, mos) for metric, form in forms.items() if form is not None}
    for place, row in enumerate(counts):
        photos = np.repeat(np.arange(count), row.astype(int))
        drawn, opinions = scores[photos], mos[photos]
        if np.ptp(drawn) == 0 or np.ptp(opinions) == 0:
            assert all(math.isnan(values[place]) for values in found.values())
            continue
        assert found[plcc][place] == pytest.approx(stats.pearsonr(drawn, opinions).statistic, abs=1e-12)
        assert found[srocc][place] == pytest.approx(_spearman(drawn, opinions), abs=1e-12)
        assert found[krocc][place] == pytest.approx(stats.kendalltau(drawn, opinions).statistic, abs=1e-12)


def _spearman(first: Array, second: Array) -> float:
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


def test_an_outlier_far_from_the_rest_does_not_spoil_resamples_without_it() -> None:
    rng = np.random.default_rng(0)
    scores = np.append(rng.normal(size=30), 1e9)
    mos = np.append(rng.normal(size=30), 0.0)
    form = resampled_form(plcc)
    assert form is not None
    without = np.append(np.ones(30), 0.0)[None]
    assert form(without, scores, mos)[0] == pytest.approx(stats.pearsonr(scores[:30], mos[:30]).statistic, rel=1e-9)


@pytest.mark.parametrize("metric", [plcc, srocc, krocc])
def test_a_resample_in_which_one_array_is_constant_is_missing(metric: Statistic) -> None:
    form = resampled_form(metric)
    assert form is not None
    varied, tied = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.1, 0.1, 0.9])
    counts = np.array([[1.0, 1, 1, 0], [1, 1, 1, 1]])  # in floating point the mean of three 0.1 is not 0.1
    for arrays in ((varied, tied), (tied, varied)):
        np.testing.assert_array_equal(np.isnan(form(counts, *arrays)), [True, False])


def test_ranks_tell_scores_apart_that_single_precision_does_not() -> None:
    scores, mos = 50 + 1e-8 * np.arange(8.0), np.array([1.0, 3, 2, 4, 6, 5, 8, 7])
    for metric in (srocc, krocc):
        form = resampled_form(metric)
        assert form is not None
        assert form(np.ones((1, 8)), scores, mos)[0] == pytest.approx(metric(scores, mos), rel=1e-12)


def test_scores_too_small_to_be_squared_are_missing() -> None:
    scores = 1e-170 * np.arange(1.0, 9.0)
    form = resampled_form(plcc)
    assert form is not None
    assert np.isnan(form(np.ones((1, 8)), scores, scores)).all()


def test_a_looped_statistic_gives_the_same_interval_as_its_form() -> None:
    mos, scores, _ = _models()
    for metric in (rmse, srocc):
        fast = bootstrap_interval(metric, scores, mos, samples=200)
        slow = bootstrap_interval(lambda first, second, metric=metric: metric(first, second), scores, mos, samples=200)
        assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high), rel=1e-12)


def test_every_resample_holds_as_many_photos_as_there_are() -> None:
    counts = np.concatenate(list(resample_counts(37, 500, seed=0)))
    assert counts.shape == (500, 37)
    assert (counts.sum(axis=1) == 37).all()
    assert (counts >= 0).all()


def test_every_photo_is_drawn_equally_often() -> None:
    drawn = np.concatenate(list(resample_counts(10, 20_000, seed=0)))
    assert stats.chisquare(drawn.sum(axis=0)).pvalue > 0.01
    assert drawn.var() == pytest.approx(0.9, rel=0.02)  # binomial: n p (1 - p)


def test_the_draws_are_pinned() -> None:
    (counts,) = resample_counts(8, 3, seed=5)
    assert counts.astype(int).tolist() == [[2, 0, 1, 2, 1, 0, 2, 0], [1, 1, 0, 1, 0, 1, 1, 3], [2, 0, 1, 2, 1, 1, 0, 1]]


def test_the_draws_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resample_counts(50, 700, seed=1)))
    monkeypatch.setattr("robustiqa.metrics.bootstrap.BLOCK", BLOCK // 2**9)
    blocks = list(resample_counts(50, 700, seed=1))
    assert len(blocks) == 6
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_another_seed_draws_other_photos() -> None:
    mos, scores, _ = _models()
    first, second = (bootstrap_interval(srocc, scores, mos, samples=300, seed=seed) for seed in (0, 1))
    assert first.value == second.value
    assert (first.low, first.high) != (second.low, second.high)


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(50, 10, 400)
    interval = bootstrap_interval(_mean, values, samples=4000)
    half = 1.95996 * values.std() / math.sqrt(len(values))
    assert interval.value == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.06 * half)
    assert (interval.samples, interval.dropped, interval.level) == (4000, 0, 0.95)


def test_a_narrower_level_gives_a_narrower_interval() -> None:
    values = np.random.default_rng(0).normal(size=300)
    wide, narrow = (bootstrap_interval(_mean, values, samples=2000, level=level) for level in (0.95, 0.5))
    ratio = (narrow.high - narrow.low) / (wide.high - wide.low)
    assert ratio == pytest.approx(0.6745 / 1.95996, rel=0.1)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        errors = rng.normal(0, 5, 150)
        interval = bootstrap_interval(rmse, errors, np.zeros(150), samples=400, level=0.9, seed=trial)
        hits += interval.low <= 5 <= interval.high
    assert 0.84 <= hits / 300 <= 0.95  # 0.9, standard error 0.017


def test_paired_differences_are_narrower_than_unpaired_ones_for_models_that_err_alike() -> None:
    mos, first, second = _models()
    paired = paired_difference(srocc, (first, mos), (second, mos))
    single = [bootstrap_interval(srocc, scores, mos) for scores in (first, second)]
    unpaired = math.hypot(*(interval.high - interval.low for interval in single))
    assert paired.value == pytest.approx(single[1].value - single[0].value)
    assert paired.low <= paired.value <= paired.high
    assert paired.high - paired.low < 0.5 * unpaired


def test_a_paired_difference_of_a_model_with_itself_is_zero_and_changes_sign_with_the_order() -> None:
    mos, first, second = _models()
    same = paired_difference(krocc, (first, mos), (first, mos), samples=200)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    forth = paired_difference(plcc, (first, mos), (second, mos), samples=200)
    back = paired_difference(plcc, (second, mos), (first, mos), samples=200)
    assert (back.value, back.low, back.high) == pytest.approx((-forth.value, -forth.high, -forth.low))


def test_a_paired_difference_of_means_is_the_interval_of_the_mean_difference() -> None:
    _, first, second = _models()
    paired = paired_difference(_mean, (first,), (second,), samples=500)
    direct = bootstrap_interval(_mean, second - first, samples=500)
    assert (paired.value, paired.low, paired.high) == pytest.approx((direct.value, direct.low, direct.high))


def test_a_paired_reduction_is_the_share_that_is_gone() -> None:
    mos, first, _ = _models()
    attacked = first - 30
    arrays = (first, attacked), (first, first + 0.4 * (attacked - first))
    reduction = paired_reduction(partial(change_over_spread, spread=17.0), *arrays, samples=200)
    assert (reduction.value, reduction.low, reduction.high) == pytest.approx((0.6, 0.6, 0.6))
    free = paired_reduction(change_over_spread, *arrays, samples=200)
    assert free.value == pytest.approx(0.6)
    unmoved = paired_reduction(rmse, (mos, mos), (mos, first), samples=200)
    assert math.isnan(unmoved.value) and math.isnan(unmoved.low)
    assert unmoved.dropped == 200


@pytest.mark.parametrize(("photos", "share"), [(2, 2 / 4), (3, 3 / 27), (4, 4 / 256), (5, 5 / 3125)])
def test_resamples_on_which_the_metric_is_undefined_are_counted_and_many_leave_no_interval(
    photos: int, share: float
) -> None:
    """Of all ways to draw so many photographs, so many repeat one of them; with 2, the sample itself is left."""
    scores, mos = np.arange(float(photos)), np.arange(float(photos))
    mos[:2] = mos[1::-1]
    interval = bootstrap_interval(srocc, scores, mos, samples=4000)
    assert interval.dropped == pytest.approx(4000 * share, rel=0.7 if share < 0.01 else 0.2)
    if share > 0.05:
        assert math.isnan(interval.low) and math.isnan(interval.high)
    else:
        assert -1 <= interval.low < interval.high <= 1


def test_an_undefined_value_has_no_interval() -> None:
    interval = bootstrap_interval(plcc, np.ones(20), np.arange(20.0), samples=50)
    assert math.isnan(interval.value) and math.isnan(interval.low) and math.isnan(interval.high)
    assert interval.dropped == interval.samples == 50


def test_a_value_that_is_missing_has_no_interval_even_if_resamples_have_values() -> None:
    interval = bootstrap_interval(_mean_of_repeated, np.arange(20.0), samples=50)
    assert math.isnan(interval.value) and math.isnan(interval.low) and math.isnan(interval.high)
    assert interval.dropped == 0


def _mean_of_repeated(values: Array) -> float:
    return math.nan if len(np.unique(values)) == len(values) else _mean(values)


def test_a_partial_that_fixes_an_array_is_looped_over() -> None:
    assert resampled_form(partial(rmse, np.zeros(3))) is None
    assert resampled_form(partial(change_over_spread, spread=2.0)) is not None
    assert resampled_form(_mean) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, r"^samples must be at least 1, got 0\.$"),
        ({"level": 1.0}, r"^level must lie between 0 and 1, got 1\.0\.$"),
        ({"level": 95.0}, r"^level must lie between 0 and 1, got 95\.0\.$"),
        ({"seed": -1}, r"^seed must be at least 0, got -1\.$"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    values = np.arange(5.0)
    with pytest.raises(InputError, match=message):
        bootstrap_interval(rmse, values, values, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        paired_difference(rmse, (values, values), (values, values), **options)  # type: ignore[arg-type]


def test_options_of_the_metric_are_checked_before_anything_is_drawn() -> None:
    values = np.arange(5.0)
    with pytest.raises(InputError, match=r"^spread must be a standard deviation above 0, got 0\.0\.$"):
        bootstrap_interval(partial(change_over_spread, spread=0.0), values, values)


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    values = np.arange(5.0)
    with pytest.raises(InputError, match=r"^a bootstrap needs at least one array of scores, got none\.$"):
        bootstrap_interval(_mean)
    with pytest.raises(InputError, match=r"^array 1 and array 2 must be over the same photos, got lengths 5 and 4\.$"):
        bootstrap_interval(rmse, values, values[1:])
    with pytest.raises(InputError, match=r"^array 1 and array 3 must be over the same photos, got lengths 5 and 4\.$"):
        paired_difference(rmse, (values, values), (values[1:], values[1:]))
