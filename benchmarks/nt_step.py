"""One training step with NT, by estimator, precision, memory layout and network, against the undefended step.

Steps are measured without the optimizer and without reading data, in training mode. The *published schedule* is the
released code's: float32, contiguous, 3 forward passes, an input gradient, 3 full backward passes. The *light recipe* is
the penalty as `hyperiqa-biq2021-light` has it. Bare passes of the same network give what its passes should cost: a step
of 2 forward, 1 input-gradient and 2 full backward passes can't be much faster than those passes by themselves.
Source of the published schedule: the released code of Liu et al. 2024, `loss_grad`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from benchmarks.cases import LIGHT_RECIPE, Case, Planned, Settings, Works
from benchmarks.store import Group
from benchmarks.timing import Work, interleaved
from robustiqa.core.attack import frozen_weights
from robustiqa.core.model import QualityModel
from robustiqa.core.penalty import Penalty
from robustiqa.defenses.norm_regularization import (
    REPEATED,
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormEstimator,
    NormRegularization,
)
from robustiqa.training.build import build_penalty
from robustiqa.training.spec import load_recipe

BASELINE, PUBLISHED = "baseline", "published schedule"
FINITE, CENTRAL, EXACT, RECIPE = "finite difference", "central difference", "exact (double backward)", "light recipe"
FORWARD, INPUT_GRADIENT = "bare forward", "bare forward and input gradient"
STEPS = (BASELINE, FINITE, CENTRAL, EXACT, RECIPE)
PUBLISHED_FORMAT = ("float32", "contiguous")
FLOP_BATCH = 2  # ratios of counts are the same at any
WEIGHT, STEP = 1e-3, 0.01  # Liu et al. 2024


def passes() -> dict[str, tuple[float, float, float]]:
    """Forward, input-gradient and full backward passes of each step; they cost 1, 1 and 2 units."""
    part = load_recipe(LIGHT_RECIPE).penalty.fraction
    shared = part > REPEATED
    return {
        BASELINE: (1, 0, 1),
        FINITE: (2, 1, 2),
        CENTRAL: (3, 1, 3),
        EXACT: (1, 1, 2),
        RECIPE: (1 + part, 1, 1 + part) if shared else (1 + 2 * part, part, 1 + 2 * part),
        PUBLISHED: (3, 1, 3),
    }


def penalized_share() -> float:
    """Part of the light recipe's steps that carry the penalty."""
    recipe = load_recipe(LIGHT_RECIPE)
    return 1 - recipe.penalty.start_epoch / recipe.epochs


def penalty_of(method: str) -> Penalty:
    """What a step adds to the loss."""
    if method == RECIPE:
        recipe = load_recipe(LIGHT_RECIPE)
        return build_penalty(recipe.penalty, recipe.epochs - 1)
    estimators: dict[str, NormEstimator] = {
        FINITE: FiniteDifference(h=STEP),
        CENTRAL: CentralDifference(h=STEP),
        EXACT: DoubleBackward(),
    }
    if method == BASELINE:
        return NormRegularization(weight=0.0)
    return NormRegularization(estimator=estimators[method], weight=WEIGHT)


def key(method: str, precision: str, layout: str) -> str:
    """Name of a work: `finite difference | float32 | channels_last`."""
    return f"{method} | {precision} | {layout}"


def in_precision(precision: str, device: str) -> AbstractContextManager[None]:
    """Autocast to bfloat16, or nothing."""
    context: AbstractContextManager[None] = torch.autocast(
        torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"
    )
    return context


def step(model: QualityModel, images: Tensor, mos: Tensor, method: str, precision: str) -> Work:
    """A step by the name of its method."""
    return penalized_step(model, images, mos, penalty_of(method), precision)


def penalized_step(
    model: QualityModel, images: Tensor, mos: Tensor, penalty: Penalty, precision: str = "float32"
) -> Work:
    """Forward and backward of one step, as the training loop runs them."""
    learning = list(model.parameters())

    def work() -> None:
        model.zero_grad()
        with in_precision(precision, str(images.device)):
            scores, value = penalty(model, images)
        torch.autograd.backward(F.l1_loss(scores.float(), mos) + value, inputs=learning)

    return work


def published_step(model: QualityModel, images: Tensor, mos: Tensor) -> Work:
    """The released schedule, with the gradient in the images that it computes and throws away."""

    def work() -> None:
        model.zero_grad()
        loss = F.l1_loss(model(images), mos)
        leaf = images.clone().requires_grad_()
        scores = model(leaf)
        (gradient,) = torch.autograd.grad(scores.sum(), leaf, retain_graph=True)
        moved = model(images + STEP * model.input_std[:, None, None] * gradient.sign())
        torch.autograd.backward(loss + WEIGHT * 0.5 * ((moved - scores) / STEP).square().mean())

    return work


def bare_pass(model: QualityModel, images: Tensor, precision: str, backward: bool) -> Work:
    """A forward pass that could be differentiated, and the gradient in the images, or not."""

    def work() -> None:
        with in_precision(precision, str(images.device)):
            if not backward:
                model(images)
                return
            with frozen_weights(model):
                leaf = images.detach().requires_grad_()
                scores = model(leaf)
        torch.autograd.grad(scores.sum(), leaf)

    return work


def works_of(case: Case, models: Mapping[str, QualityModel], images: Tensor) -> Works:
    """Everything that is timed of a network.

    Args:
        case: The network.
        models: By layout, in training mode.
        images: (N, 3, H, W).
    """
    mos = torch.linspace(0, 100, len(images), device=images.device)
    works: Works = {key(PUBLISHED, *PUBLISHED_FORMAT): published_step(models[PUBLISHED_FORMAT[1]], images, mos)}
    for precision, layout in case.formats:
        model = models[layout]
        for method in STEPS:
            works[key(method, precision, layout)] = step(model, images, mos, method, precision)
        works[key(FORWARD, precision, layout)] = bare_pass(model, images, precision, backward=False)
        works[key(INPUT_GRADIENT, precision, layout)] = bare_pass(model, images, precision, backward=True)
    if PUBLISHED_FORMAT not in case.formats:  # its own bare passes
        own = models[PUBLISHED_FORMAT[1]]
        works[key(BASELINE, *PUBLISHED_FORMAT)] = step(own, images, mos, BASELINE, "float32")
        works[key(FORWARD, *PUBLISHED_FORMAT)] = bare_pass(own, images, "float32", backward=False)
        works[key(INPUT_GRADIENT, *PUBLISHED_FORMAT)] = bare_pass(own, images, "float32", backward=True)
    return works


def counted_flops(model: QualityModel, images: Tensor) -> dict[str, float]:
    """Floating-point operations of each step over those of one forward pass."""
    mos = torch.zeros(len(images), device=images.device)
    works = {method: step(model, images, mos, method, "float32") for method in STEPS}
    works[PUBLISHED] = published_step(model, images, mos)
    forward = _flops(bare_pass(model, images, "float32", backward=False))
    return {method: round(_flops(work) / forward, 3) for method, work in works.items()}


def _flops(work: Work) -> int:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _OneModule()
    with counter:
        work()
    return int(counter.get_total_flops())


class _OneModule(ModuleTracker):
    """Counts all in one: torch's own hooks every module, which fails where a gradient stops at the images."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        pass


def measure(case: Case, settings: Settings) -> Group:
    """One network."""
    layouts = {layout for _, layout in case.formats} | {PUBLISHED_FORMAT[1]}
    models = {layout: case.build(layout, settings.device).train() for layout in layouts}
    images = case.crops(settings.device)
    seconds = interleaved(works_of(case, models, images), settings.effort, settle=settings.settle)
    facts: dict[str, Any] = {
        "flops": counted_flops(models[PUBLISHED_FORMAT[1]], case.crops(settings.device, FLOP_BATCH)),
        "passes": passes(),
        "penalized_share": penalized_share(),
        "formats": [list(pair) for pair in case.formats],
    }
    return Group(case.name, seconds, facts=facts)


def plan(settings: Settings) -> Iterator[Planned]:
    """A group for each network."""
    for case in settings.cases.values():
        yield Planned(case.name, partial(measure, case, settings))
