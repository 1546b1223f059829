"""Diagnostics: what in an evaluation's own records says that it should not be believed.

Each check raises named flags, each with one sentence; a check without the records it reads is not made, and said to
be so. No flag is no proof. What records can't show, repeated scores and training mode, is for
`robustiqa.evaluation.probe`; what it found comes in with the evaluation's notes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robustiqa.evaluation import comparisons, readings
from robustiqa.evaluation.flags import CHECKS, Flag, Found, Seen
from robustiqa.evaluation.readings import FEWEST_PHOTOS
from robustiqa.evaluation.runs import group_runs
from robustiqa.evaluation.views import Evaluation

PROBED = ("random_output", "training_mode")  # what a probe always looks at
SHRUNK = "shrunk_scores"  # the one check of two models
LESS = 0.9  # of the baseline's change: a defended model that moves by more makes no claim to be explained


@dataclass(frozen=True)
class Diagnosis:
    """What the checks found.

    Attributes:
        flags: Those raised.
        made: Checks that had something to look at on every model, in the order of `CHECKS`.
    """

    flags: tuple[Flag, ...]
    made: tuple[str, ...]

    @property
    def not_made(self) -> tuple[str, ...]:
        """Checks that these records give no occasion for."""
        return tuple(name for name in CHECKS if name not in self.made)

    @property
    def raised(self) -> frozenset[str]:
        """Names of the flags."""
        return frozenset(flag.name for flag in self.flags)


def diagnose(
    evaluation: Evaluation, models: Sequence[str] | None = None, pairs: Sequence[tuple[str, str]] = ()
) -> Diagnosis:
    """Checks the records of an evaluation, and takes in what its models said when they were asked.

    Args:
        evaluation: Of any attacks; `info["info"]["probes"]` may hold, by model, the (name, sentence) of each flag
            that `robustiqa.evaluation.probe.probe_model` raised.
        models: Labels; all that scored by default.
        pairs: Baseline and defended labels.

    Raises:
        InputError: if a model has no clean scores.
    """
    raised: list[Flag] = []
    made = set(CHECKS) - {SHRUNK}
    for label in evaluation.models if models is None else models:
        of_model, made_on_model = _diagnose_model(evaluation, label)
        raised += of_model
        made &= made_on_model
    for base, defended in pairs:
        if all(_root_mean_square(evaluation, label) > 0 for label in (base, defended)):
            made.add(SHRUNK)
            raised += _shrunk_scores(evaluation, base, defended)
    order = list(CHECKS)
    return Diagnosis(
        tuple(sorted(raised, key=lambda flag: order.index(flag.name))), tuple(name for name in order if name in made)
    )


def _diagnose_model(evaluation: Evaluation, label: str) -> tuple[list[Flag], set[str]]:
    """Flags of one model, and the checks that had something to look at."""
    seen = Seen(label, evaluation, evaluation.clean(label).records, tuple(group_runs(evaluation.records, label)))
    probes: Mapping[str, Sequence[tuple[str, str]]] = evaluation.info.get("info", {}).get("probes", {})
    raised = [Flag(name, label, sentence) for name, sentence in probes.get(label, ())]
    known = {flag.name for flag in raised}
    made = set(PROBED) if label in probes else set()
    for name, (occasion, check) in _OF_A_MODEL.items():
        if occasion(seen):
            made.add(name)
            raised += check(seen) if name not in known else ()
    return raised, made


def _shrunk_scores(evaluation: Evaluation, base: str, defended: str) -> Found:
    """Whether more than half of a smaller change, as a ratio, is a narrower spread of the clean scores."""
    spreads = [float(np.std(evaluation.clean(label).before)) for label in (base, defended)]
    moved = [_root_mean_square(evaluation, label) for label in (base, defended)]
    if min(spreads) <= 0 or moved[1] > LESS * moved[0]:
        return
    if math.log(spreads[1] / spreads[0]) < 0.5 * math.log(moved[1] / moved[0]):
        yield Flag(
            SHRUNK,
            defended,
            f"{defended} moves by {moved[1]:.2f} points where {base} moves by {moved[0]:.2f}, but its clean scores "
            f"are spread over {spreads[1]:.2f} instead of {spreads[0]:.2f}: compare the change over the spread.",
        )


def _root_mean_square(evaluation: Evaluation, label: str) -> float:
    """Over all white-box changes of a model; 0 where there are none."""
    gains = [gain for run in group_runs(evaluation.records, label) if run.white_box for gain in run.gains.values()]
    return math.sqrt(math.fsum(gain**2 for gain in gains) / len(gains)) if gains else 0.0


_OF_A_MODEL: Mapping[str, tuple[Callable[[Seen], object], Callable[[Seen], Found]]] = {  # occasion, check
    "random_output": (readings.scored_again, readings.random_output),
    "zero_gradient": (readings.gradient_norms, readings.zero_gradient),
    "saturated_head": (lambda seen: len(seen.clean) >= FEWEST_PHOTOS, readings.saturated_head),
    "black_box_stronger": (comparisons.blind, comparisons.black_box_stronger),
    "iterative_weaker": (comparisons.steps_apart, comparisons.iterative_weaker),
    "larger_budget_weaker": (comparisons.by_budget, comparisons.larger_budget_weaker),
    "not_converged": (comparisons.by_length, comparisons.not_converged),
    "lost_in_8bit": (lambda seen: seen.own, readings.lost_in_8bit),
    "budget_broken": (lambda seen: seen.runs, readings.budget_broken),
    "one_sided": (lambda seen: list(readings.directions(seen)), readings.one_sided),
}
