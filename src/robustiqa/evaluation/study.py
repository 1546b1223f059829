"""An evaluation made ready to be read: which models are compared, against which controls, under what.

A comparison is credited only with what it gains over its controls: `shrink` (the baseline compressed to the defended
model's spread, which is arithmetic on its records), and models trained for the purpose, such as `matched accuracy`
and `noise`. `random` is no defense but the other yardstick: what signs drawn at random do to the baseline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from robustiqa.core.calibration import Logistic
from robustiqa.core.errors import InputError
from robustiqa.evaluation.diagnostics import Diagnosis, diagnose
from robustiqa.evaluation.measures import MEASURES, Condition, Estimate, Group
from robustiqa.evaluation.records import CLEAN, Record, norm_of
from robustiqa.evaluation.summary import FEWEST_PHOTOS, SAMPLES, Summary
from robustiqa.evaluation.views import Array, Evaluation
from robustiqa.metrics.robustness import score_spread

RANDOM = "random_sign("
SHRINK = "shrink"
HONEST = ("worst_of_both", "rank_split", "farther_end")  # the paper's last: it flatters


@dataclass(frozen=True)
class Comparison:
    """A baseline, a defended model, and what else might explain the difference.

    Attributes:
        base: The baseline.
        defended: The model with the defense.
        shrink: The baseline compressed; None if its clean scores have no spread.
        trained: Controls that were trained for the purpose.
    """

    base: Group
    defended: Group
    shrink: Group | None
    trained: tuple[Group, ...]

    @property
    def controls(self) -> tuple[Group, ...]:
        """All of them, `shrink` first."""
        return self.trained if self.shrink is None else (self.shrink, *self.trained)


@dataclass(frozen=True)
class Gain:
    """What the defended model gains over the best control.

    Attributes:
        control: The control that the measure prefers.
        estimate: On the same photographs: `1 - defended / control` where lower is better, else the difference.
    """

    control: Group
    estimate: Estimate


@dataclass(frozen=True)
class Study:
    """An evaluation with its comparison.

    Attributes:
        summary: Of the evaluation, to which the records of `shrink` were added.
        comparison: None where the evaluation names none.
        pairs: Labels of plain and defended models that diagnostics compare, where there is no one comparison.
    """

    summary: Summary
    comparison: Comparison | None
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def evaluation(self) -> Evaluation:
        """Records and what they are of."""
        return self.summary.evaluation

    @property
    def notes(self) -> Mapping[str, Any]:
        """What was said about the run: `title`, `commands`, ..."""
        found: Mapping[str, Any] = self.evaluation.info.get("info", {})
        return found

    @cached_property
    def columns(self) -> tuple[Group, ...]:
        """The groups that tables put side by side: baseline and defended, or every model by itself."""
        if self.comparison is not None:
            return self.comparison.base, self.comparison.defended
        return tuple(Group(label, (label,)) for label in self.evaluation.models)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Every model that was evaluated, in the order they were given; `shrink` was not."""
        made = self.comparison.shrink if self.comparison else None
        return tuple(label for label in self.evaluation.models if made is None or label not in made.labels)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What in the records says that they should not be believed."""
        sides = (self.comparison.base.labels, self.comparison.defended.labels) if self.comparison else ((), ())
        return diagnose(self.evaluation, self.labels, (*self.pairs, *zip(*sides, strict=False)))

    @cached_property
    def has_mos(self) -> bool:
        """Whether every photograph carries an opinion score."""
        return all(self.evaluation.clean(label).mos is not None for label in self.columns[0].labels)

    @cached_property
    def budgets(self) -> dict[str, tuple[float, int]]:
        """Each attack's eps and the whole 8-bit levels it holds, in the order the attacks were given."""
        return {
            record.attack: (record.eps, record.levels) for record in self.evaluation.records if record.attack != CLEAN
        }

    @property
    def attacks(self) -> list[str]:
        """The attacks that mean it: all but random signs."""
        return [attack for attack in self.budgets if not attack.startswith(RANDOM)]

    def random_signs(self, attack: str) -> str | None:
        """The random signs of the same size as an attack, if they were run."""
        same = [
            other
            for other, budget in self.budgets.items()
            if other.startswith(RANDOM) and budget == self.budgets[attack] and norm_of(attack) == norm_of(other)
        ]
        return same[0] if same else None

    @cached_property
    def variants(self) -> list[str]:
        """`end_to_end`, `patchwise`: those that were run, in that order."""
        found = {record.variant for record in self.evaluation.records if record.attack != CLEAN}
        return [variant for variant in ("end_to_end", "patchwise") if variant in found]

    def objectives(self, attack: str, variant: str = "end_to_end", groups: Sequence[Group] = ()) -> list[str]:
        """Objectives that the records of every group (the columns by default) can show, the most telling first.

        Crops that each decide for themselves are not a choice between two photographs, so a patchwise
        `farther_end` counts only if it was run as such.
        """
        labels = [label for group in groups or self.columns for label in group.labels]
        goals = set.intersection(*(set(self.evaluation.goals(label, attack, variant)) for label in labels))
        both = {"lower", "raise"} <= goals
        shown = [
            objective
            for objective in HONEST
            if objective in goals or (both and not (variant == "patchwise" and objective == "farther_end"))
        ]
        return shown + sorted(goals - set(HONEST) - ({"lower", "raise"} if both else set()))

    def holds(self, group: Group, condition: Condition) -> bool:
        """Whether a group was evaluated under a condition."""
        if condition.attack == CLEAN:
            return True
        return condition.objective in self.objectives(condition.attack, condition.variant, (group,))

    def transferred(self, attack: str, source: Group, scorer: Group) -> bool:
        """Whether what an attack found on one group's models was scored by the other's, pair by pair."""
        pairs = list(zip(source.labels, scorer.labels, strict=False))
        return len(source.labels) == len(scorer.labels) and all(
            (one, other, attack) in self._transfers for one, other in pairs
        )

    @cached_property
    def _transfers(self) -> set[tuple[str, str, str]]:
        return {(record.attacked_on, record.scored_by, record.attack) for record in self.evaluation.records}

    @cached_property
    def headline(self) -> Condition | None:
        """The first attack that was given, under its most telling objective, in 8 bits, end to end if it can be."""
        for attack in self.attacks:
            for variant in self.variants:
                for objective in self.objectives(attack, variant)[:1]:
                    return Condition(attack, objective, variant=variant)
        return None

    def gain(self, measure: str, condition: Condition) -> Gain | None:
        """What the defended model gains over the best control; None if no control was measured so.

        The best is picked by its value on the photographs and then held; random signs are not in the choice.
        """
        if self.comparison is None:
            return None
        known = [
            (estimate.value, group)
            for group in self.comparison.controls
            if self.holds(group, condition) and (estimate := self.summary.estimate(group, measure, condition)).defined
        ]
        if not known:
            return None
        higher = MEASURES[measure].higher_is_better
        _, best = (max if higher else min)(known, key=lambda pair: pair[0])
        compare = self.summary.difference if higher else self.summary.reduction
        return Gain(best, compare(best, self.comparison.defended, measure, condition))


def study(evaluation: Evaluation, *, samples: int = SAMPLES, seed: int = 0) -> Study:
    """Reads the comparison that `evaluation.info["info"]["comparison"]` names and adds the `shrink` control.

    Args:
        evaluation: `comparison`, if it is there, holds `base` and `defended` (labels, seeds paired by position),
            `controls` (name to labels) and, where the defense is not NT, its name as `defense`.
        samples: Bootstrap resamples.
        seed: Of the resamples.

    Raises:
        InputError: if there are no records, or the comparison names a model that is not in them.
    """
    if not evaluation.records:
        raise InputError("the evaluation holds no records; run it first.")
    given = evaluation.info.get("info", {}).get("comparison")
    if given is None:
        return Study(Summary(evaluation, samples, seed), None)
    if not isinstance(given, Mapping) or not {"base", "defended"} <= set(given):
        raise InputError(f"a comparison must hold base and defended, got {given!r}.")
    base = _group("base", given["base"], evaluation)
    defended = _group(f"+{given.get('defense', 'NT')}", given["defended"], evaluation)
    controls = tuple(_group(name, labels, evaluation) for name, labels in given.get("controls", {}).items())
    extended, shrunk = with_shrink(evaluation, base, defended)
    return Study(Summary(extended, samples, seed), Comparison(base, defended, shrunk, controls))


def with_shrink(evaluation: Evaluation, base: Group, defended: Group) -> tuple[Evaluation, Group | None]:
    """Adds what the baseline would score, were it compressed linearly to the defended model's clean spread.

    The map goes about the baseline's own clean mean. Attacks by signed gradients do not change under it, so its
    records follow from the baseline's. Ranks and the change over the spread stay; RMSE and gradients shrink.

    Returns:
        The evaluation with records of models `shrink (LABEL)`, and their group; unchanged, with None, where the
        baseline's clean scores have no spread.
    """
    added: list[Record] = []
    labels: list[str] = []
    info = dict(evaluation.info)
    for plain, held in zip(base.labels, defended.labels, strict=False):  # a seed without partner has no target
        clean = evaluation.clean(plain).before
        wide, narrow = _spread(clean), _spread(evaluation.clean(held).before)
        if wide == 0:
            return evaluation, None
        label = f"{SHRINK} ({plain})"
        factor, mean = narrow / wide, float(clean.mean())
        curve = Summary(evaluation).logistic(plain)
        added += _shrunk(evaluation.records, plain, label, factor, mean)
        info = _shrunk_info(info, plain, label, factor, mean, curve)
        labels.append(label)
    return Evaluation((*evaluation.records, *added), info), Group(SHRINK, tuple(labels))


def _spread(scores: Array) -> float:
    return score_spread(scores) if len(scores) >= FEWEST_PHOTOS else 0.0


def _shrunk(records: Sequence[Record], plain: str, label: str, factor: float, mean: float) -> Iterator[Record]:
    for record in records:
        if (record.scored_by, record.attacked_on) == (plain, plain):
            yield replace(
                record,
                scored_by=label,
                attacked_on=label,
                clean_score=mean + factor * (record.clean_score - mean),
                float_score=mean + factor * (record.float_score - mean),
                score=mean + factor * (record.score - mean),
                gradient_l1=None if record.gradient_l1 is None else factor * record.gradient_l1,
            )


def _shrunk_info(
    info: Mapping[str, Any], plain: str, label: str, factor: float, mean: float, curve: Logistic | None
) -> dict[str, Any]:
    """The run's description with the shrunk model in it: the baseline's scale, its curve moved along."""
    notes = dict(info.get("info", {}))
    models = dict(info.get("models", {}))
    if plain in models:
        models[label] = models[plain]
    if curve is not None and factor > 0:
        moved = replace(curve, center=mean + factor * (curve.center - mean), width=factor * curve.width)
        notes["calibration"] = {**notes["calibration"], label: asdict(moved)}
    return {**info, "models": models, "info": notes}


def _group(name: str, labels: object, evaluation: Evaluation) -> Group:
    listed = [labels] if isinstance(labels, str) else labels
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(label, str) for label in listed):
        raise InputError(f"the comparison's {name!r} must be a list of model labels, got {labels!r}.")
    missing = [label for label in listed if label not in evaluation.models]
    if missing:
        raise InputError(
            f"the comparison's {name!r} names model {missing[0]!r}, which the records don't hold; "
            f"they hold: {', '.join(evaluation.models)}."
        )
    return Group(name, tuple(listed))
