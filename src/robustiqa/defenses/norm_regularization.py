"""Norm-regularization training (NT): adds the squared L1 norm of the score's input gradient to the training loss.

Defends against: small L-infinity perturbations, which move a score by about eps times that norm (theorem 1).
Cost: a training step takes 7 units with `FiniteDifference` (2 forward passes, 1 input gradient, 2 full backward
passes) and 6 with `DoubleBackward`, where plain training takes 3 and the published code 10. With `clean` statistics 4
for clean pass, input gradient and loss, and `fraction` times 3; of up to a quarter of the batch, and with
`DoubleBackward`, 3 for the loss and `fraction` times 7 or 6 for the penalty, which then has a clean pass of its own.
Source: Liu et al. 2024, "Defense Against Adversarial Attacks on No-Reference Image Quality Models with Gradient
Norm Regularization", equations 5 to 7.
Deviations: the clean forward pass is shared with the IQA loss; the perturbed pass leaves batch-norm running
statistics alone and sees the clean pass's dropout masks. `robustiqa.published` has the released code's behavior.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from robustiqa.core.checks import check_scores
from robustiqa.core.errors import InputError
from robustiqa.core.parallel import bare, refuse_sharded, refuse_synced
from robustiqa.core.penalty import Penalized
from robustiqa.defenses.clean_statistics import CleanStatistics
from robustiqa.defenses.repeated_pass import Replay, frozen_statistics

Space = Literal["input", "pixel"]
Side = Literal["up", "random"]
Statistics = Literal["own", "clean"]
REPEATED = 0.25  # of a batch: up to this share, 3 + 7 share units of a pass of its own are at most 4 + 3 share


class NormEstimator(Protocol):
    """Estimates ||grad f||_1 an image, differentiably with respect to the weights."""

    def __call__(self, model: nn.Module, images: Tensor, gradient_scale: float) -> tuple[Tensor, Tensor]:
        """Clean scores (N,) and norms (N,), at least float32, both attached to the graph."""
        ...


@dataclass(frozen=True)
class NormRegularization:
    """The penalty `weight * mean(norm ** 2)`; call it instead of the model, then add it to the loss.

        nt = NormRegularization(estimator=FiniteDifference(h=0.01), weight=1e-3)
        scores, penalty = nt(model, images)
        (criterion(scores, mos) + penalty).backward()

    Works with any module from (N, 3, H, W) to scores (N,), under autocast, and with a gradient scaler.
    The weight is not scale-free: it depends on the score scale (0..100 here), the estimator and h.
    Under `DistributedDataParallel` one pass of a step goes through the wrapper, so gradients are averaged once.

    Args:
        estimator: How the norm is measured.
        weight: lambda of eq. 5; 0 makes the call a plain forward pass.
        statistics: What batch norm in training mode normalizes the penalty's passes with. `own`: each pass with its
            own; what a perturbation does to all images alike is normalized away, and the norm does not hold it.
            `clean`: all with those of the loss's clean pass, through which gradients flow. See `CleanStatistics`.
        fraction: Part of each batch that the norm is measured on, its first images, rounded up to whole ones; less than
            1 saves time, with `clean` only. Of several processes each takes that part of its own images.

    Source: Liu et al. 2024, eq. 5 (exact) and eq. 7 (finite difference).
    """

    estimator: NormEstimator = field(default_factory=lambda: FiniteDifference())
    weight: float = 1e-3
    statistics: Statistics = "own"
    fraction: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise InputError(f"the weight of norm regularization must be at least 0, got {self.weight}.")
        if self.statistics not in ("own", "clean"):
            raise InputError(f"statistics must be 'own' or 'clean', got {self.statistics!r}.")
        if not 0 < self.fraction <= 1:
            raise InputError(f"fraction must be above 0 and at most 1, got {self.fraction}.")
        if self.fraction < 1 and self.statistics == "own":
            raise InputError("fraction takes statistics 'clean': those of a part are not those of the batch.")

    def __call__(self, model: nn.Module, images: Tensor, *, gradient_scale: float = 1.0) -> Penalized:
        """One clean forward pass and the penalty.

        Args:
            model: In training or eval mode.
            images: (N, 3, H, W), in [0, 1].
            gradient_scale: What a gradient scaler multiplies losses by (`scaler.get_scale()`), so that the inner
                gradient of half-precision scores does not vanish.

        Raises:
            InputError: if the model does not return (N,) scores, or can't be differentiated as asked.
        """
        if self.weight == 0:
            scores = model(images)
            check_scores(scores, len(images))
            return Penalized(scores, scores.new_zeros(()))
        refuse_sharded(model)
        if self.statistics == "clean" or isinstance(self.estimator, DoubleBackward):
            refuse_synced(model)
        if self.statistics == "own":
            scores, norms = self.estimator(model, images, gradient_scale)
        else:
            scores, norms = self._with_clean_statistics(model, images, gradient_scale)
        return Penalized(scores, self.weight * norms.square().mean())

    def _with_clean_statistics(self, model: nn.Module, images: Tensor, gradient_scale: float) -> tuple[Tensor, Tensor]:
        """Clean scores of all and norms of the part, whose clean pass is that of the loss where this saves time."""
        estimator, count = self.estimator, ceil(self.fraction * len(images))
        part, clean, replay = images[:count], CleanStatistics(), Replay(images.device)
        if not isinstance(estimator, FiniteDifference | CentralDifference) or count <= REPEATED * len(images):
            with clean:
                scores = model(images)
            check_scores(scores, len(images))
        else:
            with clean:
                scores, leaf = _scores_of_leaf(model, images)
            # Masks drawn by the clean pass are those of all images, and repeat for all of them only.
            if count == len(images) or not (clean.drew or replay.drew):
                with clean.held():
                    direction = _sign(scores[:count], leaf, gradient_scale)[:count]
                with clean.again(), frozen_statistics(model):
                    return scores, estimator.norms(model, part, scores[:count], direction, replay)
        with clean.again(), frozen_statistics(model):
            return scores, estimator(bare(model), part, gradient_scale)[1]


@dataclass(frozen=True)
class FiniteDifference:
    """`|f(x + h d) - f(x)| / h` with `d = sign(grad f(x))`, held constant (eq. 6).

    Gradients reach the weights through both scores. x + h d is not clipped to [0, 1]; sign(0) = 0.

    As h goes to 0 both sides of x give the same norm. A step as long as an attack's leaves the linear range, and a
    network trained with it on one side learns to resist being raised while it can still be lowered.

    Args:
        h: Step length.
        space: `input` measures h in the model's normalized input (the published code), `pixel` in [0, 1] pixels.
        side: `up` steps along d (the paper), `random` along d or -d, drawn for each image from the global generator
            of its process.
    """

    h: float = 0.01
    space: Space = "input"
    side: Side = "up"

    def __post_init__(self) -> None:
        _check_step(self.h, self.space)
        if self.side not in ("up", "random"):
            raise InputError(f"side must be 'up' or 'random', got {self.side!r}.")

    def __call__(self, model: nn.Module, images: Tensor, gradient_scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """See `NormEstimator`."""
        replay = Replay(images.device)
        scores, leaf = _scores_of_leaf(model, images)
        direction = _sign(scores, leaf, gradient_scale)
        return scores, self.norms(model, images, scores, direction, replay)

    def norms(self, model: nn.Module, images: Tensor, scores: Tensor, direction: Tensor, replay: Replay) -> Tensor:
        """Norms (N,) of images whose clean scores (N,) and signs of gradients are known; `replay` of their pass."""
        step = self.h * _unit(model, images, self.space) * direction
        if self.side == "random":
            step = step * (2 * torch.randint(2, (len(images), 1, 1, 1), device=images.device) - 1)
        with replay(), frozen_statistics(model):
            moved = bare(model)(images + step)
        return (_wide(moved) - _wide(scores)).abs() / self.h


@dataclass(frozen=True)
class CentralDifference:
    """`|f(x + h d) - f(x - h d)| / 2h`: the curvature along d cancels; one forward and one backward pass more.

    Args:
        h: Step length to either side.
        space: As in `FiniteDifference`.
    """

    h: float = 0.01
    space: Space = "input"

    def __post_init__(self) -> None:
        _check_step(self.h, self.space)

    def __call__(self, model: nn.Module, images: Tensor, gradient_scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """See `NormEstimator`."""
        replay = Replay(images.device)
        scores, leaf = _scores_of_leaf(model, images)
        direction = _sign(scores, leaf, gradient_scale)
        return scores, self.norms(model, images, scores, direction, replay)

    def norms(self, model: nn.Module, images: Tensor, scores: Tensor, direction: Tensor, replay: Replay) -> Tensor:
        """Norms (N,) of images whose clean scores (N,) and signs of gradients are known; `replay` of their pass."""
        step = self.h * _unit(model, images, self.space) * direction
        with frozen_statistics(model):
            with replay():
                ahead = bare(model)(images + step)
            with replay():
                behind = bare(model)(images - step)
        return (_wide(ahead) - _wide(behind)).abs() / (2 * self.h)


@dataclass(frozen=True)
class DoubleBackward:
    """The exact norm by differentiating the gradient again (eq. 5); attention runs on its twice-differentiable kernel.

    Args:
        space: Of the gradient: with respect to normalized input, or to [0, 1] pixels.
    """

    space: Space = "input"

    def __post_init__(self) -> None:
        _check_step(1.0, self.space)

    def __call__(self, model: nn.Module, images: Tensor, gradient_scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """See `NormEstimator`."""
        if any(map(_is_compiled, model.modules())):
            raise InputError(
                "a compiled model can't be differentiated twice; give DoubleBackward the model before torch.compile."
            )
        leaf = images.detach().requires_grad_()
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            scores = model(leaf)
            check_scores(scores, len(images))
            (gradient,) = torch.autograd.grad(scores.sum() * gradient_scale, leaf, create_graph=True)
        weighted = _wide(gradient).abs() * _unit(model, images, self.space)
        return scores, weighted.flatten(1).sum(1) / gradient_scale


def _scores_of_leaf(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Clean scores with their graph, and the images at its root."""
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        scores = model(leaf)
    check_scores(scores, len(images))
    return scores, leaf


def _sign(scores: Tensor, leaf: Tensor, gradient_scale: float) -> Tensor:
    """The sign of each score's input gradient, detached; the graph stays."""
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(scores.sum() * gradient_scale, leaf, retain_graph=True)
    return gradient.sign()


def _is_compiled(part: nn.Module) -> bool:
    """Whether `torch.compile` wraps a module, or its own `compile()` was called."""
    return hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None


def _wide(values: Tensor) -> Tensor:
    """Half precision as float32, in which a small difference survives; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _unit(model: nn.Module, images: Tensor, space: Space) -> Tensor:
    """Pixels that one unit of `space` stands for, (C, 1, 1) or a scalar; 1 for a module without `input_std`."""
    inner = getattr(model, "module", model)  # DistributedDataParallel keeps the model there
    std = getattr(inner, "input_std", None)
    if space == "pixel" or std is None:
        return images.new_ones(())
    return torch.as_tensor(std, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)


def _check_step(h: float, space: str) -> None:
    if not h > 0:
        raise InputError(f"h must be greater than 0, got {h}.")
    if space not in ("input", "pixel"):
        raise InputError(f"space must be 'input' or 'pixel', got {space!r}.")
