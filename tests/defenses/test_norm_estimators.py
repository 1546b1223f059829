"""Each estimator of the gradient's L1 norm against closed forms and a per-pixel oracle, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustiqa.core.errors import InputError
from robustiqa.core.model import IMAGENET_STD, QualityModel
from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormEstimator,
    NormRegularization,
    Space,
)
from tests.toys import ConstantModel, ConvModel

ESTIMATORS: dict[str, Callable[[Space], NormEstimator]] = {
    "finite_difference": lambda space: FiniteDifference(h=0.01, space=space),
    "central_difference": lambda space: CentralDifference(h=0.01, space=space),
    "double_backward": lambda space: DoubleBackward(space=space),
}
FORWARD_PASSES = {"finite_difference": 2, "central_difference": 3, "double_backward": 1}


class NormalizedLinear(QualityModel):
    """`sum(slopes * normalized)`: its gradient is `slopes` in the input and `slopes / std` in pixels."""

    def __init__(self, slopes: Tensor) -> None:
        super().__init__()
        self.slopes = nn.Parameter(slopes)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return (self.slopes * normalized).flatten(1).sum(1)


class TokenAttention(nn.Module):
    """Pixels attend to each other; any input size, no `input_std`."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 24)
        self.judge = nn.Linear(8, 1)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images.flatten(2).transpose(1, 2))  # (N, H * W, 24)
        query, key, value = tokens.chunk(3, dim=-1)
        read = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])  # (N, 1, H * W, 8)
        scores: Tensor = self.judge(read.square().mean((1, 2)))[:, 0]
        return scores


def photos(count: int = 2, side: int = 6) -> Tensor:
    return torch.rand(count, 3, side, side, dtype=torch.float64)


def norm_by_central_differences(model: nn.Module, image: Tensor, h: float = 1e-5) -> float:
    """L1 norm of the pixel gradient of one image (3, H, W), a pixel at a time, in units of the model's input."""
    total = 0.0
    for channel in range(3):
        for place in range(image[0].numel()):
            step = torch.zeros_like(image)
            step[channel].view(-1)[place] = h
            with torch.no_grad():
                ahead, behind = model(torch.stack([image + step, image - step])).tolist()
            total += abs(ahead - behind) / (2 * h) * IMAGENET_STD[channel]
    return total


def parameter_gradients(model: nn.Module, penalty: Tensor) -> Tensor:
    """All weight gradients in one vector."""
    found = torch.autograd.grad(penalty, list(model.parameters()), materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


@pytest.mark.parametrize("space", ["input", "pixel"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_penalty_of_a_linear_model_is_the_squared_l1_norm_of_its_slopes(name: str, space: Space) -> None:
    slopes = torch.randn(3, 6, 6, dtype=torch.float64)
    per_unit = slopes if space == "input" else slopes / torch.tensor(IMAGENET_STD)[:, None, None]
    model = NormalizedLinear(slopes).double()
    _, penalty = NormRegularization(ESTIMATORS[name](space), weight=0.5)(model, photos())
    assert penalty.item() == pytest.approx(0.5 * per_unit.abs().sum().item() ** 2, rel=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_gradient_of_a_linear_models_penalty_is_twice_norm_times_sign(name: str) -> None:
    model = NormalizedLinear(torch.randn(3, 6, 6, dtype=torch.float64)).double()
    _, penalty = NormRegularization(ESTIMATORS[name]("input"), weight=1.0)(model, photos())
    expected = 2 * model.slopes.abs().sum() * model.slopes.sign()
    torch.testing.assert_close(parameter_gradients(model, penalty), expected.flatten(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("edge", [0.0, 1.0])
@pytest.mark.parametrize("name", ["finite_difference", "central_difference"])
def test_the_perturbed_images_are_not_clipped(name: str, edge: float) -> None:
    model = NormalizedLinear(torch.randn(3, 6, 6, dtype=torch.float64)).double()
    _, norms = ESTIMATORS[name]("input")(model, torch.full((1, 3, 6, 6), edge, dtype=torch.float64), 1.0)
    assert norms.item() == pytest.approx(model.slopes.abs().sum().item(), rel=1e-6)


def test_double_backward_equals_a_difference_quotient_taken_pixel_by_pixel() -> None:
    model = ConvModel().eval().double()
    images = photos()
    _, norms = DoubleBackward()(model, images)
    oracle = [norm_by_central_differences(model, image) for image in images]
    assert norms.tolist() == pytest.approx(oracle, rel=1e-6)


def errors_at(estimator: type[FiniteDifference] | type[CentralDifference], steps: list[float]) -> list[float]:
    """How far an estimator is from the exact norm of one image at several h."""
    model = ConvModel().eval().double()
    images = photos(count=1)
    _, exact = DoubleBackward()(model, images)
    return [(estimator(h=h)(model, images)[1] - exact).abs().item() for h in steps]


@pytest.mark.parametrize(("estimator", "ratio"), [(FiniteDifference, 2), (CentralDifference, 4)])
def test_halving_h_divides_the_error_by_two_or_for_central_differences_by_four(
    estimator: type[FiniteDifference] | type[CentralDifference], ratio: int
) -> None:
    first, second, third = errors_at(estimator, [0.02, 0.01, 0.005])
    assert first / second == pytest.approx(ratio, rel=0.05)
    assert second / third == pytest.approx(ratio, rel=0.05)


@pytest.mark.parametrize("name", ["finite_difference", "central_difference"])
def test_weight_gradients_of_differences_tend_to_those_of_the_exact_penalty(name: str) -> None:
    estimator = {"finite_difference": FiniteDifference, "central_difference": CentralDifference}[name](h=1e-5)
    model = ConvModel().eval().double()
    images = photos()
    _, exact = NormRegularization(DoubleBackward())(model, images)
    _, near = NormRegularization(estimator)(model, images)
    expected = parameter_gradients(model, exact)
    off = (parameter_gradients(model, near) - expected).norm() / expected.norm()
    assert off < 1e-3


@pytest.mark.parametrize("name", ESTIMATORS)
def test_clean_scores_are_shared_and_the_model_runs_as_often_as_said(name: str) -> None:
    model = ConvModel().eval()
    images = torch.rand(3, 3, 8, 8)
    expected = model(images)
    passes: list[int] = []
    model.register_forward_pre_hook(lambda module, arguments: passes.append(len(arguments[0])))
    scores, _ = ESTIMATORS[name]("input")(model, images, 1.0)
    assert torch.equal(scores, expected)
    assert passes == [3] * FORWARD_PASSES[name]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_pixels_without_a_gradient_stay_and_a_constant_model_has_norm_zero(name: str) -> None:
    _, norms = ESTIMATORS[name]("input")(ConstantModel(), torch.rand(2, 3, 4, 4), 1.0)
    assert norms.tolist() == [0, 0]


def test_double_backward_differentiates_attention_twice() -> None:  # the kernel that torch prefers can't be
    model = TokenAttention().double()
    images = photos(count=2, side=4)
    _, exact = NormRegularization(DoubleBackward())(model, images)
    _, near = NormRegularization(CentralDifference(h=1e-4))(model, images)
    expected = parameter_gradients(model, near)
    assert exact.item() == pytest.approx(near.item(), rel=1e-4)
    assert (parameter_gradients(model, exact) - expected).norm() / expected.norm() < 1e-3


def wrapped_by_compile() -> nn.Module:
    compiled = nn.Module()  # torch.compile wraps a module in one that keeps it as _orig_mod
    compiled._orig_mod = ConvModel()
    return compiled


def compiled_in_place() -> nn.Module:
    model = ConvModel()
    model._compiled_call_impl = model._call_impl  # what model.compile() sets
    return model


@pytest.mark.parametrize(
    "compiled", [wrapped_by_compile(), compiled_in_place(), nn.Sequential(nn.Identity(), compiled_in_place())]
)
def test_double_backward_refuses_a_compiled_model(compiled: nn.Module) -> None:
    with pytest.raises(InputError) as refused:
        DoubleBackward()(compiled, torch.rand(1, 3, 4, 4))
    assert str(refused.value) == (
        "a compiled model can't be differentiated twice; give DoubleBackward the model before torch.compile."
    )


@pytest.mark.parametrize("estimator", [FiniteDifference, CentralDifference])
@pytest.mark.parametrize("h", [0.0, -0.01, float("nan")])
def test_steps_that_are_not_positive_are_refused(
    estimator: type[FiniteDifference] | type[CentralDifference], h: float
) -> None:
    with pytest.raises(InputError) as refused:
        estimator(h=h)
    assert str(refused.value) == f"h must be greater than 0, got {h}."


@pytest.mark.parametrize("name", ESTIMATORS)
def test_unknown_spaces_are_refused(name: str) -> None:
    with pytest.raises(InputError) as refused:
        ESTIMATORS[name]("pixels")  # type: ignore[arg-type]
    assert str(refused.value) == "space must be 'input' or 'pixel', got 'pixels'."
