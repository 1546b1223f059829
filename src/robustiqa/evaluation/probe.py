"""Probes: what records can't show of a model, found by asking it about a few photos.

`probe_model` costs `repeats` forward passes and a backward one. `examine` runs short attacks besides, so that every
check of `robustiqa.evaluation.diagnostics` has something to look at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.gradient import FGSM, IFGSM
from robustiqa.attacks.random_sign import RandomSign
from robustiqa.attacks.square import Square
from robustiqa.core.attack import clean_pass
from robustiqa.core.checks import check_pixels, check_positive_integer
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.diagnostics import PROBED, Diagnosis, diagnose
from robustiqa.evaluation.flags import CHECKS, Flag
from robustiqa.evaluation.readings import SAME_SCORE, gradient_sentence, random_sentence
from robustiqa.evaluation.run import evaluate

REPEATS = 5  # AutoAttack's


def probe_model(model: QualityModel, images: Tensor, *, label: str = "model", repeats: int = REPEATS) -> list[Flag]:
    """Looks for training mode, scores that differ from pass to pass, and missing gradients.

    A model in training mode is asked nothing more, for its other faults would be that one's.

    Args:
        model: As it is; nothing about it is changed.
        images: (N, 3, H, W), in [0, 1].
        label: What the flags call it.
        repeats: Passes over the same images.

    Raises:
        InputError: if the images leave [0, 1].
    """
    check_pixels(images)
    check_positive_integer(repeats, "repeats")
    training = next((name for name, part in model.named_modules() if part.training), None)
    if training is not None:
        part = f"its part {training!r}" if training else "it"
        return [
            Flag(
                "training_mode",
                label,
                f"{label} was left in training mode ({part}), where scores depend on their batch: call model.eval().",
            )
        ]
    with torch.no_grad():
        scores = torch.stack([model(images) for _ in range(repeats)])  # (repeats, N)
    widest = (scores.amax(0) - scores.amin(0)).max().item()
    flags = []
    if widest > SAME_SCORE * model.scale.span:
        flags.append(Flag("random_output", label, random_sentence(label, widest)))
    without = sum(not (math.isfinite(norm) and norm > 0) for norm in _gradient_norms(model, images))
    if without:
        flags.append(Flag("zero_gradient", label, gradient_sentence(label, without, len(images))))
    return flags


def _gradient_norms(model: QualityModel, images: Tensor) -> list[float]:
    """L1 norm of each image's gradient; NaN where there is none or it is not a number."""
    norms = []
    for image in images:
        try:
            norms.append(clean_pass(model, image[None]).gradient_l1.item())
        except InputError:  # what white-box attacks refuse, too
            norms.append(math.nan)
    return norms


def probe_attacks(queries: int = 200, steps: int = 10) -> tuple[NamedAttack, ...]:
    """Short attacks of two budgets and two lengths, with gradients and without."""
    return (
        FGSM(eps=0.01),
        FGSM(eps="4/255"),
        IFGSM(eps="4/255", steps=steps),
        IFGSM(eps="4/255", steps=2 * steps),
        Square(eps="4/255", queries=queries),
        RandomSign(eps="4/255"),
    )


def examine(
    models: Mapping[str, QualityModel],
    images: Tensor,
    *,
    pairs: Sequence[tuple[str, str]] = (),
    attacks: Sequence[NamedAttack] | None = None,
) -> Diagnosis:
    """Probes models, attacks them, and makes every check on what comes out.

    A model in training mode, or of which attacks would refuse a gradient, is not attacked: its flag stands for itself.

    Args:
        models: Labels to models; those that are attacked take whole images.
        images: (N, 3, H, W), in [0, 1]; all at a time.
        pairs: Baseline and defended labels.
        attacks: `probe_attacks()` by default.

    Raises:
        InputError: if the images leave [0, 1].
    """
    probes = {label: probe_model(model, images, label=label) for label, model in models.items()}
    blocked = {label for label, model in models.items() if _refused(model, images, probes[label])}
    flags = [flag for label in models if label in blocked for flag in probes[label]]
    attacked = {label: model for label, model in models.items() if label not in blocked}
    if not attacked:
        return Diagnosis(tuple(flags), tuple(name for name in CHECKS if name in (*PROBED, "zero_gradient")))
    dataset = Dataset("probe", tuple(Photo(f"probe-{n:03d}", _Held(image)) for n, image in enumerate(images.cpu())))
    found = evaluate(
        attacked,
        dataset,
        probe_attacks() if attacks is None else attacks,
        batch_size=len(images),
        device=images.device,
        info={"probes": {label: [(f.name, f.sentence) for f in probes[label]] for label in attacked}},
    )
    diagnosis = diagnose(found, pairs=[pair for pair in pairs if not blocked & set(pair)])
    return Diagnosis((*flags, *diagnosis.flags), diagnosis.made)


def _refused(model: QualityModel, images: Tensor, flags: Sequence[Flag]) -> bool:
    """Whether white-box attacks would refuse the model."""
    return any(flag.name == "training_mode" for flag in flags) or any(map(math.isnan, _gradient_norms(model, images)))


@dataclass(frozen=True)
class _Held:
    """An image in memory, as a dataset's source."""

    image: Tensor

    def read(self) -> Tensor:
        return self.image
