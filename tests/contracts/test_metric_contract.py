"""Every registered metric: order, perfection, ties, refusals, and the form over resamples."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from robustiqa.core.calibration import Logistic
from robustiqa.core.errors import InputError, UnknownNameError
from robustiqa.core.model import ScoreScale
from robustiqa.metrics import get_metric, list_metrics
from robustiqa.metrics.bootstrap import bootstrap_interval, resample_counts
from robustiqa.metrics.checks import Array
from robustiqa.metrics.resampled import Statistic, resampled_form

NEARLY_STRAIGHT = Logistic(low=-950.0, high=1050.0, center=50.0, width=500.0)  # slope 1 at 50
REQUIRED: dict[str, dict[str, Any]] = {
    "r_robustness": {"scale": ScoreScale()},
    "plcc_mapped": {"logistic": NEARLY_STRAIGHT},
    "rmse_mapped": {"logistic": NEARLY_STRAIGHT},
    "change_mapped": {"logistic": NEARLY_STRAIGHT},
}
SIGNED = ("absolute_gain", "relative_gain", "wasserstein_gain", "energy_gain")  # rises, which rank no agreement


@pytest.fixture(params=list_metrics())
def metric(request: pytest.FixtureRequest) -> Statistic:
    return partial(get_metric(request.param), **REQUIRED.get(request.param, {}))


def _pair(count: int = 60, seed: int = 0, *, tied: bool = False) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    first = rng.uniform(5, 95, count)
    second = first + rng.normal(0, 12, count)
    return (np.round(first / 20), np.round(second / 20)) if tied else (first, second)


@pytest.mark.parametrize("tied", [False, True])
def test_a_metric_does_not_depend_on_the_order_of_photos(metric: Statistic, tied: bool) -> None:
    first, second = _pair(tied=tied)
    value = float(metric(first, second))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(first))
        assert float(metric(first[order], second[order])) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in list_metrics() if name not in SIGNED])
def test_perfect_noisy_and_reversed_input_are_ranked_in_that_order(name: str) -> None:
    metric = partial(get_metric(name), **REQUIRED.get(name, {}))
    first, second = _pair()
    perfect, noisy, reverse = (float(metric(first, other)) for other in (first, second, 100 - first))
    assert perfect > noisy > reverse or perfect < noisy < reverse


@pytest.mark.parametrize("name", SIGNED)
def test_a_rise_is_positive_a_fall_negative_and_nothing_is_zero(name: str) -> None:
    metric, (first, _) = get_metric(name), _pair()
    fall, same, rise, higher = (float(metric(first, first + step)) for step in (-5, 0, 5, 9))
    assert fall < same == 0 < rise < higher


def test_photos_that_all_appear_twice_change_nothing(metric: Statistic) -> None:
    first, second = _pair(tied=True)
    twice = float(metric(np.tile(first, 2), np.tile(second, 2)))
    assert twice == pytest.approx(float(metric(first, second)), rel=1e-12)


def test_ties_give_a_finite_value(metric: Statistic) -> None:
    assert np.isfinite(float(metric(*_pair(tied=True))))


def test_whole_numbers_and_float32_are_taken_as_they_are(metric: Statistic) -> None:
    first, second = _pair(tied=True)
    expected = float(metric(first, second))
    assert float(metric(first.astype(np.int64), second.astype(np.float32))) == expected


def test_input_arrays_are_left_alone(metric: Statistic) -> None:
    first, second = _pair()
    kept = first.copy(), second.copy()
    first.flags.writeable = second.flags.writeable = False
    metric(first, second)
    np.testing.assert_array_equal((first, second), kept)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_value_that_is_not_finite_is_refused(metric: Statistic, bad: float, side: int) -> None:
    arrays = _pair()
    arrays[side][3] = bad
    with pytest.raises(InputError, match=r"must be finite, got 1 NaN or infinite of 60; leave those photos out\.$"):
        metric(*arrays)


def test_arrays_of_other_shapes_are_refused(metric: Statistic) -> None:
    first, second = _pair()
    with pytest.raises(InputError, match=r"must be over the same photos, got lengths 60 and 59\.$"):
        metric(first, second[1:])
    with pytest.raises(InputError, match=r"must be a 1-D array, got shape \(60, 1\); pass one score a photo\.$"):
        metric(first[:, None], second[:, None])
    with pytest.raises(InputError, match=r"must be a 1-D array, got shape \(\); pass one score a photo\.$"):
        metric(first, np.array(3.0))
    with pytest.raises(InputError, match=r"must be a 1-D NumPy array, got list; convert it first\.$"):
        metric(first.tolist(), second)
    with pytest.raises(InputError, match=r"must hold real numbers, got complex128\.$"):
        metric(first, second.astype(complex))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_photos_are_refused(metric: Statistic, count: int) -> None:
    with pytest.raises(InputError, match=rf"a metric needs at least 2 photos, got {count}\.$"):
        metric(np.zeros(count), np.zeros(count))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("count", [2, 3, 7, 60])
def test_the_form_over_resamples_equals_a_plain_loop(metric: Statistic, count: int, tied: bool) -> None:
    arrays = _pair(count, seed=count, tied=tied)
    form = resampled_form(metric)
    assert form is not None
    counts = np.concatenate(list(resample_counts(count, 300, seed=1)))
    places = [np.repeat(np.arange(count), row.astype(int)) for row in counts]
    looped = [float(metric(*(array[photos] for array in arrays))) for photos in places]
    np.testing.assert_allclose(form(counts, *arrays), looped, rtol=1e-9, atol=1e-12)


def test_its_interval_holds_the_value_and_is_the_same_for_the_same_seed(metric: Statistic) -> None:
    arrays = _pair()
    interval = bootstrap_interval(metric, *arrays, samples=400)
    assert interval.low <= interval.value <= interval.high
    assert interval == bootstrap_interval(metric, *arrays, samples=400)
    assert interval.value == float(metric(*arrays))


@pytest.mark.parametrize("name", list_metrics())
def test_a_name_stands_for_the_function_of_that_name(name: str) -> None:
    assert getattr(get_metric(name), "__name__", None) == name


def test_an_unknown_metric_is_refused_with_the_closest_name() -> None:
    with pytest.raises(
        UnknownNameError, match=r"^unknown metric 'srcc'; did you mean 'srocc'\? Known: absolute_gain, change_mapped, "
    ):
        get_metric("srcc")
