"""Ensemble: several attacks within one budget, and the worst of what they reach, photo by photo and way by way.

One attack that fails looks like a model that holds. Members that fail for different reasons are compared by the score
of the 8-bit image, which is what counts; the clean image stands among them, so that nothing gets lost. The result says
which member found each image. There is no step size to tune: a preset says all.
The members: `apgd`, from the clean image; `apgd_rank`, APGD from a random point on a rank surrogate of the direction
(`robustiqa.attacks.rank_surrogate`); `square`, which follows no gradient.
Threat model: white-box; the search without gradients is there for models whose gradients mislead.
Cost: passes a photo and direction (`worst_of_both` has two directions):

    preset      forward  backward    of a random model: forward  backward
    standard       5211       200                          9145      4000
    quick           561        50                           790       250

A model is random if five passes over the batch do not give one set of scores. APGD then climbs means over `eot` passes
(20; 5 if `quick`). Square spends the same passes on fewer proposals, each scored by such a mean, and the members are
compared by such means. What is reported of the image that is kept is one more draw.
A run over a dataset is resumed batch by batch, with this attack as with all others; inside a photo nothing is.
Source: Croce and Hein 2020, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks" (AutoAttack): the idea, 100 steps, 5000 queries, 20 passes, and five repeats to tell a random model.
Deviations: no score is misclassified and done with, so every member attacks every photo. A rank surrogate stands where
the targeted loss does, for which a score has no classes; FAB is left out. Square attacks random models, too. Any
difference between repeated scores counts as random; AutoAttack allows .0001. L-infinity only, as Square is. A goal that
is no direction (`target`, `squared_shift`) has no rank surrogate and is left to the other two; where it is flat at the
clean image, `apgd` starts at a random point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.apgd import APGD
from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import create_objective
from robustiqa.attacks.rank_surrogate import ByRank, by_rank
from robustiqa.attacks.square import Square
from robustiqa.core.attack import Oracle
from robustiqa.core.attack_result import Contest
from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import Goal, Push
from robustiqa.core.registry import did_you_mean

REPEATS = 5  # AutoAttack's, to see whether scores are drawn at random
UNMOVED = "none"  # where no member beat the clean image


@dataclass(frozen=True)
class Preset:
    """Everything there is to choose. Published numbers never change, for results are labeled by the preset's name.

    Attributes:
        steps: Of each APGD run.
        queries: Of Square.
        eot: Passes that stand for one where the model is random.
    """

    steps: int
    queries: int
    eot: int


PRESETS: dict[str, Preset] = {
    "standard": Preset(steps=100, queries=5000, eot=20),  # Croce and Hein 2020
    "quick": Preset(steps=25, queries=500, eot=5),
}


@dataclass(frozen=True, kw_only=True)
class Ensemble(NamedAttack):
    """The worst of APGD on the score, APGD on a rank surrogate and Square, photo by photo and direction by direction.

    Args:
        eps: Budget of every member.
        objective: As in `NamedAttack`; any will do.
        seed: Of every member: each draws as it would alone.
        preset: `standard` (5,211 forward and 200 backward passes a photo and direction) or `quick` (561 and 50).

    Source: Croce and Hein 2020, section 5.
    """

    name: ClassVar[str] = "ensemble"

    preset: str = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in PRESETS:
            hint = did_you_mean(str(self.preset), sorted(PRESETS))
            raise InputError(f"unknown preset {self.preset!r}{hint} Known: {', '.join(PRESETS)}.")

    @property
    def members(self) -> dict[str, APGD | Square]:
        """The members as attacks of their own: each alone reaches what it reaches in the ensemble."""
        objective, preset = create_objective(self.objective), PRESETS[self.preset]
        start = objective.flat_at_start
        found: dict[str, APGD | Square] = {
            "apgd": APGD(eps=self.eps, objective=objective, seed=self.seed, steps=preset.steps, random_start=start)
        }
        if all(isinstance(goal, Push) for goal in objective.goals(torch.zeros(1), ScoreScale())):
            found["apgd_rank"] = APGD(
                eps=self.eps, objective=ByRank(objective), seed=self.seed, steps=preset.steps, random_start=True
            )
        found["square"] = Square(eps=self.eps, objective=objective, seed=self.seed, queries=preset.queries)
        return found

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the preset stands for, so that a run's records are bound to its numbers."""
        members = {name: member.label for name, member in self.members.items()}
        return {"members": members, "eot": PRESETS[self.preset].eot}

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """The image of the member that got farthest, or the clean one."""
        return self.compete(oracle, images, goal, generators)[0]

    def compete(
        self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Contest]:
        """The image of the member that got farthest, and how far each got; the first of equals is kept."""
        passes = PRESETS[self.preset].eot if _is_random(oracle, images) else 1
        found = {UNMOVED: images}
        for name, member in self.members.items():
            aim = by_rank(goal, oracle.clean_scores, oracle.scale) if isinstance(member.objective, ByRank) else goal
            draws = [_copied(draw) for draw in generators]
            reached = _search(member, passes, oracle, images, aim, draws)
            found[name] = self.ball.project(reached.detach(), images)
        candidates = list(found.values())
        scores = torch.stack([_mean_scores(oracle, self.ball.to_8bit(made, images), passes) for made in candidates])
        won = torch.stack([goal(row) for row in scores]).argmax(0)  # (N,)
        rows = torch.arange(len(images), device=images.device)
        return torch.stack(candidates)[won, rows], Contest(tuple(found), scores, won)


def _is_random(oracle: Oracle, images: Tensor) -> bool:
    """Whether any photo's score is not the same every time."""
    scores = torch.stack([oracle.scores(images) for _ in range(REPEATS)])
    return bool((scores != scores[0]).any())


def _search(
    member: APGD | Square,
    passes: int,
    oracle: Oracle,
    images: Tensor,
    goal: Goal,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """What a member makes of the images; of a random model it sees means over `passes`."""
    if passes == 1:
        return member.perturb(oracle, images, goal, generators)
    if isinstance(member, APGD):
        return replace(member, eot=passes).perturb(oracle, images, goal, generators)
    fewer = replace(member, queries=max(member.queries // passes, 1))
    return fewer.perturb(_MeanOracle(oracle, images, passes), images, goal, generators)


def _mean_scores(oracle: Oracle, images: Tensor, passes: int, rows: Tensor | None = None) -> Tensor:
    """Scores, each the mean over several passes, (N,)."""
    return torch.stack([oracle.scores(images, rows) for _ in range(passes)]).mean(0)


def _copied(draw: torch.Generator) -> torch.Generator:
    """A generator that will draw the same, and leaves the first as it is."""
    copied = torch.Generator(draw.device)
    copied.set_state(draw.get_state())
    return copied


class _MeanOracle(Oracle):
    """An oracle whose scores are means over several passes of another, which counts them; it gives no gradient.

    Args:
        oracle: The other.
        images: Clean images, (N, 3, H, W).
        passes: For one score.
    """

    def __init__(self, oracle: Oracle, images: Tensor, passes: int) -> None:
        self._oracle, self._passes = oracle, passes
        self.white_box, self.scale = False, oracle.scale
        self.queries, self.gradients = oracle.queries, oracle.gradients
        self.clean_scores = self.scores(images)

    def scores(self, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """Means, (N,); each pass is a query."""
        return _mean_scores(self._oracle, images, self._passes, rows)
