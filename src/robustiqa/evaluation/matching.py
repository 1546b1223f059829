"""Attacks compared at equal structural similarity (SSIM): a rival may change photographs as much, and no more.

A rival is run at several sizes. For each photograph one of its images is taken, or the clean one, so that the mean SSIM
is that of the attack it stands beside. Only SSIM decides, never a score, and every number is of a real 8-bit image.

Source: ours; the choice is error diffusion (Floyd and Steinberg 1976) in one dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from robustiqa.core.errors import InputError
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.views import Evaluation


@dataclass(frozen=True)
class Matched:
    """A rival at the SSIM of an attack, on one model under one objective.

    Attributes:
        records: One a photo, under the rival's own labels; the clean record where nothing could be changed.
        wanted: Mean SSIM of the attack.
        reached: Mean SSIM of the rival.
    """

    records: tuple[Record, ...]
    wanted: float
    reached: float


def levels_at_equal_ssim(wanted: Sequence[float], offered: Sequence[Sequence[float]]) -> list[int]:
    """Which of several sizes each photo takes, so that sums of SSIM keep together from photo to photo.

    Each takes the size whose SSIM is nearest to what is wanted of it plus what the photos before it left over; the
    first of several. While what is wanted lies between what is offered, the means end apart by at most half the widest
    step between neighboring sizes, divided by the number of photos.

    Args:
        wanted: SSIM of the attack, by photo.
        offered: By size, then by photo: SSIM of the rival.
    """
    left_over = 0.0
    chosen = []
    for place, ssim in enumerate(wanted):
        aim = ssim + left_over
        best = min(range(len(offered)), key=lambda size: abs(offered[size][place] - aim))
        left_over = aim - offered[best][place]
        chosen.append(best)
    return chosen


def at_equal_ssim(evaluation: Evaluation, model: str, attack: str, rival: Sequence[str], objective: str) -> Matched:
    """A rival's records at the mean SSIM of an attack, the directions being those of the objective.

    Args:
        evaluation: With records of the attack and of the rival at every size.
        model: Label of the model that was attacked and scored.
        attack: Label of the attack.
        rival: Labels of the rival, small changes first.
        objective: See `Evaluation.attacked`.

    Raises:
        InputError: if records are missing, or the rival met other photographs.
    """
    stands = evaluation.attacked(model, attack, objective)
    sizes = [evaluation.clean(model), *(evaluation.attacked(model, label, objective) for label in rival)]
    for label, size in zip(("clean", *rival), sizes, strict=True):
        if size.keys != stands.keys:
            raise InputError(f"{attack} and {label} were run on other photographs; finish the evaluation first.")
    wanted = [record.ssim for record in stands.records]
    chosen = levels_at_equal_ssim(wanted, [[record.ssim for record in size.records] for size in sizes])
    records = tuple(sizes[size].records[place] for place, size in enumerate(chosen))
    reached = sum(record.ssim for record in records) / len(records)
    return Matched(records, sum(wanted) / len(wanted), reached)


def with_matched(evaluation: Evaluation, matched: Matched, label: str, objective: str) -> Evaluation:
    """The evaluation with a rival at equal SSIM as one more attack, run under one objective."""
    added = tuple(replace(record, attack=label, goal=objective) for record in matched.records)
    return replace(evaluation, records=(*evaluation.records, *added))
