"""How far scores can be moved at each degree of visibility: the perceptual attack over a list of weights.

Threat model: the attack's.
Cost: the attack's for each weight; the clean pass is made once.
Source: Zhang et al. 2022; the weights are their published code's. There, people look at the photos of all weights, and
the largest change that they can't see counts; here the curve is what is returned.
Deviations: none beyond the attack's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from robustiqa.attacks.perceptual import Perceptual
from robustiqa.attacks.perceptual_similarity import create_similarity
from robustiqa.core import pixels
from robustiqa.core.attack import clean_pass
from robustiqa.core.errors import InputError

# Zhang et al. 2022, published code
PUBLISHED_WEIGHTS = (
    *(0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 3.0, 5.0, 7.0, 9.0, 20.0, 40.0, 60.0, 80.0, 100.0, 300.0, 500.0, 700.0, 900.0),
    *(2e3, 4e3, 6e3, 8e3, 1e4, 3e4, 5e4, 7e4, 9e4, 2e5, 6e5, 1e6, 5e6, 9e6),
)


@dataclass(frozen=True)
class PerceptualSweep:
    """A curve a photo: score change against similarity, a point a weight; all of 8-bit images.

    Attributes:
        weights: W of them, as given.
        score_changes: Score after minus score before, (W, N), on the model's scale.
        similarities: To the clean photos, (W, N); 1 for no change.
        linf: Largest pixel changes, (W, N), in [0, 1] units.
    """

    weights: tuple[float, ...]
    score_changes: Tensor
    similarities: Tensor
    linf: Tensor


def perceptual_sweep(
    attack: Perceptual,
    model: nn.Module,
    images: Tensor,
    weights: Sequence[float] = PUBLISHED_WEIGHTS,
    *,
    keys: Sequence[str] | None = None,
) -> PerceptualSweep:
    """Runs an attack with each weight in turn, from the same start.

    Args:
        attack: All but the weight; its similarity is measured for weight 0, too.
        model: As for any attack.
        images: Clean images, (N, 3, H, W), in [0, 1].
        weights: Of the similarity.
        keys: What names each photo in random draws; its place in the batch by default.

    Raises:
        InputError: if there are no weights, or the images leave [0, 1], or the model is in training mode.
        WeightsError: if the similarity's own weights are missing.
    """
    attacks = [replace(attack, weight=weight) for weight in weights]
    if not attacks:
        raise InputError("a sweep needs at least one weight.")
    similarity = create_similarity(attack.similarity, attack.perceptual_weights)
    clean = clean_pass(model, images)
    changes, similarities, linf = [], [], []
    for one in attacks:
        result = one(model, images, keys=keys, clean=clean)
        changes.append(result.scores_8bit - result.clean_scores)
        linf.append(pixels.linf_distance(result.images_8bit, result.clean_images))
        with torch.no_grad():
            similarities.append(similarity(result.images_8bit, result.clean_images))
    return PerceptualSweep(
        tuple(one.weight for one in attacks), torch.stack(changes), torch.stack(similarities), torch.stack(linf)
    )
