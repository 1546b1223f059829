"""The published implementations' numbers in ../shared/golden, and networks that hold the weights they belong to."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustiqa.models.hyperiqa import HyperIQA
from robustiqa.models.weights import load_strictly

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
EXECUTIONS = tuple(product(FORMATS, (1, 2)))  # memory format, threads


def golden_values(shared: Path, name: str) -> dict[str, Any]:
    """One file of golden values, such as `hyperiqa-nt`."""
    values: dict[str, Any] = json.loads((shared / "golden" / f"{name}.json").read_text())
    return values


def golden_images(shared: Path, count: int, size: tuple[int, int] = (224, 224)) -> Tensor:
    """Images that anyone can rebuild, (count, 3, height, width), in [0, 1]."""
    images: Tensor = _seeded(shared)["images"](count, *size)
    return images


def published_state(shared: Path, name: str = "hyperiqa", gain: float = 1.0) -> dict[str, Tensor]:
    """Seeded weights of a published network under its published names."""
    shapes = golden_values(shared, "parameter-names")[name]
    counters = {entry for entry in shapes if entry.endswith("num_batches_tracked")}
    empty = {
        entry: torch.zeros(shape, dtype=torch.long if entry in counters else torch.float32)
        for entry, shape in shapes.items()
    }
    state: dict[str, Tensor] = _seeded(shared)["fill"](empty, gain)
    return state


def golden_hyperiqa(shared: Path) -> HyperIQA:
    """The published HyperIQA with those weights, in eval mode."""
    model = HyperIQA().eval()
    load_strictly(model, HyperIQA.published_names.apply(published_state(shared)), "the golden HyperIQA")
    return model


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Lets torch use that many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seeded(shared: Path) -> dict[str, Any]:
    return runpy.run_path(str(shared / "golden" / "seeded.py"))
