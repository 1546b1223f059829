"""How far an attack moved the scores: R robustness, change over clean spread, mean and largest change.

Every one compares scores of the same photos before and after an attack. The root mean square change itself is
`robustiqa.metrics.correlation.rmse(before, after)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from robustiqa.core.errors import InputError
from robustiqa.metrics.checks import Array, check_vectors, is_constant

if TYPE_CHECKING:
    from robustiqa.core.model import ScoreScale

LogBase = Literal["log10", "ln"]
Numerator = Literal["before", "after"]

FLOOR = 1e-3  # of the scale's span; 0.1 points of 100, below what an 8-bit attack is asked to do


@dataclass(frozen=True)
class Robustness:
    """R robustness of n photos; `float()` of it is the value.

    Attributes:
        value: Mean over photos; higher is more robust, and 1 (base 10) means changes of a tenth of the room there is.
        floored: Photos whose change was below the floor and counts as the floor. Where they are many, R reports the
            floor and not the model.
        count: Photos in all.
        variant: What was computed, in words that go into the record: base, bounds, numerator, floor.
    """

    value: float
    floored: int
    count: int
    variant: str

    def __float__(self) -> float:
        return self.value


def r_robustness(
    before: Array,
    after: Array,
    *,
    scale: ScoreScale,
    base: LogBase = "log10",
    numerator: Numerator = "before",
) -> Robustness:
    """Mean logarithm of the room a score has on its scale over the change an attack achieved.

    `log(max(high - before, before - low) / max(|after - before|, floor))`, averaged over photos.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,); they may leave the scale.
        scale: Gives `low` and `high`. The value depends on it: compare models on one scale only.
        base: Papers do not always say theirs; a value in `ln` is 2.303 times the one in `log10`.
        numerator: Whose room is counted; `after` is what some published numbers hold.

    Raises:
        InputError: unless both are finite, of the same length, at least 2, and the options are known.

    Source: Zhang et al. 2022, "Perceptual Attacks of No-Reference Image Quality Models with Human-in-the-Loop".
    Deviations: a floor of a thousandth of the span, counted, where the paper divides by the bare change and published
    code adds 1e-6 to it: one unmoved photo of 100 would then add .08 to the mean.
    """
    before, after = check_vectors(before=before, after=after)
    logs = log_room_over_change(before, after, scale=scale, base=base, numerator=numerator)
    floor = FLOOR * scale.span
    return Robustness(
        value=float(logs.mean()),
        floored=int(np.count_nonzero(np.abs(after - before) < floor)),
        count=len(before),
        variant=f"R ({base}, scale [{scale.low:g}, {scale.high:g}], numerator {numerator}, floor {floor:g})",
    )


def log_room_over_change(
    before: Array, after: Array, *, scale: ScoreScale, base: LogBase = "log10", numerator: Numerator = "before"
) -> Array:
    """The photos' own terms of `r_robustness`, (n,), from checked arrays.

    Raises:
        InputError: if `base` or `numerator` is not a known one.
    """
    logarithms = {"log10": np.log10, "ln": np.log}
    numerators = {"before": before, "after": after}
    if base not in logarithms:
        raise InputError(f"base must be 'log10' or 'ln', got {base!r}.")
    if numerator not in numerators:
        raise InputError(f"numerator must be 'before' or 'after', got {numerator!r}.")
    score = numerators[numerator]
    room = np.maximum(scale.high - score, score - scale.low)  # at least half the span, wherever the score lies
    logs: Array = logarithms[base](room / np.maximum(np.abs(after - before), FLOOR * scale.span))
    return logs


def score_spread(scores: Array) -> float:
    """Standard deviation of scores (n,) over the photos at hand (population, divisor n), in score points.

    Raises:
        InputError: unless they are finite and at least 2.
    """
    (scores,) = check_vectors(scores=scores)
    return 0.0 if is_constant(scores) else float(scores.std())


def change_over_spread(before: Array, after: Array, *, spread: float | None = None) -> float:
    """Root mean square change over the standard deviation of the clean scores; 0 is unmoved, 1 is lost in the noise.

    A model that squeezes its scores together shrinks its changes as well; this ratio does not reward it. It is
    invariant to an affine map of the scores.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).
        spread: The divisor, where it comes from other photos than these; by default the population standard
            deviation (divisor n) of `before`.

    Returns:
        The ratio, or NaN if `before` is constant.

    Raises:
        InputError: unless both are finite, of the same length, at least 2, and `spread` is above 0.
    """
    before, after = check_vectors(before=before, after=after)
    if spread is None:
        spread = score_spread(before)
        if spread == 0:
            return math.nan
    if not (math.isfinite(spread) and spread > 0):
        raise InputError(f"spread must be a standard deviation above 0, got {spread}.")
    return math.sqrt(np.mean((after - before) ** 2)) / spread


def mean_absolute_change(before: Array, after: Array) -> float:
    """Mean of |after - before|, in score points.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    before, after = check_vectors(before=before, after=after)
    return float(np.abs(after - before).mean())


def max_absolute_change(before: Array, after: Array) -> float:
    """Largest |after - before|, in score points.

    It grows with the number of photos, and a bootstrap interval of a maximum never reaches above it: read it as a
    description of these photos, not as an estimate.

    Args:
        before: Clean scores, (n,).
        after: Attacked scores, (n,).

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    before, after = check_vectors(before=before, after=after)
    return float(np.abs(after - before).max())
