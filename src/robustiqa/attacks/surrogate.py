"""Korhonen and You's attack: gradients of a surrogate, strongest where a photograph is busy; the target is never asked.

Threat model: black-box on the attacked model: the attacker has a quality model of its own, and hopes that what fools it
fools the other. A transfer is worth the more the less the two share; the label in records therefore names the
surrogate's weights by hash, its backbone, and where that backbone's weights began.
Cost: no query and no gradient of the attacked model (2 queries a photo for a goal that is no direction); `min_steps` to
`steps` forward and backward passes of the surrogate a photo and goal. Those are not in `queries` and `gradients`, which
count what is asked of the attacked model.
Source: Korhonen and You 2022, "Adversarial Attacks Against Blind Image Quality Assessment Models", and their published
code: a ResNet-50 regressor trained on KonIQ-10k, the activity map, Adam, the stop rule.
Deviations: any weights file of this package is a surrogate, and scores go either way, where theirs only rise. Each step
is projected onto the budget; theirs has none, and clips when the file is written. What is kept is the image of the best
loss; theirs is the image one step after it, whose loss nobody has seen. "No improvement" is against the best so far.
As published, the map multiplies the gradient *before* Adam, which divides by the gradient's size: the map acts only
where gradients come near Adam's epsilon of 1e-8, and where it is zero. The units that this depends on (loss as a part
of the score scale, per 8-bit level) are therefore kept. A port that divides the map by 255 or leaves out the square
changes little; one that works on [0, 1] pixels leaves the map next to no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from robustiqa.attacks.base import pixel_field
from robustiqa.attacks.learned import DirectedAttack, file_field
from robustiqa.core.checks import check_positive_integer, check_scores, parse_fraction
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.core.pixels import project_linf
from robustiqa.core.surrogate import load_surrogate, surrogate_card

LEVELS = 255
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601; its scale and offset cancel in the map
PATIENCE = 2  # evaluations in a row without a better loss


@dataclass(frozen=True, kw_only=True)
class Korhonen(DirectedAttack):
    """Adam on the score of a surrogate, photo by photo, with gradients weighted by spatial activity.

    Args:
        eps: Budget; 1 leaves the change unbounded, as published.
        objective: As in `NamedAttack`.
        seed: Not used.
        surrogate: Weights file of any quality model of this package, a training run's folder, or a shipped name.
        learning_rate: Of Adam, in [0, 1] pixel units; published are .1, .5, 2 and 5 levels of 1/255.
        steps: Most steps.
        min_steps: Fewest: only then two evaluations in a row without a better loss end the search.

    Source: Korhonen and You 2022, section 3, and published code.
    """

    name: ClassVar[str] = "korhonen"

    surrogate: str = file_field(label="surrogate_label")
    learning_rate: float | str = pixel_field("2/255", resolved="rate")
    steps: int = 100
    min_steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "surrogate", str(self.surrogate))
        check_positive_integer(self.steps, "steps")
        check_positive_integer(self.min_steps, "min_steps")
        if self.min_steps > self.steps:
            raise InputError(f"min_steps must not exceed steps, got {self.min_steps} and {self.steps}.")
        if parse_fraction(self.learning_rate, "learning_rate") == 0:
            raise InputError("learning_rate must be greater than 0, got 0; published ones are .1 to 5 levels of 1/255.")

    @property
    def rate(self) -> float:
        """`learning_rate` as a number."""
        return parse_fraction(self.learning_rate, "learning_rate")

    @property
    def surrogate_label(self) -> str:
        """Model, backbone, initialization and hash: `paq2piq/resnet18/random#0123456789abcdef`."""
        return surrogate_card(self.surrogate).label if self.surrogate else ""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the label says of the surrogate, one by one."""
        return {"surrogate": asdict(surrogate_card(self.surrogate))} if self.surrogate else {}

    def pushed(self, images: Tensor, signs: Tensor) -> Tensor:
        """Each photo by itself: so a batch gives what its photos give."""
        if not self.surrogate:
            raise InputError(
                "'korhonen' needs surrogate=FILE, a weights file of a quality model; `robustiqa train` makes one."
            )
        if self.budget == 0:
            return images
        model = load_surrogate(self.surrogate, device=images.device, dtype=images.dtype)
        found = [self._search(model, image[None], sign) for image, sign in zip(images, signs.tolist(), strict=True)]
        return torch.cat(found)

    def _search(self, model: QualityModel, clean: Tensor, sign: float) -> Tensor:
        """The image of the lowest loss that the search meets; (1, 3, H, W)."""
        activity = activity_map(clean[0]).to(clean)
        image = clean.clone()
        adam = torch.optim.Adam([image], lr=self.rate)
        best, lowest, stale = clean, float("inf"), 0
        for step in range(self.steps + 1):
            loss, gradient = _loss(model, image, sign)
            stale = 0 if loss < lowest else stale + 1
            if loss < lowest:
                best, lowest = image.clone(), loss
            if step == self.steps or (step >= self.min_steps and stale >= PATIENCE):
                break
            image.grad = gradient * activity / LEVELS
            adam.step()
            image.copy_(project_linf(image, clean, self.budget))
        return best


def _loss(model: QualityModel, image: Tensor, sign: float) -> tuple[float, Tensor]:
    """1 minus (raising) or plus (lowering) the score as a part of the surrogate's scale, and its gradient per pixel."""
    with torch.enable_grad():
        leaf = image.detach().requires_grad_()
        scores = model(leaf)
        check_scores(scores, 1)
        loss = (1 - sign * scores / model.scale.span).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
    if gradient.isnan().any():
        raise InputError("the surrogate's gradient in the image is not a number; take another surrogate.")
    return loss.item(), gradient


def activity_map(image: Tensor) -> Tensor:
    """Where a photograph is busy, (H, W) in [0, 1]: squared Sobel gradients, largest 1, spread by two pixels.

    The outermost pixels count as flat before spreading; a photograph that is flat everywhere has ones.

    Args:
        image: (3, H, W).

    Source: Korhonen and You 2022, published code: luma, Sobel along both axes, sum of squares, border of one pixel
    zero, divided by the maximum, dilated by a 5x5 square without its corners.
    """
    from scipy import ndimage  # heavy import

    luma = np.tensordot(LUMA, image.detach().double().cpu().numpy(), 1)  # (H, W)
    busy = ndimage.sobel(luma, axis=0) ** 2 + ndimage.sobel(luma, axis=1) ** 2
    inside = np.zeros_like(busy)
    inside[1:-1, 1:-1] = busy[1:-1, 1:-1]
    if inside.max() == 0:
        return torch.ones(luma.shape, dtype=torch.double)
    footprint = np.ones((5, 5), dtype=bool)
    footprint[np.ix_((0, -1), (0, -1))] = False
    spread = ndimage.grey_dilation(inside / inside.max(), footprint=footprint, mode="constant", cval=0.0)
    return torch.from_numpy(spread)
