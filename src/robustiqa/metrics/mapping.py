"""Agreement after a logistic: fitted once, on clean validation scores, and applied unchanged to every other score.

Refitting the curve to attacked scores would bend an attack's common shift away and report a robustness that the
model does not have. A fit that fails is missing: None, and NaN in the metrics that need it.

Source: Video Quality Experts Group 2000, final report on the validation of objective models, section on the logistic;
the start values are the ones in common use: max and min of the opinion scores, mean and a quarter of the standard
deviation of the scores.
Deviations: the curve must rise, since scores here are higher-is-better; a falling one would credit a model for being
upside down. It must rise over several photos; a least-squares fit to unrelated scores is often a step at one of them.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from robustiqa.metrics.checks import Array, check_vectors, is_constant
from robustiqa.metrics.correlation import plcc, rmse

if TYPE_CHECKING:
    from robustiqa.core.calibration import Logistic

FEWEST_SCORES = 5  # one more than the parameters
RISE = math.log(99)  # in widths from the center: there the curve has 1 or 99 % of its rise behind it
MOST_EVALUATIONS = 10_000


def fit_logistic(scores: Array, mos: Array) -> Logistic | None:
    """Fits the four-parameter logistic from scores to opinion scores by least squares.

    Args:
        scores: Clean scores of validation photos, (n,).
        mos: Their opinion scores, (n,).

    Returns:
        The curve; or None if there is none to be had: constant scores or opinions, no convergence, a curve that
        falls, or one whose rise (1 to 99 %) holds fewer than 5 distinct scores, so that it is a step between a few
        photos and its four parameters are not determined.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scores, mos = check_vectors(scores=scores, mos=mos)
    if len(scores) < FEWEST_SCORES or is_constant(scores) or is_constant(mos):
        return None
    from scipy.optimize import OptimizeWarning, curve_fit  # heavy import

    from robustiqa.core.calibration import Logistic  # imports torch

    mean, spread = float(scores.mean()), float(scores.std())
    standard = (scores - mean) / spread  # the found curve then does not depend on the scores' scale
    start = [mos.max(), mos.min(), 0.0, 1 / 4]  # for the scores as they came: center at mean, width spread / 4
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # a search may pass through widths near 0
        warnings.simplefilter("ignore", OptimizeWarning)  # of the covariance, which is not used
        try:
            found, _ = curve_fit(_curve, standard, mos, p0=start, maxfev=MOST_EVALUATIONS)
        except RuntimeError:  # scipy's way of saying that it did not converge
            return None
    high, low, center, width = (float(value) for value in found)
    in_rise = np.unique(standard[np.abs(standard - center) <= RISE * abs(width)])
    if not np.isfinite(found).all() or high <= low or len(in_rise) < FEWEST_SCORES:
        return None
    return Logistic(low=low, high=high, center=mean + spread * center, width=spread * abs(width))


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
