"""FACPA: a network, trained beforehand, makes the perturbation of each photograph in one pass.

Threat model: black-box on the model it is used on, of which it asks nothing. On the very model that its generator was
trained against it is a white-box attack paid in advance; records name the source model by hash.
Cost: a pass of the generator a photograph (54 M parameters, 12 GFLOP for 256x256), none of the model; 2 queries a photo
for a goal that is no direction. Training takes `epochs` forward and backward passes a photograph and direction through
model and generator (`robustiqa fit facpa`, `robustiqa.training.learners`).
Source: Shumitskaya, Antsiferova and Vatolin 2023, "Fast Adversarial CNN-based Perturbation Attack on No-Reference
Image- and Video-Quality Metrics".
Deviations: one generator for each direction, where theirs raises only. A photograph is cut to multiples of 256 from its
top-left corner, so that a change lies on the pixels that it was made for; sides below 256 are tiled up to it.
Photographs pass one at a time: a batch gives what its photographs give. Theirs truncates the sum to 8 bits, which
shifts every pixel down; here it is rounded. Its validation scores the last training batch; there is none here, and
what is reported is the epoch's mean score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.learned import SIGNS, FittedAttack, read_state, state_file
from robustiqa.attacks.unet import UNet
from robustiqa.core.errors import InputError, WeightsError
from robustiqa.core.tensor_files import FileStamp, file_stamp


@dataclass(frozen=True, kw_only=True)
class FACPA(FittedAttack):
    """Adds what a U-Net makes of the photograph, `eps` times its output in [-1, 1].

    Args:
        eps: Budget and amplitude.
        objective: As in `NamedAttack`; a direction that the file does not hold is refused.
        seed: Not used.
        weights: The file, or the folder of a fitting.

    Source: Shumitskaya et al. 2023, section 3.
    """

    name: ClassVar[str] = "facpa"

    def pushed(self, images: Tensor, signs: Tensor) -> Tensor:
        """Images plus the scaled output of each photo's generator."""
        read_state(self.weights, self.name)  # checks
        stamp = file_stamp(state_file(self.weights))
        goals = {sign: goal for goal, sign in SIGNS.items()}
        with torch.no_grad():
            changes = [
                _generator(stamp, goals[sign], str(images.device), images.dtype).change(image[None])[0]
                for image, sign in zip(images, signs.tolist(), strict=True)
            ]
        return images + self.budget * torch.stack(changes)


@lru_cache(maxsize=4)
def _generator(stamp: FileStamp, goal: str, device: str, dtype: torch.dtype) -> UNet:
    """The generator for one direction, read once."""
    path = Path(stamp[0])
    state = read_state(str(path), FACPA.name).of(goal)
    misfit = WeightsError(f"{path} does not hold a whole generator to {goal} scores; fit it again.")
    try:
        network = UNet.from_state(state)
    except InputError:
        raise misfit from None
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    if wanted != {name: value.shape for name, value in state.items()}:
        raise misfit
    network.load_state_dict(state)
    return network.to(device, dtype).eval().requires_grad_(False)
