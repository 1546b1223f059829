from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from robustiqa.metrics.checks import Array
from robustiqa.metrics.correlation import krocc, plcc, rmse, srocc

CORRELATIONS = [plcc, srocc, krocc]
Correlation = Callable[[Array, Array], float]


def _tied_pair(seed: int, count: int = 40) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 9, count).astype(float)
    return first, first + rng.integers(-3, 4, count)


def test_rmse_is_the_root_of_the_mean_squared_difference() -> None:
    assert rmse(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 7.0])) == pytest.approx(math.sqrt((0 + 4 + 16) / 3))


@pytest.mark.parametrize("seed", range(8))
def test_correlations_equal_double_loops_over_tied_scores(seed: int) -> None:
    first, second = _tied_pair(seed)
    count = len(first)
    above = below_first = below_second = 0.0
    concordance = untied_first = untied_second = 0.0
    for i in range(count):
        for j in range(count):
            difference_first, difference_second = first[i] - first[j], second[i] - second[j]
            above += difference_first * difference_second
            below_first += difference_first**2
            below_second += difference_second**2
            concordance += np.sign(difference_first) * np.sign(difference_second)
            untied_first += difference_first != 0
            untied_second += difference_second != 0
    assert plcc(first, second) == pytest.approx(above / math.sqrt(below_first * below_second), rel=1e-12)
    assert krocc(first, second) == pytest.approx(concordance / math.sqrt(untied_first * untied_second), rel=1e-12)
    ranks_first, ranks_second = _mid_ranks(first), _mid_ranks(second)
    assert srocc(first, second) == pytest.approx(np.corrcoef(ranks_first, ranks_second)[0, 1], rel=1e-12)


def _mid_ranks(values: Array) -> Array:
    return np.array([np.sum(values < one) + (np.sum(values == one) + 1) / 2 for one in values])


@pytest.mark.parametrize("seed", range(4))
def test_correlations_equal_scipy_and_numpy(seed: int) -> None:
    first, second = _tied_pair(seed)
    assert plcc(first, second) == pytest.approx(np.corrcoef(first, second)[0, 1], rel=1e-12)
    assert srocc(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, rel=1e-12)
    assert krocc(first, second) == pytest.approx(stats.kendalltau(first, second, variant="b").statistic, rel=1e-12)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_a_correlation_is_one_for_the_same_and_minus_one_for_reversed_scores(correlation: Correlation) -> None:
    scores = np.random.default_rng(0).normal(size=30)
    assert correlation(scores, 2 * scores + 1) == pytest.approx(1, abs=1e-12)
    assert correlation(scores, 3 - scores) == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("correlation", [srocc, krocc])
def test_a_rank_correlation_ignores_any_rising_map(correlation: Correlation) -> None:
    first, second = _tied_pair(1)
    assert correlation(np.exp(first), second**3) == pytest.approx(correlation(first, second), rel=1e-12)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_two_photos_are_enough(correlation: Correlation) -> None:
    assert correlation(np.array([1.0, 2.0]), np.array([5.0, 9.0])) == pytest.approx(1)
    assert correlation(np.array([1.0, 2.0]), np.array([5.0, 4.0])) == pytest.approx(-1)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize(
    "constant",
    [np.full(10, 0.1), np.zeros(10), 50 + 1e-11 * np.arange(10), np.full(10, -1e30)],
    ids=["tenth", "zero", "up to rounding", "huge"],
)
def test_a_correlation_with_a_constant_array_is_missing(correlation: Correlation, constant: Array) -> None:
    other = np.arange(10.0)
    assert math.isnan(correlation(constant, other))
    assert math.isnan(correlation(other, constant))


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_a_small_spread_on_a_large_score_is_not_constant(correlation: Correlation) -> None:
    assert correlation(50 + 1e-8 * np.arange(10.0), np.arange(10.0)) == pytest.approx(1, abs=1e-6)


def test_the_room_imports_neither_torch_nor_scipy_before_they_are_needed() -> None:
    code = (
        "import sys, robustiqa.metrics, robustiqa.metrics.bootstrap\n"
        "sys.exit(', '.join({'torch', 'scipy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
