"""The one place where inputs are checked; everything behind these doors may trust its arguments."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError

RANGE_TOLERANCE = 1e-6  # float32 rounding of k/255 stays below 6e-8


def check_image_batch(images: Tensor) -> None:
    """Checks shape and type only, so that it costs no device synchronization.

    Raises:
        InputError: unless `images` is a floating-point (N, 3, H, W) tensor with N, H, W at least 1.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"images must be a tensor of shape (N, 3, H, W), got {type(images).__name__}.")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise InputError(f"images must have shape (N, 3, H, W), got {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise InputError(f"images must be floating point in [0, 1], got {images.dtype}; divide 8-bit values by 255.")


def check_pixels(images: Tensor) -> None:
    """Checks an image batch wholly, values included (this synchronizes a GPU once).

    Raises:
        InputError: if a value is not finite or lies outside [0, 1].
    """
    check_image_batch(images)
    low, high = (value.item() for value in torch.aminmax(images.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("images must lie in [0, 1], got values that are not finite.")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        hint = (
            "they look like 8-bit values: divide by 255."
            if low >= 0 and high > 2
            else "they look normalized already: pass plain pixels, the model normalizes them."
        )
        raise InputError(f"images must lie in [0, 1], got [{low:.2f}, {high:.2f}]; {hint}")


def check_eval_mode(model: nn.Module) -> None:
    """Refuses a model of which any part is in training mode, where scores are random and depend on the batch.

    Raises:
        InputError: naming the first such part.
    """
    for name, part in model.named_modules():
        if part.training:
            where = f" ({name!r} is)" if name else ""
            raise InputError(f"the model is in training mode{where}; call model.eval() before scoring or attacking.")


def check_scores(scores: Tensor, count: int) -> None:
    """Checks that a model returned one floating-point score an image.

    Raises:
        InputError: unless `scores` has shape (count,).
    """
    if not isinstance(scores, Tensor) or scores.shape != (count,) or not scores.is_floating_point():
        came = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"a quality model must return floating-point scores of shape ({count},), got {came}.")


def parse_fraction(value: float | str, name: str = "eps") -> float:
    """Reads a pixel quantity written as a number or as a fraction such as `4/255`.

    Raises:
        InputError: unless the value is a number in [0, 1].
    """
    number = _parse_number(value, name)
    if not (math.isfinite(number) and 0 <= number <= 1):
        hint = f"; did you mean '{value}/255'?" if 1 < number <= 255 and math.isfinite(number) else "."
        raise InputError(f"{name} is in [0, 1] pixel units, got {value}{hint}")
    return number


def parse_length(value: float | str, name: str = "eps") -> float:
    """Reads an L2 length, which may exceed 1, written as a number or as a fraction.

    Raises:
        InputError: unless the value is a finite number of at least 0.
    """
    number = _parse_number(value, name)
    if not (math.isfinite(number) and number >= 0):
        raise InputError(f"{name} is an L2 length in [0, 1] pixel units, finite and at least 0, got {value}.")
    return number


def _parse_number(value: float | str, name: str) -> float:
    try:
        return float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, ZeroDivisionError, TypeError):
        raise InputError(f"{name} must be a number or a fraction like '4/255', got {value!r}.") from None


def check_positive_integer(value: int, name: str) -> None:
    """Checks a count.

    Raises:
        InputError: unless `value` is a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")
