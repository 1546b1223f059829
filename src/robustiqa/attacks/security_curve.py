"""Security curve: what an attack reaches under one budget after another, as one line that only goes up.

Threat model: the attack's.
Cost: the attack's, for every budget. The clean pass is made once.
Source: Biggio and Roli 2018, Wild Patterns (security evaluation curves); Carlini et al. 2019, On Evaluating
Adversarial Robustness (success against budget; a larger budget is never weaker).
Deviations: an attack that climbs inside a ball starts under each budget where it ended under the one before,
which lies inside; and whatever the attack, a photo keeps its 8-bit result of a smaller budget where the larger one
found nothing better. So the curve is monotone by construction, photo by photo. What is counted at a budget is
the work of all budgets up to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.in_ball import BallAttack
from robustiqa.attacks.objectives import OneGoal, create_objective
from robustiqa.core.attack import Attack, AttackResult, CleanPass, Oracle, clean_pass
from robustiqa.core.attack_result import chosen_contest
from robustiqa.core.balls import parse_size
from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import Goal


@dataclass(frozen=True)
class SecurityCurve:
    """What an attack did to N photos under B budgets.

    Attributes:
        budgets: In ascending order, (B,), as numbers in the attack's norm.
        results: One for each budget; queries and gradients add up from budget to budget.
    """

    budgets: tuple[float, ...]
    results: tuple[AttackResult, ...]

    @property
    def clean_scores(self) -> Tensor:
        """Scores before, (N,)."""
        return self.results[0].clean_scores

    @property
    def scores_8bit(self) -> Tensor:
        """Scores of the 8-bit images, (B, N)."""
        return torch.stack([result.scores_8bit for result in self.results])

    @property
    def changes(self) -> Tensor:
        """How far each 8-bit score moved, (B, N), without its sign.

        It never falls with the budget for objectives that push scores or shift them; under `target` it is the
        distance to the target that never grows.
        """
        return (self.scores_8bit - self.clean_scores).abs()


def security_curve(
    attack: NamedAttack,
    model: nn.Module,
    images: Tensor,
    budgets: Sequence[float | str],
    *,
    keys: Sequence[str] | None = None,
) -> SecurityCurve:
    """Attacks a batch under several budgets, each from the result of the one before.

    Args:
        attack: Any attack; its own `eps` is not used.
        model: As for the attack.
        images: Clean images, (N, 3, H, W), in [0, 1].
        budgets: In ascending order, each as `eps` is written: numbers or fractions such as `4/255`.
        keys: What names each photo in random draws; its place in the batch by default.

    Raises:
        InputError: if the budgets do not ascend, or for what the attack refuses.
    """
    sizes = tuple(parse_size(eps, attack.norm, "each budget") for eps in budgets)
    if not sizes or any(small >= large for small, large in pairwise(sizes)):
        raise InputError(f"budgets must ascend, got {', '.join(str(eps) for eps in budgets) or 'none'}.")
    clean = clean_pass(model, images) if attack.threat_model == "white-box" else None
    objective = create_objective(attack.objective)
    scale = getattr(model, "scale", ScoreScale())
    count = len(objective.goals(images.new_zeros(1), scale))
    chains = []
    for place in range(count):
        goal = OneGoal(objective, place)
        runs = [replace(attack, eps=eps, objective=goal) for eps in sizes]
        chains.append(_chain(runs, goal, scale, model, images, keys, clean))
    results = chains[0] if count == 1 else _larger_changes(chains)
    return SecurityCurve(sizes, tuple(_counted(results, chains)))


@dataclass(frozen=True, kw_only=True)
class _Warm(Attack):
    """An attack that starts from images found before, inside its ball."""

    attack: BallAttack
    start: Tensor = field(repr=False)
    norm: str = "linf"

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        return self.attack.perturb_from(self.start, oracle, images, goal, generators)


def _chain(
    runs: Sequence[NamedAttack],
    objective: OneGoal,
    scale: ScoreScale,
    model: nn.Module,
    images: Tensor,
    keys: Sequence[str] | None,
    clean: CleanPass | None,
) -> list[AttackResult]:
    """One goal under every budget; a photo keeps what it has unless the goal is larger in 8 bits."""
    found: list[AttackResult] = []
    for run in runs:
        attack: Attack = run
        if found and isinstance(run, BallAttack):
            attack = _Warm(
                attack=run, start=found[-1].images, eps=run.eps, norm=run.norm, objective=objective, seed=run.seed
            )
        result = attack(model, images, keys=keys, clean=clean)
        result = replace(result, won=torch.full_like(result.won, objective.place))
        if found:
            (goal,) = objective.goals(result.clean_scores, scale)
            values = torch.stack([goal(part.scores_8bit) for part in (found[-1], result)])
            result = _picked((found[-1], result), values.argmax(0))
        found.append(result)
    return found


def _larger_changes(chains: Sequence[Sequence[AttackResult]]) -> list[AttackResult]:
    """Photo by photo and budget by budget, the goal that moved the 8-bit score most, or what moved it more before."""
    found: list[AttackResult] = []
    for at_budget in zip(*chains, strict=True):
        options = (*found[-1:], *at_budget)
        changes = torch.stack([(part.scores_8bit - part.clean_scores).abs() for part in options])
        found.append(_picked(options, changes.argmax(0)))
    return found


def _picked(options: Sequence[AttackResult], chosen: Tensor) -> AttackResult:
    """Each photo's result from one of several; `chosen` (N,) says which."""
    rows = torch.arange(len(chosen), device=chosen.device)

    def pick(name: str) -> Tensor:
        return torch.stack([getattr(part, name) for part in options])[chosen, rows]

    return replace(
        options[-1],
        images=pick("images"),
        images_8bit=pick("images_8bit"),
        scores=pick("scores"),
        scores_8bit=pick("scores_8bit"),
        won=pick("won"),
        contest=chosen_contest([part.contest for part in options], chosen),
    )


def _counted(results: Sequence[AttackResult], chains: Sequence[Sequence[AttackResult]]) -> list[AttackResult]:
    """The results, each with the passes of all goals and all budgets up to its own."""
    found = []
    queries = gradients = torch.zeros_like(chains[0][0].queries)
    for result, at_budget in zip(results, zip(*chains, strict=True), strict=True):
        queries = queries + torch.stack([part.queries for part in at_budget]).sum(0)
        gradients = gradients + torch.stack([part.gradients for part in at_budget]).sum(0)
        found.append(replace(result, queries=queries, gradients=gradients))
    return found
