from __future__ import annotations

import math

import numpy as np
import pytest

from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale
from robustiqa.metrics.checks import Array
from robustiqa.metrics.robustness import (
    change_over_spread,
    max_absolute_change,
    mean_absolute_change,
    r_robustness,
    score_spread,
)

SCALE = ScoreScale()


def _scores(seed: int = 0, count: int = 50) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    before = rng.uniform(-10, 110, count)  # scores may leave their scale
    return before, before + rng.normal(0, 8, count)


def test_r_robustness_of_two_photos_by_hand() -> None:
    result = r_robustness(np.array([80.0, 30.0]), np.array([72.0, 37.0]), scale=SCALE)
    assert result.value == pytest.approx((math.log10(80 / 8) + math.log10(70 / 7)) / 2)
    assert float(result) == result.value == pytest.approx(1)
    assert (result.floored, result.count) == (0, 2)


def test_r_robustness_equals_a_loop_over_photos_on_any_scale() -> None:
    before, after = _scores()
    for low, high in ((0.0, 100.0), (0.0, 1.0), (-3.0, 7.0)):
        terms = []
        for one, other in zip(before, after, strict=True):
            change = max(abs(one - other), (high - low) / 1000)
            terms.append(math.log10(max(high - one, one - low) / change))
        result = r_robustness(before, after, scale=ScoreScale(low, high))
        assert result.value == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_r_robustness_does_not_change_when_scores_and_scale_are_stretched_together() -> None:
    before, after = _scores()
    stretched = r_robustness(3 * before - 5, 3 * after - 5, scale=ScoreScale(-5, 295))
    assert stretched.value == pytest.approx(r_robustness(before, after, scale=SCALE).value, rel=1e-9)


def test_changes_below_a_thousandth_of_the_scale_count_as_that_and_are_counted() -> None:
    before = np.full(4, 50.0)
    after = before + np.array([0.0, 0.0999, -0.0999, 0.1001])
    result = r_robustness(before, after, scale=SCALE)
    assert result.floored == 3
    assert result.value == pytest.approx((3 * math.log10(50 / 0.1) + math.log10(50 / 0.1001)) / 4)


def test_natural_logarithm_and_numerator_after_are_named_variants() -> None:
    before, after = _scores()
    plain = r_robustness(before, after, scale=SCALE)
    natural = r_robustness(before, after, scale=SCALE, base="ln")
    swapped = r_robustness(before, after, scale=SCALE, numerator="after")
    assert natural.value == pytest.approx(math.log(10) * plain.value, rel=1e-12)
    assert swapped.value == pytest.approx(r_robustness(after, before, scale=SCALE).value, rel=1e-12)
    assert swapped.value != pytest.approx(plain.value, rel=1e-3)
    assert plain.variant == "R (log10, scale [0, 100], numerator before, floor 0.1)"
    assert natural.variant == "R (ln, scale [0, 100], numerator before, floor 0.1)"
    assert swapped.variant == "R (log10, scale [0, 100], numerator after, floor 0.1)"


def test_unknown_variants_are_refused() -> None:
    before, after = _scores()
    with pytest.raises(InputError, match=r"^base must be 'log10' or 'ln', got 'log2'\.$"):
        r_robustness(before, after, scale=SCALE, base="log2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^numerator must be 'before' or 'after', got 'both'\.$"):
        r_robustness(before, after, scale=SCALE, numerator="both")  # type: ignore[arg-type]


def test_change_over_spread_divides_by_the_population_standard_deviation() -> None:
    before, after = np.array([0.0, 2.0, 4.0, 6.0]), np.array([1.0, 1.0, 5.0, 5.0])
    assert score_spread(before) == pytest.approx(math.sqrt(5))
    assert change_over_spread(before, after) == pytest.approx(1 / math.sqrt(5))
    assert change_over_spread(before, after, spread=4.0) == pytest.approx(1 / 4)


def test_change_over_spread_gives_no_credit_for_squeezing_the_scores() -> None:
    before, after = _scores()
    squeezed = change_over_spread(0.1 * before + 45, 0.1 * after + 45)
    assert squeezed == pytest.approx(change_over_spread(before, after), rel=1e-9)


@pytest.mark.parametrize("constant", [np.zeros(3), np.full(3, 0.1)])
def test_change_over_spread_of_a_constant_model_is_missing(constant: Array) -> None:
    assert score_spread(constant) == 0
    assert math.isnan(change_over_spread(constant, np.array([1.0, 2.0, 3.0])))


@pytest.mark.parametrize("spread", [0.0, -1.0, math.nan, math.inf])
def test_a_spread_that_is_no_positive_number_is_refused(spread: float) -> None:
    with pytest.raises(InputError, match=rf"^spread must be a standard deviation above 0, got {spread}\.$"):
        change_over_spread(*_scores(), spread=spread)


def test_mean_and_largest_absolute_change_by_hand() -> None:
    before, after = np.array([10.0, 20.0, 30.0]), np.array([13.0, 20.0, 24.0])
    assert mean_absolute_change(before, after) == pytest.approx(3)
    assert max_absolute_change(before, after) == pytest.approx(6)
