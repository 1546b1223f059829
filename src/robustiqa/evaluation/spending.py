"""What a piece of work spends on its device: wall time, and memory where the device can tell it of this work alone.

PyTorch's allocator on a GPU knows the most bytes that were held at once since it was last asked to forget, so the most
less what was held at the start is the work's own. For a CPU there is no such number: the system's high-water mark is of
the whole process since it began, library, weights and all earlier work included, and memory that was freed may stay
with the process. Rather than a number that grows with what was run before, there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch


@dataclass
class Spent:
    """What was spent, once it is over.

    Attributes:
        seconds: Wall time; None where nobody asked.
        memory: The most bytes held on the device beyond what was held at the start; None where that is unknown.
    """

    seconds: float | None = None
    memory: int | None = None


@contextmanager
def spending(device: torch.device, wanted: bool = True) -> Iterator[Spent]:
    """Watches what happens inside; whoever does not wait for the device inside watches too little.

    On a GPU the allocator's own peak begins anew.

    Args:
        device: Where the work is done.
        wanted: Whether to watch at all.
    """
    spent = Spent()
    if not wanted:
        yield spent
        return
    on_gpu = device.type == "cuda"
    before = 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    started = perf_counter()
    yield spent
    spent.seconds = perf_counter() - started
    if on_gpu:
        spent.memory = torch.cuda.max_memory_allocated(device) - before
