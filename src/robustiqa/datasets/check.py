"""Looks at every photograph of a dataset before hours are spent on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import RobustIQAError


@dataclass(frozen=True)
class Problem:
    """What is wrong with one photograph.

    Attributes:
        key: The photograph.
        sentence: What was expected, what came, what to do.
    """

    key: str
    sentence: str


@dataclass(frozen=True)
class _Look:
    """What one reading of a photograph found; the pixels themselves are let go."""

    error: str = ""
    height: int = 0
    width: int = 0
    pixel_hash: bytes = b""


def check_dataset(
    dataset: Dataset,
    min_side: int | None = None,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Problem]:
    """Decodes each photograph, and compares those of different parts.

    Args:
        dataset: Whole, so that its parts can be compared.
        min_side: Smallest height and width that will do, such as the model's crop; None takes any.
        workers: Threads that decode; 0 decodes in this one.
        progress: Called after each photograph with how many are done and how many there are.

    Returns:
        A problem for each photograph that can't be read, is too small, or has the very pixels of one in another
        part of the split, in the dataset's order; empty if all is well.
    """
    part_of = {key: part for part, keys in dataset.parts.items() for key in keys}
    first_seen: dict[bytes, str] = {}
    problems: list[Problem] = []
    for done, (photo, look) in enumerate(zip(dataset, _looks(dataset, workers), strict=True), start=1):
        if look.error:
            problems.append(Problem(photo.key, look.error))
        else:
            if min_side is not None and min(look.height, look.width) < min_side:
                problems.append(Problem(photo.key, _too_small(photo.key, look, min_side)))
            twin = first_seen.setdefault(look.pixel_hash, photo.key)
            part, other = part_of.get(photo.key), part_of.get(twin)
            if part != other and part is not None and other is not None:
                problems.append(Problem(photo.key, _leak(photo.key, part, twin, other)))
        if progress is not None:
            progress(done, len(dataset))
    return problems


def _looks(dataset: Dataset, workers: int) -> Iterator[_Look]:
    if workers < 1:
        yield from map(_look_at, dataset)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(_look_at, dataset)


def _look_at(photo: Photo) -> _Look:
    try:
        image = photo.read()
    except RobustIQAError as error:
        return _Look(error=str(error))
    _, height, width = image.shape
    pixel_hash = hashlib.sha256(f"{height}x{width}".encode() + image.contiguous().numpy().tobytes())
    return _Look("", height, width, pixel_hash.digest())


def _too_small(key: str, look: _Look, min_side: int) -> str:
    return (
        f"{key} is {look.width} x {look.height} pixels, and the shorter side must have at least {min_side}; "
        "leave it out (where it is only scored or attacked, --small pad extends it)."
    )


def _leak(key: str, part: str, twin: str, other: str) -> str:
    return f"{key} in {part} has the same pixels as {twin} in {other}; a split must keep them together, drop one."
