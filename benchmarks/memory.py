"""Peak memory of a training step above that of the imports, each step in a process of its own.

The largest resident set after two steps, less what it was before the network was built; so weights and their gradients
count. The C library's allocator runs as it comes, without the settings that make training faster: they keep memory. On
a GPU it is what torch had allocated at most.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.cases import CASES, GUARDED, QUICK, Case, Planned, Settings
from benchmarks.children import ask, environment_for, largest_resident_set
from benchmarks.nt_step import BASELINE, CENTRAL, EXACT, FINITE, PUBLISHED, RECIPE, key, published_step, step
from benchmarks.store import ALLOCATOR, Group

STEPS = 2
WANTED = (
    (BASELINE, "float32", "contiguous"),
    (FINITE, "float32", "contiguous"),
    (PUBLISHED, "float32", "contiguous"),
    (BASELINE, "float32", "channels_last"),
    (FINITE, "float32", "channels_last"),
    (CENTRAL, "float32", "channels_last"),
    (EXACT, "float32", "channels_last"),
    (RECIPE, "float32", "channels_last"),
    (BASELINE, "bf16", "channels_last"),
    (FINITE, "bf16", "channels_last"),
)
QUICK_WANTED = (WANTED[3], WANTED[4])


def measure_here(case: Case, method: str, precision: str, layout: str, device: str) -> dict[str, float]:
    """MiB of the imports, and at the peak of a step above them."""
    import timm  # noqa: F401  # which building a network imports
    import torch

    before = largest_resident_set()
    model = case.build(layout, device).train()
    images, mos = case.crops(device), torch.linspace(0, 100, case.batch, device=device)
    published = method == PUBLISHED
    work = published_step(model, images, mos) if published else step(model, images, mos, method, precision)
    for _ in range(STEPS):
        work()
    peak = largest_resident_set() - before if device == "cpu" else torch.cuda.max_memory_allocated(device) / 2**20
    return {"imports": round(before, 1), "peak": round(peak, 1)}


def measure(name: str, case: Case, settings: Settings) -> Group:
    """One network."""
    alone = environment_for(without=(ALLOCATOR,))
    found = {
        key(*wanted): ask("benchmarks.memory", name, *wanted, settings.device, environment=alone)
        for wanted in (QUICK_WANTED if settings.quick else WANTED)
    }
    return Group(
        case.name,
        facts={part: {work: values[part] for work, values in found.items()} for part in ("imports", "peak")},
    )


def plan(settings: Settings) -> Iterator[Planned]:
    """HyperIQA on ResNet-50."""
    known = QUICK if settings.quick else {name: case for name, case in CASES.items() if case == GUARDED}
    for name, case in known.items():
        yield Planned(case.name, partial(measure, name, case, settings))


if __name__ == "__main__":
    asked, *rest = sys.argv[1:]
    print(json.dumps(measure_here({**CASES, **QUICK}[asked], *rest)))
