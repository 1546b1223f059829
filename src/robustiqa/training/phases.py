"""Phases of a run: consecutive epochs in which the same weights learn, with an optimizer and a schedule of their own.

Most runs have one. A run with a head start has two: first the parts that train at the backbone's rate are held (they
run as at test, statistics of batch norm included) and the rest learns; then everything does. The optimizers of all
phases exist from the first step on and stand in every checkpoint, so a run resumes alike on either side of the border.
Source: Zhang et al. 2020 (DBCNN), which trains the last layer first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from robustiqa.core.errors import SpecError
from robustiqa.training.build import build_head_optimizer, build_optimizer, split_weights
from robustiqa.training.losses import find_schedule, warmup_factor
from robustiqa.training.spec import OptimizerSpec, TrainingSpec

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs of a run.

    Attributes:
        epochs: Which, from 0.
        optimizer: Of the weights that learn; its groups have a `part`.
        spec: Of its schedule and warm-up, which begin with the phase.
        held: Weights that don't learn.
        rates: Of the optimizer's groups, at factor 1.
    """

    epochs: range
    optimizer: torch.optim.Optimizer
    spec: OptimizerSpec
    held: tuple[nn.Parameter, ...]
    rates: tuple[float, ...]

    @property
    def learning(self) -> list[nn.Parameter]:
        """Weights that learn."""
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]

    def begin(self) -> None:
        """Lets gradients reach the weights that learn, and no others; an epoch may begin a phase again."""
        for weights, learn in ((self.held, False), (self.learning, True)):
            for weight in weights:
                weight.requires_grad_(learn)

    def set_rates(self, step: int, steps_per_epoch: int) -> None:
        """Sets the rates of a step of the run, by the schedule of the phase."""
        own = step - self.epochs.start * steps_per_epoch
        factors = find_schedule(self.spec.schedule)(own, len(self.epochs) * steps_per_epoch, steps_per_epoch)
        warmup = warmup_factor(own, self.spec.warmup_steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * (warmup * factors[group["part"]])


def prepare_phases(accelerator: Accelerator, model: nn.Module, spec: TrainingSpec) -> tuple[nn.Module, list[Phase]]:
    """The network as it is trained, and the phases of its run.

    Raises:
        SpecError: if the spec names an optimizer or a schedule that does not exist, or a head start of more epochs than
            the run has.
    """
    find_schedule(spec.optimizer.schedule)
    start, (backbone, _) = spec.head_start, split_weights(model)
    if not 0 <= start.epochs <= spec.epochs:
        raise SpecError(
            f"head_start.epochs must lie within the {spec.epochs} epochs of the run, got {start.epochs}; "
            "set both to shorten a recipe."
        )
    optimizer = build_optimizer(model, spec.optimizer)
    phases = [Phase(range(start.epochs, spec.epochs), optimizer, spec.optimizer, (), _rates(optimizer))]
    if start.epochs:
        optimizer = build_head_optimizer(model, start, spec.optimizer.weight_decay)
        phases.insert(0, Phase(range(start.epochs), optimizer, spec.optimizer, tuple(backbone), _rates(optimizer)))
    network, *prepared = accelerator.prepare(model, *(phase.optimizer for phase in phases))
    return network, [replace(phase, optimizer=optimizer) for phase, optimizer in zip(phases, prepared, strict=True)]


def _rates(optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
    return tuple(group["lr"] for group in optimizer.param_groups)
