"""The robustness scores of the MSU benchmark: signed gains and distances between clean and attacked scores.

Positive is a rise: the benchmark asks how far scores can be raised, where `robustiqa.metrics.robustness` asks how far
they can be moved. Means over photos of opposite directions cancel; read them under `raise` or `lower`. All are in
units of the range of the model's own clean scores, which a handful of photos decides.

Source: Antsiferova et al. 2024, "Comparing the robustness of modern no-reference image- and video-quality metrics to
adversarial attacks", and its published scoring code.
Deviations: their robustness score is `r_robustness` on scores scaled so, with 1e-6 added where ours has a floor; it is
not repeated. Their t-intervals are our bootstrap. A distance is 0 where the mean does not move. A constant clean score
gives NaN, where scaling would divide by 0.
"""

from __future__ import annotations

import math

from robustiqa.metrics.checks import Array, check_vectors, is_constant

UNMOVED = 1e-12  # of the range: a mean rise below it is rounding and has no sign


def absolute_gain(before: Array, after: Array) -> float:
    """Mean rise as a share of the range of the clean scores.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).

    Returns:
        The mean, or NaN if `before` is constant.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scaled = _scaled(before, after)
    return math.nan if scaled is None else float((scaled[1] - scaled[0]).mean())


def relative_gain(before: Array, after: Array) -> float:
    """Mean of each photo's rise over its own scaled score plus 1: a rise counts up to twice as much on a bad photo.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).

    Returns:
        The mean, or NaN if `before` is constant.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scaled = _scaled(before, after)
    return math.nan if scaled is None else float(((scaled[1] - scaled[0]) / (scaled[0] + 1)).mean())


def wasserstein_gain(before: Array, after: Array) -> float:
    """Wasserstein-1 distance between the distributions of clean and attacked scores, with the sign of the mean rise.

    It equals `absolute_gain` where all photos rise or all fall; ranks that are exchanged do not show in it.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).

    Returns:
        The distance in ranges of the clean scores, or NaN if `before` is constant.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    from scipy.stats import wasserstein_distance  # heavy import

    scaled = _scaled(before, after)
    return math.nan if scaled is None else _sign(*scaled) * float(wasserstein_distance(*scaled))


def energy_gain(before: Array, after: Array) -> float:
    """Energy distance between the distributions of clean and attacked scores, with the sign of the mean rise.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).

    Returns:
        The distance (a root of ranges of the clean scores), or NaN if `before` is constant.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    from scipy.stats import energy_distance  # heavy import

    scaled = _scaled(before, after)
    return math.nan if scaled is None else _sign(*scaled) * float(energy_distance(*scaled))


def _scaled(before: Array, after: Array) -> tuple[Array, Array] | None:
    """Both, with the clean scores on [0, 1]; None if those are constant."""
    before, after = check_vectors(before=before, after=after)
    if is_constant(before):
        return None
    low, span = before.min(), before.max() - before.min()
    return (before - low) / span, (after - low) / span


def _sign(before: Array, after: Array) -> float:
    rise = float((after - before).mean())
    return math.copysign(1.0, rise) if abs(rise) > UNMOVED else 0.0
