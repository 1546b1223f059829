"""What surrounds a forward pass, so that a part of it can be run again in the backward pass and give the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

Surrounding = Callable[[], AbstractContextManager[object]]


def surroundings(values: Tensor) -> list[Surrounding]:
    """The contexts that change what the pass under way computes, outermost first.

    A `TorchFunctionMode` that does so answers where it meets this function: it appends a maker of contexts, each of
    which goes on from the place that the pass has reached now and leaves the mode itself alone.

    Args:
        values: Anything that the pass computes with.
    """
    if has_torch_function((values,)):
        found: list[Surrounding] = handle_torch_function(surroundings, (values,), values)
        return found
    return []
