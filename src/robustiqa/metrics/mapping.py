"""Agreement after a logistic: fitted once, on clean validation scores, and applied unchanged to every other score.

Refitting the curve to attacked scores would bend an attack's common shift away and report a robustness that the
model does not have. A fit that fails is missing: None, and NaN in the metrics that need it.

Source: Video Quality Experts Group 2000, final report on the validation of objective models, section on the logistic;
the start values are the ones in common use: max and min of the opinion scores, mean and a quarter of the standard
deviation of the scores.
Deviations: the curve must rise, since scores here are higher-is-better; a falling one would credit a model for being
upside down. It must rise over several photos; a least-squares fit to unrelated scores is often a step at one of them.
Where the relation is nearly a straight line that bends one way, the best curve is one end of a logistic whose center
lies far beyond the scores. Its parameters are then not determined, but its values over the scores are, and by
those it is judged. Beyond the scores such a curve goes on as it is there: it does not saturate on that side.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robustiqa.core.errors import InputError
from robustiqa.metrics.checks import Array, check_vectors, is_constant
from robustiqa.metrics.correlation import plcc, rmse

if TYPE_CHECKING:
    from robustiqa.core.calibration import Logistic

FEWEST_SCORES = 5  # one more than the parameters
RISE = 0.01  # share of a curve's rise below and above which it counts as flat
MOST_EVALUATIONS = 10_000


def fit_logistic(scores: Array, mos: Array, *, crops: Sequence[int] | None = None) -> Logistic | None:
    """Fits the four-parameter logistic from scores to opinion scores by least squares.

    Args:
        scores: Clean scores of validation photos, (n,).
        mos: Their opinion scores, (n,).
        crops: How many consecutive scores each photo has, (n,), where a photo's value is the mean of the curve over
            several; `scores` are then (sum(crops),). One each if None.

    Returns:
        The curve; or None if there is none to be had: constant scores or opinions, no convergence, a curve that
        falls, or one on whose rise (1 to 99 %) fewer than 5 photos stand with distinct scores, so that it is a step
        between a few photos; unless the scores see one gently bent end of it, which is no step.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    means, mos = check_vectors(scores=crop_means(scores, crops), mos=mos)
    if len(mos) < FEWEST_SCORES or is_constant(means) or is_constant(mos):
        return None
    from robustiqa.core.calibration import Logistic  # imports torch

    scores = scores.astype(np.float64)
    mean, spread = float(scores.mean()), float(scores.std())
    found = _search((scores - mean) / spread, mos, crops)  # the found curve then does not depend on the scores' scale
    if found is None:
        return None
    high, low, center, width = found
    in_rise = np.unique(means[_on_the_rise(((means - mean) / spread - center) / abs(width))])
    if high <= low or len(in_rise) < FEWEST_SCORES:
        return None
    return Logistic(low=low, high=high, center=mean + spread * center, width=spread * abs(width))


def crop_means(scores: Array, crops: Sequence[int] | None) -> Array:
    """Each photo's mean over its consecutive scores; (sum(crops),) to (n,), or the scores themselves if None.

    Raises:
        InputError: unless the scores are as many as the crops.
    """
    if crops is None:
        return scores
    if min(crops, default=0) < 1 or sum(crops) != len(scores):
        raise InputError(f"expected one score a crop, got {len(scores)} scores for {sum(crops)} crops.")
    means: Array = np.add.reduceat(scores, np.cumsum([0, *crops[:-1]])) / np.asarray(crops)
    return means


def _search(standard: Array, mos: Array, crops: Sequence[int] | None) -> tuple[float, ...] | None:
    """High, low, center and width by Levenberg-Marquardt, which ends where the squares fall no more; else None."""
    from scipy.optimize import OptimizeWarning, curve_fit  # heavy import

    def values(scores: Array, *curve: float) -> Array:
        return crop_means(_curve(scores, *curve), crops)

    start = [mos.max(), mos.min(), 0.0, 1 / 4]  # for the scores as they came: center at mean, width spread / 4
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # a search may pass through widths near 0
        warnings.simplefilter("ignore", OptimizeWarning)  # of the covariance, which is not used
        try:
            found, _ = curve_fit(values, standard, mos, p0=start, maxfev=MOST_EVALUATIONS)
        except RuntimeError:  # scipy's way of saying that it did not converge
            return None
    return tuple(float(value) for value in found) if np.isfinite(found).all() else None


def _on_the_rise(place: Array) -> npt.NDArray[np.bool_]:
    """Which scores stand where the curve rises, and not on one of its flat ends.

    These are the scores between 1 and 99 % of its rise. All scores are where they see one end of a curve whose center
    lies beyond them, and the curve is nowhere flat on them: its least slope there is at least that share of its largest
    which it has at 1 % of the rise in full view. A step between photos has no such piece.

    Args:
        place: Scores in widths from the center, (n,).
    """
    steepness = -np.abs(place) - 2 * np.log1p(np.exp(-np.abs(place)))  # logarithm of the slope, but for a constant
    one_sided = bool((place > 0).all() or (place < 0).all())
    if one_sided and steepness.min() - steepness.max() >= math.log(4 * RISE * (1 - RISE)):
        return np.ones(place.shape, dtype=bool)
    within: npt.NDArray[np.bool_] = np.abs(place) <= math.log(1 / RISE - 1)
    return within


def _curve(scores: Array, high: float, low: float, center: float, width: float) -> Array:
    from scipy.special import expit  # heavy import

    values: Array = low + (high - low) * expit((scores - center) / abs(width))
    return values


def apply_logistic(logistic: Logistic, scores: Array) -> Array:
    """Maps scores (n,) through a fitted curve; (n,), float64.

    Raises:
        InputError: unless the scores are finite and at least 2.
    """
    import torch  # heavy import

    (scores,) = check_vectors(scores=scores)
    mapped: Array = logistic(torch.tensor(scores)).numpy()
    return mapped


def plcc_mapped(scores: Array, mos: Array, *, logistic: Logistic | None) -> float:
    """Pearson's correlation of mapped scores with opinion scores, in [-1, 1].

    Args:
        scores: (n,), clean or attacked.
        mos: (n,).
        logistic: The curve of this model, fitted on clean validation scores; None if that fit failed.

    Returns:
        The correlation; NaN without a curve, or if the mapped scores or `mos` are constant.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    check_vectors(scores=scores, mos=mos)
    return math.nan if logistic is None else plcc(apply_logistic(logistic, scores), mos)


def rmse_mapped(scores: Array, mos: Array, *, logistic: Logistic | None) -> float:
    """Root mean squared difference of mapped scores and opinion scores, in opinion points; NaN without a curve.

    It makes models comparable whose scores lie on other scales than the opinions do.

    Args:
        scores: (n,), clean or attacked.
        mos: (n,).
        logistic: The curve of this model, fitted on clean validation scores; None if that fit failed.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    check_vectors(scores=scores, mos=mos)
    return math.nan if logistic is None else rmse(apply_logistic(logistic, scores), mos)


def change_mapped(before: Array, after: Array, *, logistic: Logistic | None) -> float:
    """Root mean square change of the mapped scores, in opinion points; NaN without a curve.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).
        logistic: The curve of this model, fitted on clean validation scores; None if that fit failed.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    check_vectors(before=before, after=after)
    if logistic is None:
        return math.nan
    return rmse(apply_logistic(logistic, before), apply_logistic(logistic, after))
