from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from robustiqa.core.calibration import Affine
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import InputError
from robustiqa.models.crop_average import CropAverage
from robustiqa.training.calibration import MOST_PHOTOS, Calibrator, fit_affine
from tests.training.tiny import TinyNet, tiny_photos

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (-30.0, 5.0), (1e-4, 1e3), (2e5, -0.1)])
def test_the_fit_is_the_regression_line_of_scipy(slope: float, offset: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    mos = draw.uniform(0, 100, 40)
    scores = (mos + draw.normal(0, 20, 40) - offset) / slope
    expected = stats.linregress(scores, mos)
    fit = fit_affine(scores, mos)
    assert fit.slope == pytest.approx(expected.slope, rel=1e-9)
    assert fit.offset == pytest.approx(expected.intercept, rel=1e-9)


def test_two_photographs_are_met_exactly_and_equal_scores_mean_the_mean_opinion() -> None:
    assert fit_affine(np.array([1.0, 3.0]), np.array([20.0, 80.0])) == Affine(slope=30.0, offset=-10.0)
    assert fit_affine(np.full(3, 0.1), np.array([20.0, 80.0, 5.0])) == Affine(slope=0.0, offset=35.0)


def test_scores_that_are_not_finite_and_a_single_photograph_are_refused() -> None:
    with pytest.raises(InputError, match=r"^scores must be finite, got 1 NaN"):
        fit_affine(np.array([1.0, np.nan]), np.array([20.0, 80.0]))
    with pytest.raises(InputError, match="at least 2 photos, got 1"):
        fit_affine(np.array([1.0]), np.array([20.0]))


def whole_scores(net: TinyNet, dataset: Dataset) -> tuple[list[float], list[float]]:
    scorer = CropAverage(net, small="pad").eval()
    return [scorer.score(photo.read()[None]).item() for photo in dataset], [photo.mos or 0.0 for photo in dataset]


def test_scores_are_calibrated_within_it_and_raw_after_it() -> None:
    net, photos = TinyNet(batch_norm=True, dropout=0.5).train(), tiny_photos().part("train")
    calibrated = Calibrator(net, photos, CPU)
    with calibrated(7):
        found = net.calibration
    assert net.calibration == Affine()
    assert net.training
    expected = stats.linregress(*whole_scores(net, photos))
    assert isinstance(found, Affine)
    assert found.slope == pytest.approx(expected.slope)
    assert found.offset == pytest.approx(expected.intercept)


def test_it_fits_anew_when_the_weights_have_moved_and_not_before() -> None:
    net, photos = TinyNet(), tiny_photos().part("train")
    calibrated = Calibrator(net, photos, CPU)
    found = []
    for step in (1, 1, 2):
        with calibrated(step):
            found.append(net.calibration)
        with torch.no_grad():
            net.head.weight.mul_(2)
    assert found[0] is found[1]
    assert found[2].slope == pytest.approx(found[0].slope / 4, rel=1e-4)  # type: ignore[union-attr]


def test_without_photographs_nothing_is_calibrated() -> None:
    net = TinyNet()
    with Calibrator(net, None, CPU)(3):
        assert net.calibration == Affine()


def test_a_calibration_is_taken_back_after_an_error() -> None:
    net = TinyNet()
    with pytest.raises(KeyError), Calibrator(net, tiny_photos().part("train"), CPU)(3):
        raise KeyError
    assert net.calibration == Affine()


def test_of_a_large_training_part_a_thousand_evenly_spaced_photographs_are_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored: list[str] = []

    def scores_of(model: object, photos: Dataset, device: object) -> tuple[object, object]:
        scored.extend(photo.key for photo in photos)
        return np.arange(float(len(photos))), np.arange(float(len(photos)))

    monkeypatch.setattr("robustiqa.training.calibration.photo_scores", scores_of)
    large = tiny_photos(train=3 * MOST_PHOTOS, validation=0)
    keys = [photo.key for photo in large]
    with Calibrator(TinyNet(), large, CPU)(1):
        pass
    places = [keys.index(key) for key in scored]
    assert len(scored) == MOST_PHOTOS
    assert (places[0], places[-1]) == (0, len(keys) - 1)
    assert set(np.diff(places)) <= {3, 4}
