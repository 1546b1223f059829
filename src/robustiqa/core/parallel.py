"""Models that several processes train together, and which of a step's passes go through the wrapper that averages."""

from __future__ import annotations

import sys

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from robustiqa.core.errors import InputError

SHARDED = (
    "fully sharded data parallelism (FSDP) is not supported: the largest model has 136 million weights and fits one "
    "device; use DistributedDataParallel (torchrun)."
)


def bare(model: nn.Module) -> nn.Module:
    """The model inside a `DistributedDataParallel`; any other as it is.

    The wrapper's forward pass copies the first process's buffers to all, in place, and readies the averaging of weight
    gradients. One pass of a step goes through it. Further ones, of the bare model, add to the same gradients, which are
    then averaged once, and no buffer changes under a graph that holds it.
    """
    return model.module if isinstance(model, DistributedDataParallel) else model


def refuse_sharded(model: nn.Module) -> None:
    """Refuses a model whose weights are spread over processes.

    Raises:
        InputError: if a part of it is under fully sharded data parallelism (FSDP).
    """
    fsdp = sys.modules.get("torch.distributed.fsdp")  # an import takes a while, and without one there is no such model
    kinds = tuple(getattr(fsdp, name) for name in ("FullyShardedDataParallel", "FSDPModule") if hasattr(fsdp, name))
    if kinds and any(isinstance(part, kinds) for part in model.modules()):
        raise InputError(SHARDED)


def refuse_synced(model: nn.Module) -> None:
    """Refuses batch norm over all processes, where its statistics or its gradient would have to be differentiated.

    Raises:
        InputError: if a part of the model is a `SyncBatchNorm` in training mode.
    """
    if any(isinstance(part, nn.SyncBatchNorm) and part.training for part in model.modules()):
        raise InputError(
            "SyncBatchNorm in training mode can't be differentiated twice or lend its statistics; take a finite "
            "difference with statistics 'own', or plain batch norm."
        )
