"""A network for inference: each batch norm that follows a convolution becomes part of it.

In eval mode batch norm is a fixed factor and offset a channel, so gamma (W*x - mean) / sigma + beta is the convolution
by gamma W / sigma with another bias: the same function, one pass over memory less. Scores agree to float rounding.
Source: `torch.nn.utils.fusion`; which batch norm follows which convolution is seen in a forward pass.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robustiqa.core.model import QualityModel
from robustiqa.models.backbones import Backbone

Model = TypeVar("Model", bound=QualityModel)

SIDE = 224  # of the image that the order of layers is seen on, for models that take any size
TOLERANCE = 1e-3  # of the scale's span: far above float rounding, far below a layer that is not wired as it seemed


def folded(model: Model) -> Model:
    """A copy in eval mode with its batch norms folded, or the model itself where that can't be done.

    That is: models without a timm backbone (plug-ins, wrappers), without a foldable batch norm, in half precision, or
    whose copy scores a test image differently.

    Args:
        model: In any mode; it is not changed. Its copy is for scoring and attacking, not for training or saving.
    """
    weights = list(model.parameters())
    if not isinstance(getattr(model, "backbone", None), Backbone) or any(w.dtype.itemsize < 4 for w in weights):
        return model
    found = copy.deepcopy(model).eval()
    side = model.crop_size or SIDE
    image = torch.linspace(0.0, 1.0, 3 * side * side, dtype=weights[0].dtype, device=weights[0].device)
    image = image.sin().abs().reshape(1, 3, side, side)
    with torch.no_grad():
        before, pairs = _watch(found, image)
        for convolution, norm in pairs:
            _fold(convolution, norm)
        _replace(found, {norm: _rest(norm) for _, norm in pairs})
        after = found(image)
    near = bool((after - before).abs().max() <= TOLERANCE * model.scale.span)
    return found if pairs and near else model


def _watch(model: nn.Module, image: Tensor) -> tuple[Tensor, list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """The image's score, and the convolutions whose output goes straight into a batch norm, each run once."""
    made: list[tuple[nn.Conv2d, Tensor]] = []
    taken: list[tuple[nn.BatchNorm2d, Tensor]] = []

    def after_convolution(layer: Any, _: Any, output: Tensor) -> None:
        made.append((layer, output))

    def before_norm(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        taken.append((layer, inputs[0]))

    handles = [part.register_forward_hook(after_convolution) for part in model.modules() if type(part) is nn.Conv2d]
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d) and part.affine]
    handles += [norm.register_forward_pre_hook(before_norm) for norm in norms]
    score: Tensor = model(image)
    for handle in handles:
        handle.remove()
    makers = {id(output): layer for layer, output in made}  # the outputs are held, so no two share an id
    runs = [layer for layer, _ in made] + [layer for layer, _ in taken]
    pairs = [(makers[id(values)], norm) for norm, values in taken if id(values) in makers]
    return score, [(layer, norm) for layer, norm in pairs if runs.count(layer) == runs.count(norm) == 1]


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Gives a convolution the weights and bias that make its batch norm needless; layout and `requires_grad` stay."""
    merged = fuse_conv_bn_eval(convolution, norm)
    convolution.weight.copy_(merged.weight)
    convolution.bias = merged.bias


def _rest(norm: nn.BatchNorm2d) -> nn.Module:
    """What a batch norm does beside normalizing: timm's carry the activation."""
    return getattr(norm, "act", nn.Identity())


def _replace(model: nn.Module, successors: dict[nn.Module, nn.Module]) -> None:
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if child in successors:
                setattr(part, name, successors[child])
