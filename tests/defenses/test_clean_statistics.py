"""Norm regularization with batch norm in training mode that uses the clean pass's statistics."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustiqa.core.errors import InputError
from robustiqa.core.penalty import Penalty
from robustiqa.defenses import norm_regularization
from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormEstimator,
    NormRegularization,
)
from robustiqa.defenses.standardized_norm import StandardizedNormRegularization
from tests.toys import ConvModel, CountingModel

ESTIMATORS: list[NormEstimator] = [FiniteDifference(), CentralDifference(), DoubleBackward()]
PENALTIES: list[Callable[..., Penalty]] = [NormRegularization, StandardizedNormRegularization]
MOS = torch.tensor([20.0, 45.0, 60.0])


def photos(count: int = 3, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side)


def with_constant_statistics(model: ConvModel, images: Tensor) -> ConvModel:
    """A copy at test whose batch norm has the statistics that `images` have there."""
    copied = copy.deepcopy(model)
    norm = copied.body[1]
    assert isinstance(norm, nn.BatchNorm2d)
    seen = copied.body[0]((images - copied.input_mean[:, None, None]) / copied.input_std[:, None, None]).detach()
    norm.running_mean, norm.running_var = seen.mean((0, 2, 3)), seen.var((0, 2, 3), correction=0)
    return copied.eval()


def measured(model: nn.Module, images: Tensor, estimator: NormEstimator) -> Tensor:
    return estimator(model, images, 1.0)[1].square().mean()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_norm_is_that_of_constant_ones(estimator: NormEstimator) -> None:
    model, images = ConvModel().train(), photos()
    constant = with_constant_statistics(model, images)
    scores, penalty = NormRegularization(estimator, 0.1, statistics="clean")(model, images)
    torch.testing.assert_close(penalty, 0.1 * measured(constant, images, estimator), rtol=1e-3, atol=0)
    torch.testing.assert_close(scores, ConvModel().train()(images))
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_batch_norm_moves_as_in_one_clean_pass(estimator: NormEstimator) -> None:
    model, plain, images = ConvModel().train(), ConvModel().train(), photos()
    NormRegularization(estimator, 0.1, statistics="clean")(model, images)
    plain(images)
    for found, expected in zip(model.buffers(), plain.buffers(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("penalty_of", PENALTIES)
def test_shrinking_weights_before_batch_norm_gains_nothing(penalty_of: Callable[..., Penalty]) -> None:
    """The penalty does not change with their scale, so its gradient has no part along them."""
    model, images = ConvModel().double().train(), photos().double()
    layer = model.body[0]
    assert isinstance(layer, nn.Conv2d)
    _, penalty = penalty_of(FiniteDifference(), 0.1, statistics="clean")(model, images)
    (gradient,) = torch.autograd.grad(penalty, layer.weight)
    assert gradient.norm() > 0
    along = (gradient * layer.weight).sum() / (gradient.norm() * layer.weight.norm())
    assert along.abs() < 1e-3  # not 0: batch norm adds 1e-5 to the variance
    frozen = with_constant_statistics(model, images)
    weight = frozen.get_parameter("body.0.weight")
    (constant,) = torch.autograd.grad(0.1 * measured(frozen, images, FiniteDifference()), weight)
    assert (constant * layer.weight).sum() / (constant.norm() * layer.weight.norm()) > 0.1


@pytest.mark.parametrize("penalty_of", PENALTIES)
def test_weight_gradients_are_those_of_a_difference_quotient(penalty_of: Callable[..., Penalty]) -> None:
    model, images = ConvModel().double().train(), photos().double()
    nt = penalty_of(FiniteDifference(), 1e-3, statistics="clean", fraction=0.67)
    start = copy.deepcopy(model.state_dict())

    def total() -> Tensor:
        scores, penalty = nt(model, images)
        return F.l1_loss(scores, MOS.double()) + penalty

    for name in ("body.0.weight", "body.1.weight", "body.3.bias"):
        model.load_state_dict(start)
        weight = model.get_parameter(name)
        (gradient,) = torch.autograd.grad(total(), weight)
        direction = torch.randn_like(weight)
        expected = (gradient * direction).sum()
        ends = []
        for way in (1e-6, -1e-6):
            model.load_state_dict(start)
            with torch.no_grad():
                model.get_parameter(name).add_(way * direction)
            ends.append(total().detach())
        torch.testing.assert_close((ends[0] - ends[1]) / 2e-6, expected, rtol=1e-4, atol=1e-6)


class Shifted(nn.Module):
    """Batch norm of a sum of all pixels: with batch statistics, a shift of all images alike is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.norm(images.flatten(1).sum(1, keepdim=True))[:, 0]
        return scores


@pytest.mark.parametrize("penalty_of", PENALTIES)
def test_what_moves_all_images_alike_is_seen_with_clean_statistics_only(penalty_of: Callable[..., Penalty]) -> None:
    model, images = Shifted().train(), photos()
    hidden = penalty_of(FiniteDifference(), 1.0)(model, images).penalty
    seen = penalty_of(FiniteDifference(), 1.0, statistics="clean")(model, images).penalty
    assert hidden < 1e-3 * seen


@pytest.mark.parametrize(("fraction", "counted"), [(0.34, 2), (0.5, 2), (1 / 3, 1), (1.0, 3)])
def test_the_norm_is_measured_on_a_fraction_of_the_batch(fraction: float, counted: int) -> None:
    model, images = ConvModel().train(), photos()
    constant = with_constant_statistics(model, images)
    _, penalty = NormRegularization(FiniteDifference(), 0.1, "clean", fraction)(model, images)
    expected = 0.1 * measured(constant, images[:counted], FiniteDifference())
    torch.testing.assert_close(penalty, expected, rtol=1e-3, atol=0)


class Dropping(ConvModel):
    """Draws masks for its features."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        pooled = F.dropout(self.body(normalized).mean((2, 3)), 0.5, self.training)
        scores: Tensor = 50 + 40 * self.head(pooled)[:, 0]
        return scores


def step(model: nn.Module, images: Tensor, estimator: NormEstimator, fraction: float) -> list[Tensor]:
    """Scores, penalty and weight gradients of a step, and the buffers that it leaves."""
    torch.manual_seed(5)
    scores, penalty = NormRegularization(estimator, 0.1, "clean", fraction)(model, images)
    torch.autograd.backward(scores.square().mean() + penalty)
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients
    return [scores.detach(), penalty.detach(), *gradients, *model.buffers()]


@pytest.mark.parametrize("fraction", [0.5, 1.0])
@pytest.mark.parametrize("estimator", [FiniteDifference(), FiniteDifference(side="random"), CentralDifference()])
@pytest.mark.parametrize("kind", [ConvModel, Dropping])
def test_sharing_the_clean_pass_changes_nothing(
    kind: type[ConvModel], estimator: NormEstimator, fraction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photos(4).double()
    passes = CountingModel(kind().double().train())
    shared = step(passes, images, estimator, fraction)
    once, again = passes.forwards, CountingModel(kind().double().train())
    monkeypatch.setattr(norm_regularization, "REPEATED", 1.0)
    apart = step(again, images, estimator, fraction)
    repeats = kind is Dropping and fraction < 1  # masks of the part would not be those that all had
    assert again.forwards - once == (0 if repeats else 4 * fraction)
    if kind is ConvModel:  # else each pass of its own draws masks of its own
        for one, other in zip(shared, apart, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("fraction", "counted"), [(0.5, 2), (1.0, 3)])
def test_on_standardized_scores_the_norm_of_the_part_is_over_the_variance_of_the_whole_batch(
    fraction: float, counted: int
) -> None:
    model, images = ConvModel().train(), photos()
    constant = with_constant_statistics(model, images)
    penalty_of = StandardizedNormRegularization(
        FiniteDifference(), 0.1, deviation=5.0, statistics="clean", fraction=fraction
    )
    variance = constant(images).detach().numpy().var()
    expected = 0.1 * 5**2 * measured(constant, images[:counted], FiniteDifference()) / variance
    torch.testing.assert_close(penalty_of(model, images).penalty, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("penalty_of", PENALTIES)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"statistics": "clen"}, "statistics must be 'own' or 'clean', got 'clen'."),
        ({"statistics": "clean", "fraction": 0.0}, "fraction must be above 0 and at most 1, got 0.0."),
        ({"statistics": "clean", "fraction": 1.5}, "fraction must be above 0 and at most 1, got 1.5."),
        ({"fraction": 0.5}, "fraction takes statistics 'clean': those of a part are not those of the batch."),
    ],
)
def test_statistics_and_fractions_that_make_no_sense_are_refused(
    penalty_of: Callable[..., Penalty], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        penalty_of(**values)
