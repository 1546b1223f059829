"""Maps from raw scores to a scale, and what they do to gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from robustiqa.core.calibration import Affine, Calibration, Logistic, Rescale
from robustiqa.core.errors import InputError

CURVE = Logistic(low=3.0, high=92.0, center=0.4, width=0.07)
SCORES = torch.linspace(-1, 2, 61, dtype=torch.float64)


@pytest.mark.parametrize(
    ("calibration", "ends"),
    [(Rescale(1.0, 5.0), (0.0, 100.0)), (Rescale(1.0, 5.0, lower_is_better=True), (100.0, 0.0))],
)
def test_a_range_is_mapped_to_0_and_100_in_its_direction_and_not_clamped(
    calibration: Rescale, ends: tuple[float, float]
) -> None:
    mapped = calibration(torch.tensor([1.0, 5.0, 3.0, 9.0]))
    assert mapped.tolist() == pytest.approx([*ends, 50.0, 2 * ends[1] - ends[0]])


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (5.0, 1.0), (float("nan"), 1.0)])
def test_a_range_without_extent_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError) as refused:
        Rescale(low, high)
    assert str(refused.value) == f"a raw range needs low < high, got [{low}, {high}]."


@pytest.mark.parametrize("width", [0.07, -0.07])
def test_a_logistic_is_scipys_expit_between_its_ends(width: float) -> None:
    curve = Logistic(low=3.0, high=92.0, center=0.4, width=width)
    expected = 3 + 89 * expit((SCORES.numpy() - 0.4) / width)
    np.testing.assert_allclose(curve(SCORES).numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize("calibration", [Affine(-3.0, 5.0), Rescale(0.0, 2.0, lower_is_better=True), CURVE])
def test_gradients_are_those_of_the_calibrated_score(calibration: Calibration) -> None:
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(calibration, scores)
    assert torch.autograd.gradgradcheck(calibration, scores)


@pytest.mark.parametrize("widths", [-60.0, -20.0, 20.0, 60.0])
def test_where_a_float32_logistic_rounds_to_its_end_its_gradient_is_exact_and_not_zero(widths: float) -> None:
    curve = Logistic(low=0.0, high=100.0, center=0.0, width=1.0)
    score = torch.tensor(widths, requires_grad=True)
    (gradient,) = torch.autograd.grad(curve(score), score)
    assert gradient.item() == pytest.approx(100 * np.exp(-abs(widths)), rel=1e-5, abs=0)


def test_the_share_of_the_steepest_slope_is_the_gradients() -> None:
    scores = SCORES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(CURVE(scores).sum(), scores)
    steepest = (CURVE.high - CURVE.low) / (4 * CURVE.width)
    torch.testing.assert_close(CURVE.slope_share(SCORES), gradient / steepest)
