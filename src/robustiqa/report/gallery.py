"""The photographs that an attack moved farthest: clean, adversarial, and the difference made visible.

Records hold no pixels, so the attack is run again on these few photographs.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import WorstOfBoth
from robustiqa.core import pixels
from robustiqa.core.attack import AttackResult
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.study import RANDOM, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.models.crop_average import CropAverage

WIDEST = 384  # pixels: what two columns of a page show
AGREEMENT = 0.01  # of the scale: how far the clean score of a model may lie from its record


@dataclass(frozen=True)
class GalleryScore:
    """One model's score of a photograph before and after its own attack."""

    label: str
    before: float
    after: float


@dataclass(frozen=True)
class GalleryItem:
    """One photograph.

    Attributes:
        key: Its name.
        mos: Its opinion score on 0..100, or None.
        attack: Label of the attack.
        levels: Whole 8-bit levels it may change a pixel by.
        attacked_on: Label of the model whose adversarial image is shown.
        ssim: Structural similarity of that image, in 8 bits, to the clean one.
        scores: Each model's, attacked on itself; the shown one's first.
        clean: The photograph, a PNG.
        adversarial: The 8-bit adversarial image, a PNG.
        difference: Their difference about mid-gray, times `amplification`, a PNG; pixel for pixel, so only the middle
            of a photograph that is shown smaller: skipping pixels would show patterns that are not there.
        width: Of these pictures, in pixels.
        height: Likewise.
        scale: Width here over width of the photograph; at most 1.
        amplification: What the difference was multiplied by.
        goal: What the attack was aimed at.
        why: What it is an example of, where photographs are shown for several reasons.
    """

    key: str
    mos: float | None
    attack: str
    levels: int
    attacked_on: str
    ssim: float
    scores: tuple[GalleryScore, ...]
    clean: bytes
    adversarial: bytes
    difference: bytes
    width: int
    height: int
    scale: float
    amplification: int
    goal: str = "worst_of_both"
    why: str = ""


def build_gallery(
    evaluation: Evaluation,
    models: Mapping[str, QualityModel],
    dataset: Dataset,
    attacks: Sequence[NamedAttack],
    count: int = 6,
) -> list[GalleryItem]:
    """Runs an attack again on the photographs that it moved farthest.

    The photographs are those with the largest change of the baseline's 8-bit score (the first model's, where nothing
    is compared) in either direction, under the first of `attacks` that the evaluation holds.

    Args:
        evaluation: Whose records say which photographs those are.
        models: Labels to models; at least the baseline and, where there is one, the defended model (first seeds).
        dataset: The photographs that were evaluated.
        attacks: As in the evaluation; random signs are passed over.
        count: How many photographs.

    Raises:
        InputError: if no attack or no model is there, or a model's clean score is not that of its record.
        DataError: if the dataset lacks a photograph.
    """
    check_positive_integer(count, "count")
    read = study(evaluation, samples=1)
    attack = _first_known(attacks, read.attacks)
    wanted = list(dict.fromkeys(group.labels[0] for group in read.columns))
    if read.comparison is None:
        wanted = [label for label in wanted if label in models]
    missing = [label for label in wanted if label not in models]
    if missing or not wanted:
        raise InputError(
            f"the gallery needs the model {(missing or list(read.labels))[0]!r}, got {', '.join(models) or 'none'}."
        )
    small = str(evaluation.info.get("small", "refuse"))
    whole = {label: whole_photo(models[label], small) for label in wanted}
    scores = evaluation.attacked(wanted[0], attack.label, "worst_of_both")
    worst = sorted(scores.records, key=lambda record: (-abs(record.score - record.clean_score), record.key))[:count]
    photos = {photo.key: photo for photo in dataset.select([record.key for record in worst])}
    both_ways = replace(attack, objective=WorstOfBoth())
    return [gallery_item(photos[record.key], both_ways, whole, evaluation) for record in worst]


def _first_known(attacks: Sequence[NamedAttack], known: Sequence[str]) -> NamedAttack:
    for attack in attacks:
        if attack.label in known and not attack.label.startswith(RANDOM):
            return attack
    raise InputError(
        f"the gallery needs an attack of the evaluation ({', '.join(known) or 'it holds none'}), got "
        f"{', '.join(attack.label for attack in attacks) or 'none'}."
    )


def whole_photo(model: QualityModel, small: str) -> QualityModel:
    """The model that scores whole photographs; `small` is as in `evaluate`."""
    return (model if model.crop_size is None else CropAverage(model, small=small)).eval()


def gallery_item(
    photo: Photo,
    attack: NamedAttack,
    models: Mapping[str, QualityModel],
    evaluation: Evaluation,
    *,
    goal: str = "worst_of_both",
    why: str = "",
    widest: int = WIDEST,
) -> GalleryItem:
    """Attacks one photograph on each of some models, and pictures what was found on the first.

    Args:
        photo: What is attacked.
        attack: With its objective.
        models: Labels to models of whole photographs.
        evaluation: Whose records say what the models' clean scores are.
        goal: Name of the attack's objective.
        why: See `GalleryItem`.
        widest: The most pixels of a picture's width.

    Raises:
        InputError: if a model's clean score is not that of its record.
    """
    image = photo.read()[None]
    results: dict[str, AttackResult] = {}
    for label, model in models.items():
        result = attack(model, image.to(model.input_mean.device), keys=[photo.key])
        _check_clean_score(label, photo.key, float(result.clean_scores), evaluation)
        results[label] = result
    shown = next(iter(results.values()))
    difference, amplification = pixels.visible_difference(shown.images_8bit, shown.clean_images)
    scale = min(1.0, widest / image.shape[-1])
    size = (max(1, round(scale * image.shape[-1])), max(1, round(scale * image.shape[-2])))
    return GalleryItem(
        key=photo.key,
        mos=photo.mos,
        attack=attack.label,
        levels=attack.ball.levels,
        attacked_on=next(iter(results)),
        ssim=float(pixels.ssim(shown.images_8bit, shown.clean_images)),
        scores=tuple(
            GalleryScore(label, float(result.clean_scores), float(result.scores_8bit))
            for label, result in results.items()
        ),
        clean=_png(shown.clean_images[0], size),
        adversarial=_png(shown.images_8bit[0], size),
        difference=_png(_middle(difference[0], size)),
        width=size[0],
        height=size[1],
        scale=scale,
        amplification=amplification,
        goal=goal,
        why=why,
    )


def _check_clean_score(label: str, key: str, score: float, evaluation: Evaluation) -> None:
    recorded = {record.key: record.clean_score for record in evaluation.clean(label).records}
    if key not in recorded or not abs(score - recorded[key]) <= AGREEMENT * evaluation.scale(label).span:
        raise InputError(
            f"model {label!r} scores {key} {score:.2f}, its record says {recorded.get(key, math.nan):.2f}; "
            "pass the models that were evaluated."
        )


def _middle(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of an image (3, H, W), of a width and height."""
    width, height = size
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[:, top : top + height, left : left + width]


def _png(image: Tensor, size: tuple[int, int] | None = None) -> bytes:
    """An image (3, H, W) in [0, 1], at another size if one is given, as PNG bytes without metadata."""
    levels = torch.round(image.detach().clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).contiguous()
    picture = Image.fromarray(levels.cpu().numpy())
    if size is not None and picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return data.getvalue()
