"""Training losses, most of them on the 0..100 scale, and learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean
from robustiqa.training.norm_in_norm import NormInNorm

Loss = Callable[[Tensor, Tensor], Tensor]
Schedule = Callable[[int, int, int], tuple[float, float]]

LOSSES: dict[str, Loss] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "huber": F.smooth_l1_loss,
    "norm-in-norm": NormInNorm(),
}
SCALE_FREE = ("norm-in-norm",)  # a slope and an offset of the scores change nothing


def find_loss(name: str) -> Loss:
    """The loss called `name`: (scores (N,), mos (N,)) to a scalar.

    Raises:
        SpecError: if there is none.
    """
    if name not in LOSSES:
        raise SpecError(f"unknown loss {name!r}{did_you_mean(name, list(LOSSES))} Known: {', '.join(LOSSES)}.")
    return LOSSES[name]


def _cosine(step: int, steps: int, steps_per_epoch: int) -> tuple[float, float]:
    """Half a cosine from 1 to 0 for backbone and head alike."""
    factor = 0.5 * (1 + math.cos(math.pi * step / steps))
    return factor, factor


def _hyperiqa(step: int, steps: int, steps_per_epoch: int) -> tuple[float, float]:
    """Backbone constant; head 1 in epochs 0 to 5, .1 in 6 to 8, .01 in 9 to 11, .001 from 12 on.

    The head factor is relative to ten times the backbone's rate: it falls tenfold every 6 epochs, and after epoch 8
    the ten times is dropped.

    Source: the released training code of Su et al. 2020 and Liu et al. 2024 as it was meant: there, the head group
    is empty from the second epoch on.
    """
    epoch = step // steps_per_epoch
    return 1.0, 10.0 ** -(epoch // 6) * (0.1 if epoch > 8 else 1.0)


SCHEDULES: dict[str, Schedule] = {"cosine": _cosine, "hyperiqa": _hyperiqa}


def find_schedule(name: str) -> Schedule:
    """The schedule called `name`: (step, steps, steps an epoch) to the factors of backbone and head rates.

    Raises:
        SpecError: if there is none.
    """
    if name not in SCHEDULES:
        hint = did_you_mean(name, list(SCHEDULES))
        raise SpecError(f"unknown schedule {name!r}{hint} Known: {', '.join(SCHEDULES)}.")
    return SCHEDULES[name]


def warmup_factor(step: int, warmup_steps: int) -> float:
    """What both rates are multiplied by during a linear warm-up; 1 after it."""
    return min(1.0, (step + 1) / (warmup_steps + 1))
