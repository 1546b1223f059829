"""Random signs: the control that every attack must beat.

Threat model: black-box, and asks nothing of the model.
Cost: none beyond measuring the result.
Source: the usual control, noise of the same L-infinity size as FGSM's step.
Deviations: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.core.attack import Oracle
from robustiqa.core.objective import Goal
from robustiqa.core.pixels import project_linf


@dataclass(frozen=True, kw_only=True)
class RandomSign(NamedAttack):
    """Moves every pixel by `eps` up or down at random; the noise does not depend on the objective.

    Args:
        eps: Budget and step.
        objective: As in `NamedAttack`; only measured.
        seed: Of the noise, with each photo's key.
    """

    name: ClassVar[str] = "random_sign"
    threat_model: ClassVar[str] = "black-box"

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """Clean images plus signs."""
        draws = [torch.randint(2, images.shape[1:], generator=draw, device=draw.device) for draw in generators]
        signs = 2 * torch.stack(draws).to(images) - 1
        return project_linf(images + self.budget * signs, images, self.budget)
