"""UAP: one perturbation for all photographs, made beforehand, tiled to their size.

It shows how a metric can be gamed by a filter that anyone applies without the metric at hand.
Threat model: black-box on the model it is used on, of which it asks nothing. On the very model that it was fitted to it
is what a white-box attacker can put in a filter; records name the source model by hash.
Cost: none beyond measuring the result; 2 queries a photo for a goal that is no direction. Fitting takes `epochs`
forward and backward passes a photograph and direction (`robustiqa fit uap`, `robustiqa.training.learners`).
Source: Shumitskaya, Antsiferova and Vatolin 2022, "Universal Perturbation Attack on Differentiable No-Reference Image-
and Video-Quality Metrics": a 256x256 perturbation, added at a chosen amplitude.
Deviations: published perturbations only raise scores; ours hold one for each direction, so that `worst_of_both` is met.
A file that holds one direction is refused for the other (see `robustiqa.attacks.learned`). Published code
truncates the sum to 8 bits, which shifts every pixel down; here it is rounded as every attack's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.learned import ROUNDING, SIGNS, AttackState, FittedAttack, read_state, tiled
from robustiqa.core.errors import WeightsError

PERTURBATION = "perturbation"


@dataclass(frozen=True, kw_only=True)
class UAP(FittedAttack):
    """Adds a universal perturbation, scaled to `eps` and tiled from the top-left corner.

    Args:
        eps: Budget and amplitude: what was fitted within e.g. 10/255 is multiplied by eps / (10/255).
        objective: As in `NamedAttack`; a direction that the file does not hold is refused.
        seed: Not used.
        weights: The file, or the folder of a fitting.

    Source: Shumitskaya et al. 2022, section 3.
    """

    name: ClassVar[str] = "uap"

    def pushed(self, images: Tensor, signs: Tensor) -> Tensor:
        """Images plus the tile of each photo's direction."""
        state = read_state(self.weights, self.name)
        changed = images.clone()
        for goal, sign in SIGNS.items():
            rows = signs == sign
            if rows.any():
                scaled = perturbation(state, goal).to(images) * (self.budget / state.eps)
                changed[rows] += tiled(scaled, *images.shape[-2:])
        return changed


def perturbation(state: AttackState, goal: str) -> Tensor:
    """The tile for one direction, (3, h, w), within the amplitude that it was fitted at.

    Raises:
        InputError: if it was not fitted for that direction.
        WeightsError: if the file holds anything else.
    """
    tensors = state.of(goal)
    found = tensors.get(PERTURBATION)
    if found is None or len(tensors) > 1 or found.ndim != 3 or len(found) != 3 or 0 in found.shape:
        raise WeightsError(f"{state.path} does not hold a (3, h, w) perturbation to {goal} scores; fit it again.")
    if not torch.isfinite(found).all() or found.abs().max() > state.eps + ROUNDING:
        raise WeightsError(
            f"{state.path} says it was fitted within {state.eps:g}, but holds a change of "
            f"{found.abs().max().item():g}; fit it again."
        )
    return found
