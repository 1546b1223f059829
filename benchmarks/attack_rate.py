"""Gradients a second of I-FGSM-10, against a bare loop of as many, and against one crop at a time as published.

*The gradients alone* is the attack without the two forward passes that score its result, in float and in 8 bits;
*with its result scored* is the call that people make. *Batch norms folded* is what evaluations and the command line
attack (`robustiqa.models.folding`). The published loop takes one crop after the other, in float32 and
the contiguous layout, and is granted what its code may lack: no weight gradient is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.cases import Case, Planned, Settings, Works
from benchmarks.store import Group
from benchmarks.timing import Work, interleaved
from robustiqa.attacks.gradient import IFGSM
from robustiqa.attacks.objectives import create_objective
from robustiqa.core.attack import Oracle, clean_pass, frozen_weights
from robustiqa.core.model import ScoreScale
from robustiqa.models.folding import folded

STEPS, EPS = 10, 4 / 255
BARE, ALONE, WHOLE = "bare loop", "I-FGSM-10, the gradients alone", "I-FGSM-10, with its result scored"
FOLDED = "I-FGSM-10, the gradients alone, batch norms folded"
PUBLISHED_LOOP = "one crop at a time, as published"


def bare_loop(model: nn.Module, images: Tensor) -> Work:
    """Forward passes and input gradients at the same images, nothing else."""

    def work() -> None:
        with frozen_weights(model):
            for _ in range(STEPS):
                leaf = images.detach().requires_grad_()
                torch.autograd.grad(model(leaf).sum(), leaf)

    return work


def gradients_alone(model: nn.Module, images: Tensor) -> Work:
    """The attack up to its last iterate; its first gradient is the clean pass."""
    attack = IFGSM(eps=EPS, steps=STEPS, objective="lower")

    def work() -> Tensor:
        clean = clean_pass(model, images)
        oracle = Oracle(model, images, clean.scores, clean)
        oracle.white_box = True
        (goal,) = create_objective(attack.objective).goals(clean.scores, getattr(model, "scale", ScoreScale()))
        with frozen_weights(model):
            return attack.perturb(oracle, images, goal, [torch.Generator() for _ in images])

    return work


def with_result(model: nn.Module, images: Tensor) -> Work:
    """The attack as it is called."""
    attack = IFGSM(eps=EPS, steps=STEPS, objective="lower")
    return lambda: attack(model, images)


def published_loop(model: nn.Module, images: Tensor) -> Work:
    """I-FGSM, one crop after the other."""

    def work() -> Tensor:
        found = []
        for crop in (images[place : place + 1] for place in range(len(images))):
            moved = crop
            for _ in range(STEPS):
                leaf = moved.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(model(leaf).sum(), leaf)
                moved = moved - 2.5 * EPS / STEPS * gradient.sign()
                moved = torch.min(torch.max(moved, crop - EPS), crop + EPS).clamp(0, 1)
            found.append(moved)
        return torch.cat(found)

    return work


def measure(case: Case, settings: Settings) -> Group:
    """One network."""
    images = case.crops(settings.device)
    model, published = (case.build(layout, settings.device) for layout in ("channels_last", "contiguous"))
    works: Works = {
        BARE: bare_loop(model, images),
        ALONE: gradients_alone(model, images),
        FOLDED: gradients_alone(folded(model), images),
        WHOLE: with_result(model, images),
        PUBLISHED_LOOP: published_loop(published, images),
    }
    seconds = interleaved(works, settings.effort, settle=settings.settle)
    return Group(case.name, seconds, items=dict.fromkeys(works, float(case.batch * STEPS)))


def plan(settings: Settings) -> Iterator[Planned]:
    """HyperIQA, light and full."""
    for case in settings.main_cases:
        yield Planned(case.name, partial(measure, case, settings))
