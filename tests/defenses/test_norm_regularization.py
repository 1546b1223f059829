"""Norm regularization as one uses it in a training loop: shared passes, statistics, dropout, half precision."""

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
from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormEstimator,
    NormRegularization,
)
from robustiqa.models.hyperiqa import HyperIQA
from tests.toys import ConvModel, LinearModel

ESTIMATORS: list[NormEstimator] = [FiniteDifference(), CentralDifference(), DoubleBackward()]
DIFFERENCES: list[NormEstimator] = [FiniteDifference(), CentralDifference()]
MOS = torch.tensor([20.0, 45.0, 60.0])


class NoisyLinear(nn.Module):
    """A linear score plus what dropout leaves of a hundred ones: its input gradient is the same for every mask."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.randn(3, 6, 6))
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        noise = self.dropout(images.new_ones(len(images), 100)).sum(1)
        scores: Tensor = (self.slopes * images).flatten(1).sum(1) + noise
        return scores


class HalfPrecisionLinear(nn.Module):
    """A linear score that is computed in float16 and made `unit` times as large in float32."""

    def __init__(self, slopes: Tensor, unit: float) -> None:
        super().__init__()
        self.slopes = nn.Parameter(slopes)
        self.unit = unit

    def forward(self, images: Tensor) -> Tensor:
        products = self.slopes.half() * images.half()
        return products.flatten(1).sum(1).float() * self.unit


def photos(count: int = 3, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side)


def gradients(model: nn.Module) -> Tensor:
    """All weight gradients in one vector."""
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def separate_passes(model: nn.Module, images: Tensor, h: float, weight: float) -> Tensor:
    """The training loss as three passes that share nothing: one for the loss, two for the penalty."""
    loss = F.l1_loss(model(images), MOS)
    leaf = images.clone().requires_grad_()
    clean = model(leaf)
    (gradient,) = torch.autograd.grad(clean.sum(), leaf, retain_graph=True)
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    moved = model(images + h * std * gradient.sign())
    penalty: Tensor = ((moved - clean) / h).square().mean()
    return loss + weight * penalty


@pytest.mark.parametrize("training", [False, True])
def test_sharing_the_clean_pass_gives_the_weight_gradients_of_separate_passes(training: bool) -> None:
    images = photos()
    model = ConvModel().train(training)
    apart = copy.deepcopy(model)
    scores, penalty = NormRegularization(FiniteDifference(h=0.02), weight=0.01)(model, images)
    torch.autograd.backward(F.l1_loss(scores, MOS) + penalty)
    torch.autograd.backward(separate_passes(apart, images, h=0.02, weight=0.01))
    torch.testing.assert_close(gradients(model), gradients(apart), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_penalty_is_weight_times_the_mean_squared_norm(estimator: NormEstimator) -> None:
    model, images = ConvModel().eval(), photos()
    _, norms = estimator(model, images, 1.0)
    _, penalty = NormRegularization(estimator, weight=0.3)(model, images)
    assert penalty.item() == pytest.approx(0.3 * sum(norm**2 for norm in norms.tolist()) / 3, rel=1e-5)


def test_weight_zero_is_a_plain_forward_pass() -> None:
    model, images = ConvModel().train(), photos()
    plain = copy.deepcopy(model)
    passes: list[int] = []
    model.register_forward_pre_hook(lambda module, arguments: passes.append(1))
    scores, penalty = NormRegularization(weight=0.0)(model, images)
    torch.autograd.backward(F.l1_loss(scores, MOS) + penalty)
    torch.autograd.backward(F.l1_loss(plain(images), MOS))
    assert len(passes) == 1
    assert penalty.shape == () and penalty.item() == 0
    assert torch.equal(gradients(model), gradients(plain))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("build", [ConvModel, lambda: HyperIQA(backbone="mobilenetv2_100")], ids=["toy", "mobilenet"])
def test_batch_norm_moves_as_in_one_clean_pass(estimator: NormEstimator, build: Callable[[], nn.Module]) -> None:
    model = build()
    regularized, clean = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    images = photos(2, side=224)
    NormRegularization(estimator)(regularized, images)
    clean(images)
    moved = dict(regularized.named_buffers())
    assert any(name.endswith("num_batches_tracked") and count == 1 for name, count in moved.items())
    for name, value in clean.named_buffers():
        torch.testing.assert_close(moved[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("estimator", DIFFERENCES)
def test_perturbed_passes_use_the_statistics_of_their_own_batch(estimator: NormEstimator) -> None:
    model, images = ConvModel().train(), photos()
    _, norms = estimator(model, images, 1.0)
    without_running = copy.deepcopy(model)
    for part in without_running.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = part.running_var = None
    _, expected = estimator(without_running, images, 1.0)
    assert torch.equal(norms, expected)


@pytest.mark.parametrize("estimator", DIFFERENCES)
def test_batch_norm_tracks_again_after_a_perturbed_pass_that_failed(estimator: NormEstimator) -> None:
    model, images = ConvModel().train(), photos()
    passes: list[int] = []

    def fail_on_the_second(module: nn.Module, arguments: tuple[Tensor]) -> None:
        passes.append(1)
        if len(passes) == 2:
            raise RuntimeError("out of memory")

    handle = model.register_forward_pre_hook(fail_on_the_second)
    with pytest.raises(RuntimeError, match="out of memory"):
        estimator(model, images, 1.0)
    handle.remove()
    model(images)
    assert [part.num_batches_tracked for part in model.modules() if isinstance(part, nn.BatchNorm2d)] == [2]


@pytest.mark.parametrize("estimator", DIFFERENCES)
def test_batch_norm_that_does_not_track_is_not_made_to(estimator: NormEstimator) -> None:
    norm = nn.BatchNorm2d(1, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(3, 1, 8), norm, nn.Flatten(0)).train()
    estimator(model, photos(), 1.0)
    assert not norm.track_running_stats


@pytest.mark.parametrize("estimator", DIFFERENCES)
def test_dropout_masks_are_the_same_in_every_pass(estimator: NormEstimator) -> None:
    model = NoisyLinear().train()
    _, norms = estimator(model, photos(side=6), 1.0)
    exact = model.slopes.abs().sum().item()  # other masks would add some ten over h, a thousand
    assert norms.tolist() == pytest.approx([exact] * 3, rel=1e-2)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_global_generator_ends_where_the_clean_pass_leaves_it(estimator: NormEstimator) -> None:
    model, images = NoisyLinear().train(), photos(side=6)
    torch.manual_seed(3)
    expected_scores, expected_draw = model(images), torch.rand(4)
    torch.manual_seed(3)
    scores, _ = NormRegularization(estimator)(model, images)
    assert torch.equal(scores, expected_scores)
    assert torch.equal(torch.rand(4), expected_draw)


@pytest.mark.parametrize("scale", [1024.0, 65536.0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_gradient_scale_changes_nothing_in_float32(estimator: NormEstimator, scale: float) -> None:
    model, images = ConvModel().eval(), photos()
    penalize = NormRegularization(estimator)
    assert torch.equal(penalize(model, images).penalty, penalize(model, images, gradient_scale=scale).penalty)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_gradient_scale_rescues_gradients_that_half_precision_loses(estimator: NormEstimator) -> None:
    # 2^-12 * 2^-14 is below the smallest float16, 2^-24; 2^16 times it is not
    signs = torch.randint(2, (3, 6, 6)).float() * 2 - 1
    model, images = HalfPrecisionLinear(2**-12 * signs, unit=2**-14), 0.5 + torch.zeros(2, 3, 6, 6)
    _, lost = estimator(model, images, 1.0)
    _, norms = estimator(model, images, 2.0**16)
    assert lost.tolist() == [0, 0]
    assert norms.tolist() == pytest.approx([2**-26 * 108] * 2, rel=0.02)


def test_a_gradient_scaler_leaves_the_training_step_as_it_is() -> None:
    images, results = photos(), []
    for scaler in (torch.amp.GradScaler("cpu", init_scale=2.0**12), torch.amp.GradScaler("cpu", enabled=False)):
        model = ConvModel().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        scores, penalty = NormRegularization(weight=0.1)(model, images, gradient_scale=scaler.get_scale())
        torch.autograd.backward(scaler.scale(F.l1_loss(scores, MOS) + penalty))
        scaler.step(optimizer)
        results.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_bf16_autocast_stays_near_float32(estimator: NormEstimator) -> None:
    model, images = HyperIQA(backbone="resnet18").eval(), photos(2, side=224)
    _, expected = estimator(model, images, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        scores, norms = estimator(model, images, 1.0)
    assert scores.dtype == norms.dtype == torch.float32
    torch.testing.assert_close(norms, expected, rtol=0.05, atol=0)  # with a bf16 head, off by up to a half


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_stranger_without_input_statistics_is_measured_in_pixels(estimator: NormEstimator) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 1), nn.Flatten(0))
    in_pixels = type(estimator)(space="pixel")  # type: ignore[call-arg]
    images = photos()
    assert torch.equal(estimator(model, images, 1.0)[1], in_pixels(model, images, 1.0)[1])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_model_inside_a_data_parallel_wrapper_is_measured_in_its_own_input(estimator: NormEstimator) -> None:
    class Parallel(nn.Module):  # keeps the model where DistributedDataParallel does
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = self.module(images)
            return scores

    model, images = ConvModel().eval(), photos()
    assert torch.equal(estimator(Parallel(model), images, 1.0)[1], estimator(model, images, 1.0)[1])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_training_with_the_penalty_lowers_the_norm(estimator: NormEstimator) -> None:
    model, images = LinearModel.random(side=8, size=0.1).train(), photos()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    before = model.slopes.abs().sum().item()
    for _ in range(20):
        optimizer.zero_grad()
        _, penalty = NormRegularization(estimator, weight=1.0)(model, images)
        torch.autograd.backward(penalty)
        optimizer.step()
    # each step takes 1e-4 * 2 * norm from each of 192 slopes
    assert model.slopes.abs().sum().item() < 0.7 * before


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scores_of_another_shape_are_refused(estimator: NormEstimator) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
    with pytest.raises(InputError) as refused:
        NormRegularization(estimator)(model, photos())
    assert str(refused.value) == ("a quality model must return floating-point scores of shape (3,), got shape (3, 1).")


@pytest.mark.parametrize("weight", [-1e-3, float("nan")])
def test_negative_weights_are_refused(weight: float) -> None:
    with pytest.raises(InputError) as refused:
        NormRegularization(weight=weight)
    assert str(refused.value) == f"the weight of norm regularization must be at least 0, got {weight}."


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
def test_with_clean_statistics_the_norm_is_that_of_constant_ones(estimator: NormEstimator) -> None:
    model, images = ConvModel().train(), photos()
    constant = with_constant_statistics(model, images)
    scores, penalty = NormRegularization(estimator, 0.1, statistics="clean")(model, images)
    torch.testing.assert_close(penalty, 0.1 * measured(constant, images, estimator), rtol=1e-3, atol=0)
    torch.testing.assert_close(scores, ConvModel().train()(images))
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_with_clean_statistics_batch_norm_moves_as_in_one_clean_pass(estimator: NormEstimator) -> None:
    model, plain, images = ConvModel().train(), ConvModel().train(), photos()
    NormRegularization(estimator, 0.1, statistics="clean")(model, images)
    plain(images)
    for found, expected in zip(model.buffers(), plain.buffers(), strict=True):
        assert torch.equal(found, expected)


def test_with_clean_statistics_shrinking_weights_before_batch_norm_gains_nothing() -> None:
    """The penalty does not change with their scale, so its gradient has no part along them."""
    model, images = ConvModel().double().train(), photos().double()
    layer = model.body[0]
    assert isinstance(layer, nn.Conv2d)
    _, penalty = NormRegularization(FiniteDifference(), 0.1, "clean")(model, images)
    (gradient,) = torch.autograd.grad(penalty, layer.weight)
    assert gradient.norm() > 0
    along = (gradient * layer.weight).sum() / (gradient.norm() * layer.weight.norm())
    assert along.abs() < 1e-3  # not 0: batch norm adds 1e-5 to the variance
    frozen = with_constant_statistics(model, images)
    weight = frozen.get_parameter("body.0.weight")
    (constant,) = torch.autograd.grad(0.1 * measured(frozen, images, FiniteDifference()), weight)
    assert (constant * layer.weight).sum() / (constant.norm() * layer.weight.norm()) > 0.1


def test_with_clean_statistics_weight_gradients_are_those_of_a_difference_quotient() -> None:
    model, images = ConvModel().double().train(), photos().double()
    nt = NormRegularization(FiniteDifference(), 1e-3, "clean", 0.67)
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


def test_what_moves_all_images_alike_is_seen_with_clean_statistics_only() -> None:
    model, images = Shifted().train(), photos()
    hidden = NormRegularization(FiniteDifference(), 1.0)(model, images).penalty
    seen = NormRegularization(FiniteDifference(), 1.0, "clean")(model, images).penalty
    assert hidden < 1e-3 * seen


@pytest.mark.parametrize(("fraction", "counted"), [(0.34, 2), (0.5, 2), (1 / 3, 1), (1.0, 3)])
def test_the_norm_is_measured_on_a_fraction_of_the_batch(fraction: float, counted: int) -> None:
    model, images = ConvModel().train(), photos()
    constant = with_constant_statistics(model, images)
    _, penalty = NormRegularization(FiniteDifference(), 0.1, "clean", fraction)(model, images)
    expected = 0.1 * measured(constant, images[:counted], FiniteDifference())
    torch.testing.assert_close(penalty, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"statistics": "clen"}, "statistics must be 'own' or 'clean', got 'clen'."),
        ({"statistics": "clean", "fraction": 0.0}, "fraction must be above 0 and at most 1, got 0.0."),
        ({"statistics": "clean", "fraction": 1.5}, "fraction must be above 0 and at most 1, got 1.5."),
        ({"fraction": 0.5}, "fraction takes statistics 'clean': those of a part are not those of the batch."),
    ],
)
def test_statistics_and_fractions_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        NormRegularization(**values)
