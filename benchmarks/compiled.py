"""What `torch.compile` gains where it can be used: scores and input gradients of a network at test, batch norms folded.

Training is left out: norm regularization with the clean pass's statistics steps into each batch norm of the running
network, which a compiled one does not let it do. First calls, which compile, are counted as facts beside the rates.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Case, Planned, Settings, Works
from benchmarks.nt_step import FORWARD, INPUT_GRADIENT, bare_pass
from benchmarks.store import Group, SkippedError
from benchmarks.timing import Work, interleaved
from robustiqa.core.model import QualityModel
from robustiqa.models.folding import folded

PASSES = (FORWARD, INPUT_GRADIENT)


def compiled_name(what: str) -> str:
    """What tables call a pass of the compiled network."""
    return f"{what}, compiled"


def passes_of(model: Any, images: Tensor) -> dict[str, Work]:
    """A pass for scores, and one for gradients in the images as well."""
    return {
        FORWARD: partial(_scores, model, images),
        INPUT_GRADIENT: bare_pass(model, images, "float32", backward=True),
    }


def _scores(model: QualityModel, images: Tensor) -> None:
    with torch.no_grad():
        model(images)


def measure(case: Case, settings: Settings) -> Group:
    """One network; a quick run only traces it."""
    model, images = folded(case.build("channels_last", settings.device)), case.crops(settings.device)
    faster = torch.compile(model, backend="eager" if settings.quick else "inductor")
    works: Works = passes_of(model, images)
    first = {}
    for name, work in passes_of(faster, images).items():
        begin = perf_counter()
        try:
            work()
        except RuntimeError as why:  # what compilers raise derives from it
            raise SkippedError(f"torch.compile fails here: {str(why).splitlines()[0]}") from None
        settings.settle()
        works[compiled_name(name)] = work
        first[name] = round(perf_counter() - begin, 1)
    seconds = interleaved(works, settings.effort, settle=settings.settle)
    return Group(case.name, seconds, items=dict.fromkeys(works, float(len(images))), facts={"first_call": first})


def plan(settings: Settings) -> Iterator[Planned]:
    """HyperIQA, light and full."""
    for case in settings.main_cases:
        yield Planned(case.name, partial(measure, case, settings))
