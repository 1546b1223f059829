"""What one model as the attacked one gives on one batch: clean records, then those of every attack and goal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.learned import SIGNS
from robustiqa.attacks.objectives import FartherEnd, Lower, Raise, RankSplit, create_objective
from robustiqa.attacks.patchwise import attack_patchwise
from robustiqa.attacks.perceptual_similarity import Similarity
from robustiqa.core.attack import AttackResult, clean_pass
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.recording import Batch, attack_records, clean_records, transferred
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.spending import Spent, spending
from robustiqa.models.crop_average import CropAverage


class PlannedRun(NamedTuple):
    """An attack with one goal."""

    attack: NamedAttack
    goal: str
    variant: str


class Searched(NamedTuple):
    """What an attack found that does not ask the model, and what that cost."""

    images: Tensor
    spent: Spent


Shared: TypeAlias = dict[tuple[str, str, int, int], Searched]  # attack, goal, and part of the batch


def plan_runs(attacks: Sequence[NamedAttack], variants: Sequence[str]) -> list[PlannedRun]:
    """What is run, each run once."""
    runs: dict[tuple[str, str, str], PlannedRun] = {}
    for attack in attacks:
        for variant in variants:
            aim = create_objective(attack.objective)
            picks = ("worst_of_both",) if variant == "patchwise" else ("farther_end", "worst_of_both", "rank_split")
            # patchwise, `farther_end` decides crop by crop
            both = aim.name in picks and not (isinstance(aim, FartherEnd | RankSplit) and aim.once)
            goals = {"lower": Lower(), "raise": Raise()} if both else {aim.name: attack.objective}
            for goal, objective in goals.items():
                wanted = PlannedRun(replace(attack, objective=objective), goal, variant)
                planned = runs.setdefault((attack.label, goal, variant), wanted)
                if planned.attack.objective != objective:
                    raise InputError(
                        f"{attack.label} is asked for both {planned.attack.objective!r} and {objective!r}, which "
                        "records can't tell apart; evaluate them one at a time."
                    )
    return list(runs.values())


def run_batch(
    label: str,
    model: QualityModel,
    others: Mapping[str, QualityModel],
    batch: Batch,
    runs: Sequence[PlannedRun],
    timed: bool,
    lpips: Similarity | None,
    shared: Shared | None,
    part: slice,
) -> Iterator[Record]:
    """All records of one model as the attacked one on a part of one batch.

    Args:
        label: Of the model.
        model: The attacked one.
        others: That score what is found, too.
        batch: Of photographs.
        runs: Attacks and goals.
        timed: Whether records hold seconds and memory.
        lpips: For records to hold LPIPS.
        shared: What is found without asking the model goes there, for the models that come after; None if none does.
        part: Which photographs of the batch.
    """
    batch = batch[part]
    device = batch.images.device
    with spending(device, timed) as clean_spent:
        clean = clean_pass(model, batch.images)
    yield from clean_records(label, batch, clean)
    for attack, goal, variant in runs:
        known = (attack.label, goal, part.start, part.stop)
        again = shared.get(known) if shared is not None and variant == "end_to_end" else None
        with spending(device, timed) as spent:
            if variant == "patchwise":
                if not isinstance(model, CropAverage):
                    raise InputError(
                        f"{label!r} takes whole photographs; a patchwise variant needs a model that averages crops."
                    )
                result: AttackResult = attack_patchwise(attack, model, batch.images, batch.keys)
            else:
                images = None if again is None else again.images
                result = attack(model, batch.images, keys=batch.keys, clean=clean, found=images)
            result.scores_8bit.tolist()  # waits for the device
        if again is not None:
            spent = again.spent
        elif shared is not None and variant == "end_to_end" and not attack.asks_model and goal in SIGNS:
            shared[known] = Searched(result.images, spent)
        if variant == "end_to_end" and result.gradients.any():
            spent = _with_clean_pass(spent, clean_spent)
        found = attack_records(label, batch, attack, goal, variant, result, spent, lpips)
        yield from found
        for other, scorer in others.items() if variant == "end_to_end" else ():
            yield from transferred(other, scorer, batch, found, result)


def _with_clean_pass(spent: Spent, clean: Spent) -> Spent:
    """What an attack spent that begins from the shared pass over the clean photographs, whose memory it needs, too."""
    if spent.memory is None or clean.memory is None:
        return spent
    return replace(spent, memory=max(spent.memory, clean.memory))
