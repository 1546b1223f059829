"""Metrics over many bootstrap resamples at once.

A resample of n photos is the count of each photo in it, so a set of them is a matrix `counts` (samples, n), and every
metric becomes a weighted one. No resample is sorted: the photos are sorted once, and the ranks of a resample follow
from cumulative counts. Kendall's tau-b is exact as well: concordant minus discordant pairs are the quadratic form of
the counts with the photos' sign matrix, which is one matrix product for all resamples.

Each function equals its namesake on every resample (tests compare them with scipy, one resample at a time) and takes
arrays and options that the namesake has checked. `RESAMPLED` says which metrics have such a form; others are looped.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np
import numpy.typing as npt

from robustiqa.metrics.checks import CONSTANT_SPREAD, Array
from robustiqa.metrics.correlation import krocc, plcc, rmse, srocc
from robustiqa.metrics.gains import UNMOVED, absolute_gain, energy_gain, relative_gain, wasserstein_gain
from robustiqa.metrics.mapping import apply_logistic, change_mapped, plcc_mapped, rmse_mapped
from robustiqa.metrics.robustness import (
    LogBase,
    Numerator,
    change_over_spread,
    log_room_over_change,
    max_absolute_change,
    mean_absolute_change,
    r_robustness,
)

if TYPE_CHECKING:
    from robustiqa.core.calibration import Logistic
    from robustiqa.core.model import ScoreScale

PAIR_BLOCK = 128  # rows of the sign matrix at a time, so that a block of it stays in the cache

Statistic = Callable[..., SupportsFloat]
ResampledForm = Callable[..., Array]


def resampled_form(statistic: Statistic) -> ResampledForm | None:
    """The form over resamples, called with (counts, *arrays), of a metric or of a partial that fixes its keywords.

    None if the statistic has no such form.
    """
    if isinstance(statistic, functools.partial):
        form = None if statistic.args else resampled_form(statistic.func)
        return None if form is None else functools.partial(form, **statistic.keywords)
    return RESAMPLED.get(statistic) if inspect.isfunction(statistic) else None


def resampled_mean(counts: Array, values: Array) -> Array:
    """Mean of each photo's value (n,) in every resample; (samples,)."""
    means: Array = counts @ values / counts.sum(axis=1)
    return means


def resampled_rmse(counts: Array, scores: Array, mos: Array) -> Array:
    """`rmse` of every resample; (samples,)."""
    return np.sqrt(resampled_mean(counts, (scores - mos) ** 2))


def resampled_plcc(counts: Array, scores: Array, mos: Array) -> Array:
    """`plcc` of every resample; (samples,)."""
    undefined = _constant(counts, scores) | _constant(counts, mos)
    first = scores - resampled_mean(counts, scores)[:, None]  # (samples, n)
    second = mos - resampled_mean(counts, mos)[:, None]
    return _correlation(counts, first, second, undefined)


def resampled_srocc(counts: Array, scores: Array, mos: Array) -> Array:
    """`srocc` of every resample; (samples,)."""
    undefined = _constant(counts, scores) | _constant(counts, mos)
    return _correlation(counts, _centered_ranks(counts, scores), _centered_ranks(counts, mos), undefined)


def resampled_krocc(counts: Array, scores: Array, mos: Array) -> Array:
    """`krocc` of every resample; (samples,). Takes samples * n * n multiplications."""
    undefined = _constant(counts, scores) | _constant(counts, mos)
    first, second = (np.unique(values, return_inverse=True)[1].astype(np.float32) for values in (scores, mos))
    single = counts.astype(np.float32)  # sums of counts are whole numbers up to n, exact in float32 below 2**24
    concordance = np.zeros(len(counts))
    for start in range(0, len(first), PAIR_BLOCK):
        rows = slice(start, start + PAIR_BLOCK)
        signs = np.sign(first[rows, None] - first) * np.sign(second[rows, None] - second)  # (rows, n)
        concordance += np.einsum("sr,sr->s", counts[:, rows], single @ signs.T)
    untied = [_untied_pairs(counts, values) for values in (scores, mos)]
    return _ratio(concordance, np.sqrt(untied[0]) * np.sqrt(untied[1]), undefined)


def resampled_plcc_mapped(counts: Array, scores: Array, mos: Array, *, logistic: Logistic | None) -> Array:
    """`plcc_mapped` of every resample, through one curve; (samples,)."""
    if logistic is None:
        return np.full(len(counts), np.nan)
    return resampled_plcc(counts, apply_logistic(logistic, scores), mos)


def resampled_rmse_mapped(counts: Array, scores: Array, mos: Array, *, logistic: Logistic | None) -> Array:
    """`rmse_mapped` of every resample, through one curve; (samples,)."""
    if logistic is None:
        return np.full(len(counts), np.nan)
    return resampled_rmse(counts, apply_logistic(logistic, scores), mos)


def resampled_change_mapped(counts: Array, before: Array, after: Array, *, logistic: Logistic | None) -> Array:
    """`change_mapped` of every resample, through one curve; (samples,)."""
    if logistic is None:
        return np.full(len(counts), np.nan)
    return resampled_rmse(counts, apply_logistic(logistic, before), apply_logistic(logistic, after))


def resampled_r_robustness(
    counts: Array,
    before: Array,
    after: Array,
    *,
    scale: ScoreScale,
    base: LogBase = "log10",
    numerator: Numerator = "before",
) -> Array:
    """The value of `r_robustness` of every resample; (samples,)."""
    return resampled_mean(counts, log_room_over_change(before, after, scale=scale, base=base, numerator=numerator))


def resampled_change_over_spread(counts: Array, before: Array, after: Array, *, spread: float | None = None) -> Array:
    """`change_over_spread` of every resample, with its own spread unless one is given; (samples,)."""
    change = resampled_rmse(counts, before, after)
    if spread is not None:
        return change / spread
    deviations = before - resampled_mean(counts, before)[:, None]  # (samples, n)
    variance = np.einsum("sn,sn,sn->s", counts, deviations, deviations) / counts.sum(axis=1)
    return _ratio(change, np.sqrt(variance), _constant(counts, before), bound=np.inf)


def resampled_mean_absolute_change(counts: Array, before: Array, after: Array) -> Array:
    """`mean_absolute_change` of every resample; (samples,)."""
    return resampled_mean(counts, np.abs(after - before))


def resampled_max_absolute_change(counts: Array, before: Array, after: Array) -> Array:
    """`max_absolute_change` of every resample; (samples,)."""
    return _extremes(counts, np.abs(after - before))[1]


def resampled_absolute_gain(counts: Array, before: Array, after: Array) -> Array:
    """`absolute_gain` of every resample, in its own range; (samples,)."""
    low, high = _extremes(counts, before)
    return _ratio(resampled_mean(counts, after - before), high - low, _constant(counts, before), bound=np.inf)


def resampled_relative_gain(counts: Array, before: Array, after: Array) -> Array:
    """`relative_gain` of every resample, in its own range; (samples,)."""
    low, high = _extremes(counts, before)
    room = before - low[:, None] + (high - low)[:, None]  # (samples, n); of drawn photos above 0, unless constant
    undefined = _constant(counts, before)
    shares = np.divide(after - before, room, out=np.zeros_like(room), where=(counts > 0) & ~undefined[:, None])
    means: Array = np.einsum("sn,sn->s", counts, shares) / counts.sum(axis=1)
    return np.where(undefined, np.nan, means)


def resampled_wasserstein_gain(counts: Array, before: Array, after: Array) -> Array:
    """`wasserstein_gain` of every resample, in its own range; (samples,)."""
    return _distribution_gain(counts, before, after, power=1)


def resampled_energy_gain(counts: Array, before: Array, after: Array) -> Array:
    """`energy_gain` of every resample, in its own range; (samples,)."""
    return _distribution_gain(counts, before, after, power=2)


def _distribution_gain(counts: Array, before: Array, after: Array, power: int) -> Array:
    """Signed distance of the distribution functions: their gap, or its square twice and a root, over the scores."""
    both = np.concatenate([before, after])
    order = np.argsort(both)
    steps = np.concatenate([counts, -counts], axis=1)[:, order] / counts.sum(axis=1, keepdims=True)
    gaps = np.abs(np.cumsum(steps, axis=1)[:, :-1])  # (samples, 2n - 1), between neighboring scores
    area = gaps**power @ np.diff(both[order])
    low, high = _extremes(counts, before)
    distance = _ratio(area, high - low, _constant(counts, before), bound=np.inf)
    rise = resampled_mean(counts, after - before)
    signed = np.where(np.abs(rise) > UNMOVED * (high - low), np.sign(rise), 0.0)
    return signed * (distance if power == 1 else np.sqrt(2 * distance))


def _extremes(counts: Array, values: Array) -> tuple[Array, Array]:
    """Smallest and largest value in every resample, (samples,) each."""
    order = np.argsort(values)
    drawn = np.take(counts, order, axis=1) > 0  # (samples, n), from the smallest value to the largest
    ordered = values[order]
    return ordered[drawn.argmax(axis=1)], ordered[::-1][drawn[:, ::-1].argmax(axis=1)]


def _constant(counts: Array, values: Array) -> npt.NDArray[np.bool_]:
    """Whether a resample holds one value only, up to rounding; (samples,). The rule of `is_constant`."""
    low, high = _extremes(counts, values)
    constant: npt.NDArray[np.bool_] = high - low <= CONSTANT_SPREAD * np.maximum(np.abs(low), np.abs(high))
    return constant


def _grouped(counts: Array, values: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """Counts of each distinct value, ascending, (samples, groups), and the group of each photo, (n,)."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))
    return np.add.reduceat(np.take(counts, order, axis=1), starts, axis=1), group


def _centered_ranks(counts: Array, values: Array) -> Array:
    """Mid-rank of each photo among the resample's, less the mean rank; (samples, n)."""
    sizes, group = _grouped(counts, values)
    ranks = np.cumsum(sizes, axis=1) - sizes / 2  # less one half, which the mean rank below lacks too
    return np.take(ranks - counts.sum(axis=1, keepdims=True) / 2, group, axis=1)


def _untied_pairs(counts: Array, values: Array) -> Array:
    """Ordered pairs with different values in every resample; (samples,)."""
    sizes, _ = _grouped(counts, values)
    pairs: Array = counts.sum(axis=1) ** 2 - np.einsum("sg,sg->s", sizes, sizes)
    return pairs


def _correlation(counts: Array, first: Array, second: Array, undefined: npt.NDArray[np.bool_]) -> Array:
    """Weighted correlation of centered values (samples, n); (samples,)."""
    weighted = counts * first
    scatter = np.einsum("sn,sn->s", weighted, second)
    lengths = np.sqrt(np.einsum("sn,sn->s", weighted, first)) * np.sqrt(
        np.einsum("sn,sn,sn->s", counts, second, second)
    )
    return _ratio(scatter, lengths, undefined)


def _ratio(above: Array, below: Array, undefined: npt.NDArray[np.bool_], bound: float = 1.0) -> Array:
    """`above / below`, within [-bound, bound] against rounding; NaN where undefined."""
    quotient = np.full(len(above), np.nan)
    np.divide(above, below, out=quotient, where=~undefined & (below > 0))
    return quotient.clip(-bound, bound)


RESAMPLED: Mapping[Callable[..., Any], ResampledForm] = {
    rmse: resampled_rmse,
    plcc: resampled_plcc,
    srocc: resampled_srocc,
    krocc: resampled_krocc,
    plcc_mapped: resampled_plcc_mapped,
    rmse_mapped: resampled_rmse_mapped,
    change_mapped: resampled_change_mapped,
    r_robustness: resampled_r_robustness,
    change_over_spread: resampled_change_over_spread,
    mean_absolute_change: resampled_mean_absolute_change,
    max_absolute_change: resampled_max_absolute_change,
    absolute_gain: resampled_absolute_gain,
    relative_gain: resampled_relative_gain,
    wasserstein_gain: resampled_wasserstein_gain,
    energy_gain: resampled_energy_gain,
}
