"""Norm regularization as one uses it in a training loop: shared passes, statistics, dropout, half precision."""

from __future__ import annotations

import copy
from collections.abc import Callable

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
