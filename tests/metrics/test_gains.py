"""MSU's scores: closed forms, and loops over the published definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from robustiqa.metrics.gains import absolute_gain, energy_gain, relative_gain, wasserstein_gain

Array = npt.NDArray[np.float64]
BEFORE = np.array([20.0, 30.0, 40.0, 60.0])  # range 40, scaled 0, 1/4, 1/2, 1


def test_a_rise_of_ten_points_on_a_range_of_forty_is_a_quarter() -> None:
    assert absolute_gain(BEFORE, BEFORE + 10) == pytest.approx(0.25)
    assert wasserstein_gain(BEFORE, BEFORE + 10) == pytest.approx(0.25)
    expected = 0.25 * np.mean([1 / 1, 1 / 1.25, 1 / 1.5, 1 / 2])
    assert relative_gain(BEFORE, BEFORE + 10) == pytest.approx(expected)


def test_an_exchange_of_scores_shows_in_no_distribution_and_in_no_mean() -> None:
    turned = BEFORE[::-1].copy()
    assert absolute_gain(BEFORE, turned) == wasserstein_gain(BEFORE, turned) == energy_gain(BEFORE, turned) == 0
    assert relative_gain(BEFORE, turned) > 0  # a rise counts more on a bad photo than a fall on a good one


def test_distances_are_those_of_their_definitions_by_loops() -> None:
    draw = np.random.default_rng(0)
    before, after = draw.normal(50, 10, 23), draw.normal(44, 14, 23)
    span = before.max() - before.min()
    sorted_gap = np.mean([abs(x - y) for x, y in zip(sorted(before), sorted(after), strict=True)]) / span
    assert wasserstein_gain(before, after) == pytest.approx(math.copysign(sorted_gap, after.mean() - before.mean()))

    def apart(first: Array, second: Array) -> float:
        return float(np.abs(first[:, None] - second).mean() / span)

    squared = 2 * apart(before, after) - apart(before, before) - apart(after, after)
    assert energy_gain(before, after) == pytest.approx(math.copysign(math.sqrt(squared), after.mean() - before.mean()))


@pytest.mark.parametrize("gain", [absolute_gain, relative_gain, wasserstein_gain, energy_gain])
def test_an_affine_map_of_all_scores_changes_nothing_and_constant_clean_scores_have_no_range(
    gain: Callable[..., float],
) -> None:
    after = np.array([25.0, 29.0, 55.0, 61.0])
    assert gain(0.1 * BEFORE + 7, 0.1 * after + 7) == pytest.approx(gain(BEFORE, after))
    assert math.isnan(gain(np.full(4, 50.0), after))
