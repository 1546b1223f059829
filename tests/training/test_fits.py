"""Fits from raw scores to opinions, beside scipy's and numpy's, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit
from scipy.special import expit

from robustiqa.core.calibration import Affine, Logistic, Rescale
from robustiqa.core.errors import DataError, InputError, RobustIQAError, UnknownNameError, WorkFailedError
from robustiqa.metrics.checks import Array
from robustiqa.metrics.correlation import rmse
from robustiqa.models.crop_average import CropAverage
from robustiqa.training.fits import RawScores, fit_calibration, flat_share, raw_scores
from tests.training.tiny import TinyNet, tiny_photos


def four_parameters(scores: Array, low: float, high: float, center: float, width: float) -> Array:
    values: Array = low + (high - low) * expit((scores - center) / width)
    return values


def one_score_a_photo(count: int = 200, seed: int = 0, noise: float = 5.0) -> RawScores:
    draw = np.random.default_rng(seed)
    scores = draw.uniform(-2, 6, count)
    mos = four_parameters(scores, 15, 85, 2.0, 0.9) + draw.normal(0, noise, count)
    return RawScores(scores, (1,) * count, mos)


def several_crops_a_photo(count: int = 60) -> RawScores:
    draw = np.random.default_rng(3)
    crops = tuple(int(number) for number in draw.integers(1, 10, count))
    scores = np.repeat(draw.uniform(-2, 6, count), crops) + draw.normal(0, 1.5, sum(crops))
    raw = RawScores(scores, crops, np.zeros(count))
    mos = raw.calibrated(Logistic(15, 85, 2.0, 0.9)) + draw.normal(0, 3, count)
    return replace(raw, mos=mos)


def turned(raw: RawScores) -> RawScores:
    return replace(raw, scores=-raw.scores)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_line_is_numpys_and_scipys(seed: int, lower_is_better: bool) -> None:
    raw = one_score_a_photo(seed=seed)
    raw = turned(raw) if lower_is_better else raw
    fit = fit_calibration("affine", raw, lower_is_better=lower_is_better)
    assert isinstance(fit, Affine)
    assert [fit.slope, fit.offset] == pytest.approx(np.polyfit(raw.scores, raw.mos, 1), rel=1e-9)
    assert fit.slope == pytest.approx(stats.linregress(raw.scores, raw.mos).slope, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_logistic_is_scipys_from_another_start(seed: int, lower_is_better: bool) -> None:
    raw = one_score_a_photo(seed=seed)
    expected, _ = curve_fit(four_parameters, raw.scores, raw.mos, p0=[10, 90, 1.5, 1.0], xtol=1e-12, ftol=1e-12)
    if lower_is_better:
        raw, expected = turned(raw), expected * [1, 1, -1, -1]
    fit = fit_calibration("logistic", raw, lower_is_better=lower_is_better)
    assert isinstance(fit, Logistic)
    assert [fit.low, fit.high, fit.center, fit.width] == pytest.approx(list(expected), rel=1e-4)


def test_over_crops_the_logistic_is_the_least_squares_one_of_the_mean_calibrated_scores() -> None:
    raw = several_crops_a_photo()
    photo = np.repeat(np.arange(len(raw.crops)), raw.crops)

    def mean_curve(scores: Array, *values: float) -> Array:
        curve = four_parameters(scores, *values)
        return np.array([curve[photo == place].mean() for place in range(len(raw.crops))])

    expected, _ = curve_fit(mean_curve, raw.scores, raw.mos, p0=[10, 90, 1.5, 1.0], xtol=1e-12, ftol=1e-12)
    fit = fit_calibration("logistic", raw)
    assert isinstance(fit, Logistic)
    assert [fit.low, fit.high, fit.center, fit.width] == pytest.approx(list(expected), rel=1e-4)
    through_means = fit_calibration("logistic", RawScores(raw.means, (1,) * len(raw.mos), raw.mos))
    assert rmse(raw.calibrated(fit), raw.mos) < rmse(raw.calibrated(through_means), raw.mos)


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_scale_runs_from_the_lowest_to_the_highest_photograph(lower_is_better: bool) -> None:
    raw = several_crops_a_photo()
    raw = turned(raw) if lower_is_better else raw
    fit = fit_calibration("scale", raw, lower_is_better=lower_is_better)
    assert fit == Rescale(raw.means.min(), raw.means.max(), lower_is_better)
    assert sorted(raw.calibrated(fit))[:: len(raw.mos) - 1] == pytest.approx([0, 100], abs=1e-9)


def test_the_share_of_photographs_at_the_flat_ends_is_counted() -> None:
    raw = RawScores(np.array([-9.0, -0.1, 0.1, 9.0]), (1,) * 4, np.zeros(4))
    assert flat_share(Logistic(0, 100, 0, 1), raw) == 0.5
    assert flat_share(Logistic(-1e4, 1e4, 0, 1e3), raw) == flat_share(Logistic(0, 1e9, 1e3, 50), raw) == 0
    assert flat_share(Affine(2.0, 1.0), raw) == 0


def of(scores: list[float], mos: list[float]) -> RawScores:
    return RawScores(np.array(scores), (1,) * len(scores), np.array(mos))


NO_LOGISTIC = (
    "no logistic fits: the search did not converge, or the curve falls or is a step between fewer than 5 photographs; "
    "take fit 'affine'."
)
FALLS = (
    "raw scores fall as opinions rise; if low ones mean good photographs, say so with lower_is_better "
    "(--lower-is-better), else check labels and weights."
)
NOT_FINITE = "must be finite, got 1 NaN or infinite of 3; leave those photos out."
ALL_EQUAL = "nothing can be fitted to them."
NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "raw", "error", "sentence"),
    [
        ("lin", one_score_a_photo(), UnknownNameError, "unknown fit 'lin'. Known: affine, logistic, scale."),
        ("affine", of([1, 2], [1, 2]), InputError, "fit 'affine' takes at least 3 photographs, got 2."),
        ("logistic", of([1, 2, 3, 4], [1, 2, 3, 4]), InputError, "fit 'logistic' takes at least 5 photographs, got 4."),
        ("scale", of([2, 2, 2], [1, 2, 3]), InputError, f"the 3 raw scores are all equal (2); {ALL_EQUAL}"),
        ("affine", of([1, 2, 3], [7, 7, 7]), InputError, f"the 3 opinion scores are all equal (7); {ALL_EQUAL}"),
        ("affine", of([1, NAN, 3], [1, 2, 3]), InputError, f"scores {NOT_FINITE}"),
        ("scale", of([1, 2, 3], [1, INFINITE, 3]), InputError, f"mos {NOT_FINITE}"),
        ("scale", of([3, 2, 1], [1, 2, 3]), InputError, FALLS),
        ("logistic", of([1, 2, 3, 4, 5, 6], [1, 1, 1, 9, 9, 9]), WorkFailedError, NO_LOGISTIC),
    ],
)
def test_what_is_degenerate_is_refused_in_one_sentence(
    kind: str, raw: RawScores, error: type[RobustIQAError], sentence: str
) -> None:
    with pytest.raises(error) as refused:
        fit_calibration(kind, raw)
    assert str(refused.value) == sentence


def test_a_direction_that_the_scores_contradict_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        fit_calibration("affine", one_score_a_photo(), lower_is_better=True)
    assert str(refused.value) == (
        "raw scores rise with opinions, against lower_is_better; leave it out, or check labels and weights."
    )


def test_raw_scores_are_those_of_every_crop_without_the_calibration_of_the_model() -> None:
    net, photos = TinyNet().eval(), tiny_photos().part("train")
    expected = [CropAverage(net).eval().score(photo.read()[None]).item() for photo in photos]
    net.calibration = Logistic(0, 100, 50, 3)
    told: list[tuple[int, int]] = []
    raw = raw_scores(net, photos, progress=lambda done, total: told.append((done, total)))
    assert net.calibration == Logistic(0, 100, 50, 3)
    np.testing.assert_allclose(raw.means, expected, rtol=1e-6)
    assert raw.mos.tolist() == [photo.mos for photo in photos]
    assert max(raw.crops) > 1
    assert told[-1] == (len(photos), len(photos))
    whole = [CropAverage(net).eval().score(photo.read()[None]).item() for photo in photos]
    np.testing.assert_allclose(raw.calibrated(net.calibration), whole, rtol=1e-5)


def test_photographs_without_opinions_are_refused() -> None:
    photos = tiny_photos().part("train")
    bare = replace(photos, photos=tuple(replace(photo, mos=None) for photo in photos))
    with pytest.raises(DataError) as refused:
        raw_scores(TinyNet().eval(), bare)
    assert str(refused.value) == (
        f"dataset {photos.name!r} has photographs without opinion scores; a calibration needs them."
    )
