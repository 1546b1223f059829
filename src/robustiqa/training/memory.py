"""What a training step takes, counted before the first one; a step that can't fit is refused, with the ways to fit it.

What it counts: forward and backward passes of loss and penalty, as the last epoch has them, on a copy of the network
without data (see `robustiqa.core.memory`), the gradients, and what the optimizer keeps. A second part of a step meets
the gradients of the first. What it leaves out: scratch memory of kernels, processes that read photographs, and how many
processes share a machine. The batch belongs to the recipe and is never made smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from robustiqa.core.errors import RobustIQAError, SpecError, WorkFailedError
from robustiqa.core.memory import available_memory, counted, gib, out_of_memory
from robustiqa.training.build import build_loss, build_penalty, set_training_mode
from robustiqa.training.heads import further_scores, loss_of_heads
from robustiqa.training.spec import TrainingSpec

STATES = {"adam": 2, "adamw": 2, "sgd": 1}  # averages of each weight that an optimizer keeps
LAVISH = 60_000  # bytes for each pixel of a step, more than any of ours takes: small steps need not be counted


@dataclass(frozen=True)
class StepMemory:
    """The memory of one process in a step.

    Attributes:
        spec: The recipe.
        side: Of its crops.
        device: To train on.
        processes: That share a step's crops.
        checkpointed: Whether gradients are checkpointed.
    """

    spec: TrainingSpec
    side: int
    device: torch.device
    processes: int = 1
    checkpointed: bool = False

    def needed(self, model: nn.Module) -> int | None:
        """Peak bytes, weights left out; None where that can't be found out.

        Args:
            model: The network, before anything wraps it; left alone.
        """
        try:
            passes = counted(model, self._passes)
        except RobustIQAError:
            raise
        except Exception:  # whatever a network does with values that are not there
            return None
        weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
        buckets = 1 if self.processes > 1 else 0  # that gradients are exchanged in
        return passes + (STATES[self.spec.optimizer.name] + buckets) * weights

    def _passes(self, model: nn.Module) -> None:
        spec, last = self.spec, self.spec.epochs - 1
        set_training_mode(model, spec, last)
        penalty_of, loss_of = build_penalty(spec.penalty, last), build_loss(spec)
        count = -(-spec.batch_size // self.processes)
        images, mos = torch.zeros(count, 3, self.side, self.side), torch.zeros(count)
        parts = list(zip(images.chunk(spec.accumulation), mos.chunk(spec.accumulation), strict=True))
        for some, targets in parts[:2]:
            with further_scores(model) as further:
                with torch.autocast("cpu", torch.bfloat16, enabled=spec.precision != "no"):
                    scores, penalty = penalty_of(model, some)
                loss = loss_of_heads(loss_of, spec.head_weights, [scores, *further], targets)
            torch.autograd.backward(loss + penalty)

    def refuse_too_large(self, model: nn.Module) -> None:
        """Refuses a recipe whose step can't fit.

        Raises:
            SpecError: with the estimate and the ways that are left.
        """
        there = available_memory(self.device)
        most = LAVISH * self.spec.batch_size * self.side**2 // self.processes
        needed = self.needed(model) if there is not None and most > there else None
        if there is not None and needed is not None and needed > there:
            ways = _one_of([*self._ways_to_go_on(), *self._other_recipes()])
            raise SpecError(
                f"{self._step()} takes about {gib(needed)}, and {gib(there)} are available; train with {ways}."
            )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Within it, an error of memory is one sentence, with the ways that are left.

        Raises:
            WorkFailedError: if memory runs out.
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            anew = f"start anew with {_one_of(self._other_recipes())}"
            ways = _one_of([*(f"go on with {way}" for way in self._ways_to_go_on()), anew])
            raise WorkFailedError(f"the memory of {self.device.type} ran out in {self._step()}; {ways}.") from None

    def _step(self) -> str:
        parts = f" in {self.spec.accumulation} parts" if self.spec.accumulation > 1 else ""
        return f"a step of {self.spec.batch_size} crops of {self.side}x{self.side} pixels{parts}"

    def _ways_to_go_on(self) -> list[str]:
        """What leaves the run the same."""
        return [] if self.checkpointed else ["--gradient-checkpointing"]

    def _other_recipes(self) -> list[str]:
        """What makes it another run."""
        parts = 2 * self.spec.accumulation
        ways = [f"--set accumulation={parts}"] if parts <= self.spec.batch_size // self.processes else []
        ways += ["--set precision=bf16"] if self.spec.precision == "no" else []
        return ways or ["smaller crops or another network"]


def _one_of(ways: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([*([", ".join(ways[:-1])] if ways[1:] else []), ways[-1]])
