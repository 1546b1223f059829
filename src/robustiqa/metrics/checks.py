"""What every metric asks of its arrays, and when an array counts as constant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from robustiqa.core.errors import InputError

Array = npt.NDArray[np.float64]

# A spread this small beside the largest magnitude is rounding: float32 scores hold 7 digits, float64 sums 15.
CONSTANT_SPREAD = 1e-11


def check_vectors(**vectors: npt.NDArray[np.generic]) -> tuple[Array, ...]:
    """Checks arrays over the same photos and returns them in float64.

    Args:
        vectors: Each (n,), numeric, finite, n at least 2; the keyword is what an error message calls it.

    Raises:
        InputError: naming the first array that is not so.
    """
    checked = [_check_one(name, vector) for name, vector in vectors.items()]
    first, length = next(iter(vectors)), len(checked[0])
    for name, vector in zip(vectors, checked, strict=True):
        if len(vector) != length:
            raise InputError(
                f"{first} and {name} must be over the same photos, got lengths {length} and {len(vector)}."
            )
    if length < 2:
        raise InputError(f"a metric needs at least 2 photos, got {length}.")
    return tuple(checked)


def _check_one(name: str, vector: npt.NDArray[np.generic]) -> Array:
    if not isinstance(vector, np.ndarray):
        raise InputError(f"{name} must be a 1-D NumPy array, got {type(vector).__name__}; convert it first.")
    if vector.ndim != 1:
        raise InputError(f"{name} must be a 1-D array, got shape {vector.shape}; pass one score a photo.")
    if vector.dtype.kind not in "fiu":
        raise InputError(f"{name} must hold real numbers, got {vector.dtype}.")
    values = vector.astype(np.float64)
    missing = int(np.count_nonzero(~np.isfinite(values)))
    if missing:
        raise InputError(
            f"{name} must be finite, got {missing} NaN or infinite of {len(values)}; leave those photos out."
        )
    return values


def is_constant(values: Array) -> bool:
    """Whether values (n,) are all equal, up to rounding; a correlation is then undefined."""
    low, high = float(values.min()), float(values.max())
    return high - low <= CONSTANT_SPREAD * max(abs(low), abs(high))
