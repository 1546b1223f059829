"""The processes of a training, one or several: Accelerate over torch.distributed, started by torchrun."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustiqa.core.errors import SpecError
from robustiqa.core.parallel import SHARDED
from robustiqa.training.spec import TrainingSpec

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = timedelta(hours=6)  # of processes, while the first one validates, or has yet to read the photographs
SPLIT = ("DEEPSPEED", "MEGATRON_LM")  # Accelerate's names of what else spreads a model over processes
SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # where Accelerate looks for others


def create_accelerator(spec: TrainingSpec, device: str | None, alone: bool) -> Accelerator:
    """The process's place among those of a run; waits for the others.

    Args:
        spec: What is trained.
        device: `cpu`, or None for what Accelerate finds; alone, any device.
        alone: Whether the others of its launcher are none of its business.

    Raises:
        SpecError: if the processes would share the weights between them, or can't train with the spec's precision.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState
    from accelerate.utils import patch_environment

    one: dict[str, int | str] = {**dict.fromkeys(SIZES, 1), "LOCAL_RANK": -1} if alone else {}
    if alone and device is not None and ":" in device:
        one["ACCELERATE_TORCH_DEVICE"] = device
    AcceleratorState._reset_state()  # its state is global, and a second run may want another precision
    shared = DistributedDataParallelKwargs(find_unused_parameters=spec.head_start.epochs > 0)  # those that are held
    with patch_environment(**one):
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=spec.precision,
            kwargs_handlers=[shared, InitProcessGroupKwargs(timeout=PATIENCE)],
        )
    kind = accelerator.distributed_type.value
    if kind == "FSDP":
        raise SpecError(SHARDED)
    if kind in SPLIT:
        raise SpecError(f"each process trains a whole model, which {kind} does not do; start training with torchrun.")
    if spec.precision == "fp16" and accelerator.scaler is None:
        raise SpecError(f"fp16 needs a GPU, got {accelerator.device.type}; train with precision bf16 or no.")
    return accelerator


def averaged(accelerator: Accelerator, figures: Sequence[Tensor]) -> Tensor:
    """Figures of as many steps, each (2,), as the mean over all processes, (steps, 2)."""
    own = torch.stack(list(figures)) if figures else torch.zeros(0, 2, device=accelerator.device)
    if accelerator.num_processes == 1 or not len(own):
        return own
    found: Tensor = accelerator.reduce(own, reduction="mean")
    return found


@contextmanager
def layout_warning_ignored() -> Iterator[None]:
    """Leaves out what DistributedDataParallel remarks on gradients of another memory layout, which it has to copy."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        yield
