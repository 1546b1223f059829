"""Parts of a network that stay in float32 under autocast.

Norm-regularization training measures what a step of a hundredth of a pixel's standard deviation does to the score.
bfloat16 keeps eight bits, so the first layers, where that step is smallest beside what it is added to, lose much of
it. A trained MobileNetV2 needs float32 up to stride 8 before the error of its estimate is small (docs/performance.md);
networks of depthwise convolutions are treated alike, others are kept exact up to stride 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

HIGHEST_STRIDE = 2  # of the maps that are kept in float32
DEPTHWISE_STRIDE = 8  # the same, in a network of depthwise convolutions


def keep_first_maps_exact(network: nn.Module, taps: list[dict[str, Any]]) -> None:
    """Keeps a timm network in float32 up to stride 2, or 8 if it is depthwise; those that begin at stride 4 not at all.

    Args:
        network: A feature extractor, which runs its children in order.
        taps: What timm says of its feature maps: `module` and `reduction`, the first one first.
    """
    if taps[0]["reduction"] > HIGHEST_STRIDE:
        return
    highest = DEPTHWISE_STRIDE if _is_depthwise(network) else HIGHEST_STRIDE
    last = [tap["module"] for tap in taps if tap["reduction"] <= highest][-1]
    for part in _up_to(network, last):
        run_in_float32(part)


def _is_depthwise(network: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1 for part in network.modules())


def run_in_float32(part: nn.Module) -> None:
    """Makes a module leave autocast while it runs; without autocast nothing changes."""
    part.register_forward_pre_hook(_leave_autocast)
    part.register_forward_hook(_return_to_autocast, always_call=True)


def _up_to(network: nn.Module, last: str) -> list[nn.Module]:
    """Modules that run up to and with the one called `last`, none inside another."""
    found: list[nn.Module] = []
    for name, child in network.named_children():
        inside, dot, rest = last.partition(".")
        if dot and name == inside:
            return found + _up_to(child, rest)
        found.append(child)
        if name in (last, last.replace(".", "_")):  # timm flattens names where it cuts a network into a list
            return found
    return found


def _leave_autocast(part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    kind = inputs[0].device.type
    if not torch.is_autocast_enabled(kind):
        return None
    torch.set_autocast_enabled(kind, False)
    part._left_autocast = kind  # type: ignore[assignment]
    return tuple(values.float() for values in inputs)


def _return_to_autocast(part: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
    kind = part.__dict__.pop("_left_autocast", None)
    if kind is not None:
        torch.set_autocast_enabled(kind, True)
