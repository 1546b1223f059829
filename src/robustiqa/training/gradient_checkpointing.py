"""Gradient checkpointing: a network's blocks keep what they take in, and are run again in the backward pass.

Cost: a forward pass more for each backward pass through a graph. A training step takes 4 units for 3; with norm
regularization and `FiniteDifference` 10 for 7, with `DoubleBackward` 8 for 6.
Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"; `torch.utils.checkpoint`, not reentrant.
Deviations: a block that is run again finds what surrounded it: statistics that are not tracked, those of another pass
(`CleanStatistics`), kernels of attention, dropout's draws and autocast. It moves no running statistics and counts no
batch, so a step moves them as if nothing were run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from robustiqa.core.errors import InputError
from robustiqa.core.recomputation import surroundings

ROWS = (nn.Sequential, nn.ModuleList)
KERNELS: dict[SDPBackend, Callable[[], bool]] = {
    SDPBackend.MATH: torch.backends.cuda.math_sdp_enabled,
    SDPBackend.FLASH_ATTENTION: torch.backends.cuda.flash_sdp_enabled,
    SDPBackend.EFFICIENT_ATTENTION: torch.backends.cuda.mem_efficient_sdp_enabled,
    SDPBackend.CUDNN_ATTENTION: torch.backends.cuda.cudnn_sdp_enabled,
}


def checkpoint_gradients(model: nn.Module) -> list[nn.Module]:
    """Checkpoints a model's blocks from now on, in passes with gradients; scores and gradients stay the same.

    Blocks are the modules of several layers that stand in a row, such as a residual network's and a transformer's, the
    innermost where rows hold rows. Where there are none, as in VGG, each trunk is run again as a whole, which spares
    less: the passes of norm regularization are then not kept at once.

    Args:
        model: Changed in place; not for compiled ones.

    Returns:
        The blocks.

    Raises:
        InputError: if no part has several layers.
    """
    blocks = list(_blocks(model)) or [part for part in model.children() if _layers(part) > 1]
    if not blocks:
        raise InputError(f"{type(model).__name__} has no part of several layers to checkpoint; leave it out.")
    for block in blocks:
        if not isinstance(block.forward, _RunAgain):
            block.forward = _RunAgain(block.forward)
    return blocks


def _blocks(part: nn.Module) -> Iterator[nn.Module]:
    for child in part.children():
        inner = list(_blocks(child))
        if not inner and isinstance(part, ROWS) and not isinstance(child, ROWS) and _layers(child) > 1:
            yield child
        yield from inner


def _layers(part: nn.Module) -> int:
    """How many weights of two dimensions or more it has: convolutions and linear layers, and not their norms."""
    return sum(weight.ndim > 1 for weight in part.parameters())


class _RunAgain:
    """A module's forward pass, checkpointed; a copied or pickled module takes its own along.

    Args:
        forward: The pass as it was, a method of the module.
    """

    def __init__(self, forward: Any) -> None:
        assert isinstance(forward, MethodType)
        self._forward = forward

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._forward(*inputs, **options)
        block = self._forward.__self__
        assert isinstance(block, nn.Module)
        before = _AsBefore(block, inputs[0])
        return checkpoint(
            self._forward, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), before), **options
        )


class _AsBefore:
    """What surrounds a block when it runs; entered each time that it is run again.

    Args:
        block: About to run.
        values: That it takes in.
    """

    def __init__(self, block: nn.Module, values: Tensor) -> None:
        self._norms = [
            (part, part.track_running_stats)
            for part in block.modules()
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training
        ]
        self._kernels = [kernel for kernel, enabled in KERNELS.items() if enabled()]
        self._surroundings = surroundings(values)
        self._entered: list[ExitStack] = []

    def __enter__(self) -> None:
        with ExitStack() as stack:
            for norm, tracked in self._norms:
                stack.enter_context(_statistics_apart(norm, tracked))
            stack.enter_context(sdpa_kernel(self._kernels))
            for surrounding in self._surroundings:
                stack.enter_context(surrounding())
            self._entered.append(stack.pop_all())

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().close()


@contextmanager
def _statistics_apart(norm: nn.modules.batchnorm._BatchNorm, tracked: bool) -> Iterator[None]:
    """Lets a batch norm move copies of its statistics: without any, it would save fewer tensors than the first time."""
    own, tracking = dict(norm._buffers), norm.track_running_stats
    norm._buffers.update({name: None if held is None else held.clone() for name, held in own.items()})
    norm.track_running_stats = tracked
    try:
        yield
    finally:
        norm._buffers.update(own)
        norm.track_running_stats = tracking
