"""Batch norm of further passes with the statistics of an earlier one, gradients through them included.

A network in training mode normalizes each pass with the statistics of its own batch, so what a perturbation does to
all images alike is gone after the first such layer: a penalty on the change of the scores can't see it. Two nearby
remedies fail. Freezing the layers, as at test, takes from training what batch norm is for. Frozen layers in the
penalty's passes alone invite shrinking weights: the loss, normalized by its batch, does not mind, and statistics
that are constants in the penalty let its norm shrink with them. Here the penalty's passes use the clean pass's
statistics as functions of the weights, which scale as the activations do: nothing is gained by shrinking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from robustiqa.core.recomputation import surroundings

DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
SAMPLERS = {torch.bernoulli, Tensor.bernoulli_, torch.rand, torch.rand_like, torch.randn, torch.randn_like}


class CleanStatistics(TorchFunctionMode):
    """Notes the statistics of every batch norm in training mode that runs within it; `again` normalizes with them.

        with CleanStatistics() as clean:
            scores = model(images)
        with clean.held():
            (gradient,) = torch.autograd.grad(scores.sum(), images, retain_graph=True)
        with clean.again():
            moved = model(images + step)

    Under `held` gradients take the statistics for constants, as if the images had been passed under `again`: what a
    change of all images would do to the statistics is left out, and the pass of the loss need not be repeated for it.
    Calls are told apart by their order, so passes under `again` are of the same network, each whole; it starts anew
    with each. Running statistics stay, but for their count of batches. Layers at test are left alone. Not for compiled
    networks. What a gradient checkpoint computes again is neither noted nor counted again.

    Attributes:
        drew: Whether the pass called a function that draws at random, as far as torch's own are known; seen also where
            a pass is only counted and no generator moves.
    """

    def __init__(self, held: _Held | None = None) -> None:
        super().__init__()
        self._noted: list[tuple[Tensor, Tensor]] = []  # mean and variance (C,), attached, call by call
        self._held = held or _Held()
        self.drew = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any function of torch, as it is; of `batch_norm` in training mode the statistics are noted."""
        kwargs = kwargs or {}
        if func is surroundings:
            return [*func(*args, **kwargs), partial(CleanStatistics, self._held)]
        self.drew = self.drew or _draws(func, kwargs)
        if func is not F.batch_norm or not kwargs["training"]:
            return func(*args, **kwargs)
        values, *running = args
        mean, variance = _Statistics.apply(values, self._held, running, kwargs["momentum"])
        self._noted.append((mean, variance))
        return _normalized(values, mean, variance, kwargs)

    @contextmanager
    def held(self) -> Iterator[None]:
        """No gradient flows through the noted statistics."""
        self._held.now = True
        try:
            yield
        finally:
            self._held.now = False

    @contextmanager
    def again(self) -> Iterator[None]:
        """Batch norm in training mode normalizes with the noted statistics, through which gradients flow."""
        with _Again(self._noted):
            yield


class _Again(TorchFunctionMode):
    def __init__(self, noted: list[tuple[Tensor, Tensor]], calls: int = 0) -> None:
        super().__init__()
        self._noted = noted
        self._calls = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is surroundings:
            return [*func(*args, **kwargs), partial(_Again, self._noted, self._calls)]
        if func is not F.batch_norm or not kwargs["training"]:
            return func(*args, **kwargs)
        mean, variance = self._noted[self._calls % len(self._noted)]
        self._calls += 1
        return _normalized(args[0], mean, variance, kwargs)


def _draws(func: Any, kwargs: dict[str, Any]) -> bool:
    return func in SAMPLERS or (func in DROPOUTS and kwargs["training"] and kwargs["p"] > 0)


@dataclass
class _Held:
    now: bool = False


def _normalized(values: Tensor, mean: Tensor, variance: Tensor, kwargs: dict[str, Any]) -> Tensor:
    """Batch norm of (N, C, ...) with given statistics (C,), differentiable in them, too."""
    scale = (variance + kwargs["eps"]).rsqrt()
    if kwargs["weight"] is not None:
        scale = scale * kwargs["weight"]
    shift = -mean * scale
    if kwargs["bias"] is not None:
        shift = shift + kwargs["bias"]
    return _affine(values, scale, shift)


class _Statistics(torch.autograd.Function):
    """Mean and variance (C,) of (N, C, ...), at least float32; several times as fast as `torch.var_mean`.

    Moves the running statistics (mean and variance, or None) as batch norm does.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, held: _Held, running: Sequence[Tensor | None], momentum: float
    ) -> tuple[Tensor, Tensor]:
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        mean, variance = torch.batch_norm_update_stats(wide, running[0], running[1], momentum)
        ctx.save_for_backward(values, mean)
        ctx.held = held
        return mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        if ctx.held.now:
            return None, None, None, None
        values, mean = ctx.saved_tensors
        each = len(mean) / values.numel()
        slope = 2 * each * gradients[1]
        return _affine(values, slope, each * gradients[0] - slope * mean), None, None, None


def _affine(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`scale * values + shift` channel by channel, in the fused kernel of batch norm at test."""
    return F.batch_norm(values, torch.zeros_like(scale), torch.ones_like(scale), scale, shift, training=False, eps=0.0)
