from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustiqa.core.errors import InputError
from robustiqa.defenses import estimators, norm_regularization, penalties
from robustiqa.defenses.norm_regularization import CentralDifference, DoubleBackward, FiniteDifference
from robustiqa.published.norm_regularization import NormRegularization
from tests.toys import ConvModel

MOS = torch.tensor([20.0, 45.0, 60.0])
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class Parallel(nn.Module):
    """Keeps a model where DistributedDataParallel does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.module(images)
        return scores


def photos() -> Tensor:
    return torch.rand(3, 3, 8, 8)


def released_step(model: nn.Module, images: Tensor, h: float, weight: float) -> Tensor:
    """The loss of the released training loop: a pass for the L1 loss, two more for half the squared difference."""
    loss = F.l1_loss(model(images), MOS)
    leaf = images.clone().requires_grad_()
    clean = model(leaf)
    (gradient,) = torch.autograd.grad(clean.sum(), leaf, retain_graph=True)
    moved = model(images + h * STD * gradient.sign())
    penalty: Tensor = 0.5 * ((moved - clean) / h).square().mean()
    return loss + weight * penalty


def our_step(model: nn.Module, images: Tensor, h: float, weight: float) -> Tensor:
    scores, penalty = NormRegularization(FiniteDifference(h=h), weight)(model, images)
    return F.l1_loss(scores, MOS) + penalty


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]


@pytest.mark.parametrize("training", [False, True])
def test_loss_and_weight_gradients_are_those_of_the_released_three_passes(training: bool) -> None:
    images = photos()
    ours = ConvModel().train(training)
    released = copy.deepcopy(ours)
    loss, expected = our_step(ours, images, 0.02, 0.1), released_step(released, images, 0.02, 0.1)
    torch.autograd.backward([loss, expected])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for weight, other in zip(ours.parameters(), released.parameters(), strict=True):
        assert weight.grad is not None and other.grad is not None
        torch.testing.assert_close(weight.grad, other.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
def test_running_statistics_end_where_three_passes_leave_them(momentum: float | None) -> None:
    ours = ConvModel().train()
    (norm,) = batch_norms(ours)
    norm.momentum = momentum
    ours(photos())  # so that there are statistics to start from
    released = copy.deepcopy(ours)
    for _ in range(2):
        images = photos()
        our_step(ours, images, 0.5, 0.1)
        released_step(released, images, 0.5, 0.1)
    (expected,) = batch_norms(released)
    assert norm.num_batches_tracked == expected.num_batches_tracked == 7
    assert norm.momentum == momentum
    torch.testing.assert_close(norm.running_mean, expected.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var, expected.running_var, rtol=1e-5, atol=1e-6)


def test_running_mean_is_729_old_171_clean_100_perturbed() -> None:
    class Channels(nn.Module):
        """Its score rises with every pixel, so the perturbed batch is h brighter."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3, affine=False)

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = images.flatten(1).sum(1) + 0 * self.norm(images).flatten(1).sum(1)
            return scores

    model, images = Channels().train(), photos()
    model.norm.running_mean = torch.tensor([1.0, 2.0, 3.0])
    NormRegularization(FiniteDifference(h=0.25), weight=1.0)(model, images)
    clean = images.mean((0, 2, 3))
    expected = 0.729 * torch.tensor([1.0, 2.0, 3.0]) + 0.171 * clean + 0.1 * (clean + 0.25)
    torch.testing.assert_close(model.norm.running_mean, expected)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_frozen_batch_norm_stays_where_it_is(weight: float) -> None:
    model = ConvModel().train()
    (norm,) = batch_norms(model)
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    our_step(model, photos(), 0.01, weight)
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name])


def test_weight_zero_is_one_plain_pass() -> None:
    model, images = ConvModel().train(), photos()
    plain = copy.deepcopy(model)
    scores, penalty = NormRegularization(weight=0.0)(model, images)
    assert torch.equal(scores, plain(images))
    assert penalty.item() == 0
    assert all(torch.equal(ours, other) for ours, other in zip(model.buffers(), plain.buffers(), strict=True))


def test_two_passes_are_made_and_the_momentum_is_restored_if_one_fails() -> None:
    model = ConvModel().train()
    passes: list[int] = []

    def fail_later(module: nn.Module, arguments: tuple[Tensor]) -> None:
        passes.append(1)
        if len(passes) == 3:
            raise RuntimeError("out of memory")

    model.head.register_forward_pre_hook(fail_later)
    NormRegularization()(model, photos())
    assert len(passes) == 2
    with pytest.raises(RuntimeError, match="out of memory"):
        NormRegularization()(model, photos())
    assert [norm.momentum for norm in batch_norms(model)] == [0.1]


def test_a_wrapped_model_is_measured_in_its_own_input_too() -> None:
    model, images = ConvModel().eval(), photos()
    wrapped = NormRegularization()(Parallel(model), images)
    assert wrapped.penalty.item() == NormRegularization()(model, images).penalty.item()


def test_the_registry_builds_it_and_it_is_half_of_the_papers_penalty() -> None:
    model, images = ConvModel().eval(), photos()
    step = estimators.create("finite_difference", h=0.02, space="pixel")
    published = penalties.create("nt-published", estimator=step, weight=0.01)
    paper = norm_regularization.NormRegularization(estimator=step, weight=0.01)
    assert published(model, images).penalty.item() == pytest.approx(paper(model, images).penalty.item() / 2)


@pytest.mark.parametrize("estimator", [CentralDifference(), DoubleBackward()])
def test_estimators_that_the_released_code_does_not_have_are_refused(
    estimator: CentralDifference | DoubleBackward,
) -> None:
    with pytest.raises(InputError) as refused:
        NormRegularization(estimator=estimator)  # type: ignore[arg-type]
    assert str(refused.value) == (
        "the released code has no estimator but FiniteDifference, "
        f"got {type(estimator).__name__}; the penalty 'nt' takes any."
    )


def test_negative_weights_are_refused_as_they_were_given() -> None:
    with pytest.raises(InputError) as refused:
        NormRegularization(weight=-1.0)
    assert str(refused.value) == "the weight of norm regularization must be at least 0, got -1.0."
