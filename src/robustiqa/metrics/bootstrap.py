"""Percentile bootstrap over photos: how far a metric would move had other photos been drawn.

The resamples are photos, not scores: one draw picks the same photos from every array, so that scores stay beside
their opinion scores, and two models beside each other. Differences between models are therefore paired; they are
much narrower than two intervals side by side suggest. What the interval does not hold: other seeds of training,
other attacks, other datasets.

The draws depend on the number of photos, `samples` and `seed` alone, through the raw stream of PCG64, which NumPy
promises to keep; the order of the photos matters, so sort them by key.

Cost: for 400 photos and 2000 samples some hundredths of a second, for any metric with a form in
`robustiqa.metrics.resampled`; other statistics are called once a sample.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from robustiqa.core.errors import InputError
from robustiqa.metrics.checks import Array, check_vectors
from robustiqa.metrics.resampled import Statistic, resampled_form

BLOCK = 2**18  # counts held at a time: 2 MB of float64, so that a pass over them stays in the cache
MOST_DROPPED = 0.05  # of the resamples; of more, the ends would say which ones were left over
FEWEST_ROWS = 128  # resamples at a time, however many photos there are: krocc builds its sign matrix once a block


@dataclass(frozen=True)
class Interval:
    """A metric with its bootstrap interval.

    Attributes:
        value: On the photos themselves; NaN where undefined.
        low: Lower end; NaN if the value is undefined, or the metric on more than a twentieth of the resamples, as it is
            on very few photographs.
        high: Upper end, likewise.
        samples: Resamples drawn.
        dropped: How many of them the metric was undefined on; they are left out of the ends.
        level: Share of resamples between the ends.
    """

    value: float
    low: float
    high: float
    samples: int
    dropped: int = 0
    level: float = 0.95


def bootstrap_interval(
    statistic: Statistic, *arrays: Array, samples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The value of a metric and its percentile interval.

        bootstrap_interval(srocc, scores, mos)
        bootstrap_interval(partial(r_robustness, scale=model.scale), before, after)

    Args:
        statistic: Takes the arrays and returns a number, NaN where undefined; must not depend on the photos' order.
        arrays: Each (n,), over the same photos in the same order.
        samples: Resamples; the ends of a 95 % interval rest on a fortieth of them each.
        level: Share of resamples between the ends, in (0, 1).
        seed: At least 0; the same seed draws the same photos for every metric.

    Raises:
        InputError: unless the arrays are finite, of the same length, at least 2, and the options in range.
    """
    checked = _check_arrays(arrays)
    _check_options(samples, level, seed)
    value = float(statistic(*checked))
    return _interval(value, _over_resamples(statistic, checked, samples, seed), level)


def paired_difference(
    statistic: Statistic,
    arrays_a: Sequence[Array],
    arrays_b: Sequence[Array],
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """`statistic(b) - statistic(a)` and its percentile interval, both taken on the same resamples.

        paired_difference(srocc, (baseline_scores, mos), (defended_scores, mos))

    Args:
        statistic: As in `bootstrap_interval`.
        arrays_a: What it takes for the first model, each (n,).
        arrays_b: For the second, over the same photos in the same order.
        samples: Resamples.
        level: Share of resamples between the ends, in (0, 1).
        seed: At least 0.

    Raises:
        InputError: unless all arrays are finite, of the same length, at least 2, and the options in range.
    """
    return _paired(statistic, arrays_a, arrays_b, operator.sub, samples, level, seed)


def paired_reduction(
    statistic: Statistic,
    arrays_a: Sequence[Array],
    arrays_b: Sequence[Array],
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """`1 - statistic(b) / statistic(a)`, how far b lies below a as a share of a, on the same resamples.

    For metrics that are at least 0; undefined (NaN) where `statistic(a)` is 0.

        paired_reduction(change_over_spread, (baseline_before, baseline_after), (defended_before, defended_after))

    Args:
        statistic: As in `bootstrap_interval`.
        arrays_a: What it takes for the first model, each (n,).
        arrays_b: For the second, over the same photos in the same order.
        samples: Resamples.
        level: Share of resamples between the ends, in (0, 1).
        seed: At least 0.

    Raises:
        InputError: unless all arrays are finite, of the same length, at least 2, and the options in range.
    """
    return _paired(statistic, arrays_a, arrays_b, _reduction, samples, level, seed)


def _reduction(second: Array, first: Array) -> Array:
    share = np.full(first.shape, np.nan)
    np.divide(second, first, out=share, where=first != 0)
    return 1 - share


def _paired(
    statistic: Statistic,
    arrays_a: Sequence[Array],
    arrays_b: Sequence[Array],
    combine: Callable[[Array, Array], Array],
    samples: int,
    level: float,
    seed: int,
) -> Interval:
    checked = _check_arrays((*arrays_a, *arrays_b))
    _check_options(samples, level, seed)
    sides = checked[: len(arrays_a)], checked[len(arrays_a) :]
    first, second = (np.array([float(statistic(*side))]) for side in sides)
    resampled_first, resampled_second = (_over_resamples(statistic, side, samples, seed) for side in sides)
    return _interval(float(combine(second, first)[0]), combine(resampled_second, resampled_first), level)


def _check_arrays(arrays: Sequence[Array]) -> tuple[Array, ...]:
    if not arrays:
        raise InputError("a bootstrap needs at least one array of scores, got none.")
    return check_vectors(**{f"array {place}": array for place, array in enumerate(arrays, 1)})


def _check_options(samples: int, level: float, seed: int) -> None:
    if samples < 1:
        raise InputError(f"samples must be at least 1, got {samples}.")
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}.")
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}.")


def resample_counts(count: int, samples: int, seed: int) -> Iterator[Array]:
    """Blocks (block, count) of how often each of `count` photos was drawn; `samples` rows in all."""
    stream = np.random.PCG64(seed)
    rows = max(FEWEST_ROWS, BLOCK // count)
    for start in range(0, samples, rows):
        drawn = min(rows, samples - start)
        words = stream.random_raw(drawn * count) >> np.uint64(32)  # 32 random bits each
        photos = (words * np.uint64(count) >> np.uint64(32)).astype(np.intp).reshape(drawn, count)
        cells = photos + count * np.arange(drawn)[:, None]
        yield np.bincount(cells.ravel(), minlength=drawn * count).reshape(drawn, count).astype(np.float64)


def _over_resamples(statistic: Statistic, arrays: Sequence[Array], samples: int, seed: int) -> Array:
    """The statistic on every resample, (samples,)."""
    form = resampled_form(statistic)
    blocks = resample_counts(len(arrays[0]), samples, seed)
    if form is not None:
        return np.concatenate([form(counts, *arrays) for counts in blocks])
    return np.array([_one_by_one(statistic, arrays, counts) for block in blocks for counts in block])


def _one_by_one(statistic: Statistic, arrays: Sequence[Array], counts: Array) -> float:
    photos = np.repeat(np.arange(len(counts)), counts.astype(np.intp))
    return float(statistic(*(array[photos] for array in arrays)))


def _interval(value: float, resampled: Array, level: float) -> Interval:
    defined = resampled[~np.isnan(resampled)]
    dropped = len(resampled) - len(defined)
    if math.isnan(value) or dropped > MOST_DROPPED * len(resampled):
        return Interval(value, math.nan, math.nan, len(resampled), dropped, level)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), len(resampled), dropped, level)
