"""The penalty for losses that know no scale: what it equals, what it is blind to, and what it is not blind to."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormEstimator,
    NormRegularization,
)
from robustiqa.defenses.standardized_norm import StandardizedNormRegularization
from robustiqa.published.norm_regularization import NormRegularization as RawNormRegularization
from tests.toys import ConstantModel, ConvModel, LinearModel

ESTIMATORS: list[NormEstimator] = [FiniteDifference(), CentralDifference(), DoubleBackward()]


class Rescaled(nn.Module):
    """`slope * f + offset`, the slope and the offset being weights."""

    def __init__(self, model: nn.Module, slope: float, offset: float = 0.0) -> None:
        super().__init__()
        self.module = model
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))
        self.offset = nn.Parameter(torch.tensor(offset, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.slope * self.module(images) + self.offset
        return scores


def photos(count: int = 4, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side, dtype=torch.float64)


def network() -> ConvModel:
    return ConvModel().eval().double()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("deviation", [20.0, 1.0])
def test_on_a_linear_model_it_is_the_squared_norm_over_the_variance_of_the_scores(
    estimator: NormEstimator, deviation: float
) -> None:
    slopes = torch.randn(3, 8, 8, dtype=torch.float64)
    model, images = LinearModel(slopes), photos().double()
    scores, penalty = StandardizedNormRegularization(estimator, weight=0.1, deviation=deviation)(model, images)
    norm = slopes.abs().sum().item()
    expected = 0.1 * deviation**2 * norm**2 / scores.detach().numpy().var()
    assert penalty.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("slope", "offset"), [(1e-3, 0.0), (7.0, 50.0), (40.0, -300.0)])
def test_it_is_the_same_for_every_slope_above_0_and_offset_of_the_scores(
    estimator: NormEstimator, slope: float, offset: float
) -> None:
    model, images = network(), photos()
    penalty_of = StandardizedNormRegularization(estimator, weight=1e-3)
    plain, rescaled = (
        one.item()
        for one in (
            penalty_of(model, images).penalty,
            penalty_of(Rescaled(model, slope, offset), images).penalty,
        )
    )
    assert rescaled == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_its_gradient_does_not_shrink_the_scores_and_that_of_the_raw_form_does(estimator: NormEstimator) -> None:
    model, images = Rescaled(network(), 1.0), photos()

    def pull(penalty: Tensor) -> float:
        """Of the gradient along the scale, beside the penalty."""
        (gradient,) = torch.autograd.grad(penalty, model.slope, retain_graph=True)
        return float(gradient / penalty.detach())

    standardized = StandardizedNormRegularization(estimator)(model, images).penalty
    raw = NormRegularization(estimator)(model, images).penalty
    assert pull(standardized) == pytest.approx(0, abs=1e-6)
    assert pull(raw) == pytest.approx(2)
    if isinstance(estimator, FiniteDifference):
        assert pull(RawNormRegularization(estimator)(model, images).penalty) == pytest.approx(2)


def test_half_the_spread_at_the_same_norm_is_four_times_the_penalty() -> None:
    slopes, penalty_of = torch.ones(3, 8, 8, dtype=torch.float64), StandardizedNormRegularization(weight=1.0)
    base, change = torch.full((4, 3, 8, 8), 0.5, dtype=torch.float64), torch.tensor([0.1, -0.1, 0.2, -0.2])
    wide, narrow = (base + size * change[:, None, None, None] for size in (1, 0.5))
    model = LinearModel(slopes)
    assert penalty_of(model, narrow).penalty.item() == pytest.approx(4 * penalty_of(model, wide).penalty.item())


def test_equal_scores_have_a_finite_gradient() -> None:
    model = ConstantModel()
    penalty = StandardizedNormRegularization(weight=1.0)(model, torch.rand(3, 3, 8, 8)).penalty
    torch.autograd.backward(penalty)
    assert penalty.item() == 0
    assert model.value.grad is not None
    assert model.value.grad.isfinite()


def test_scores_of_half_precision_are_standardized_in_float32() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = ConvModel().eval()

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = self.module(images).bfloat16()
            return scores

    images = torch.rand(4, 3, 8, 8)
    penalty = StandardizedNormRegularization(DoubleBackward())(Half(), images).penalty
    assert penalty.dtype == torch.float32
    assert penalty.isfinite()


def test_one_image_and_wrong_numbers_are_refused() -> None:
    message = re.escape("scores are standardized within a batch; expected 2 images or more, got 1.")
    with pytest.raises(InputError, match=f"^{message}$"):
        StandardizedNormRegularization()(ConvModel().eval(), torch.rand(1, 3, 8, 8))
    assert StandardizedNormRegularization(weight=0.0)(ConvModel().eval(), torch.rand(1, 3, 8, 8)).penalty == 0
    with pytest.raises(InputError, match=r"^the deviation must be greater than 0, got 0\.$"):
        StandardizedNormRegularization(deviation=0)
    with pytest.raises(InputError, match=r"must be at least 0, got -1\.$"):
        StandardizedNormRegularization(weight=-1)
