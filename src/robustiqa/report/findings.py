"""What the numbers say, in sentences and in a few figures for someone with one minute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from robustiqa.evaluation.measures import Condition, Estimate, Group
from robustiqa.evaluation.study import Comparison, Study
from robustiqa.report.captions import objective_name, photographs
from robustiqa.report.tables import number

HARDLY_VISIBLE = 4  # 8-bit levels a pixel; at 4/255 people hardly see a signed-gradient pattern on a photograph


@dataclass(frozen=True)
class KeyFigure:
    """One number to remember.

    Attributes:
        title: What it is.
        before: Without the defense; empty where there is one value only.
        value: With it.
        note: What to think of it.
    """

    title: str
    before: str
    value: str
    note: str


def findings(study: Study) -> tuple[str, ...]:
    """What was tested, how far scores moved, what the defense gained and what it cost; made of the numbers alone."""
    return tuple(_compared(study, study.comparison) if study.comparison else _listed(study))


def key_figures(study: Study) -> tuple[KeyFigure, ...]:
    """The few numbers of a comparison; none without one."""
    if study.comparison is None:
        return ()
    pair = study.comparison.base, study.comparison.defended
    made = []
    if study.headline is not None:
        spread = [study.summary.estimate(group, "change_over_spread", study.headline) for group in pair]
        less = study.summary.reduction(*pair, "change_over_spread", study.headline)
        made.append(_pair("Score change under attack, in spreads of clean scores", spread, 2, _less(less)))
        gain = study.gain("change_over_spread", study.headline)
        if gain is not None:
            made.append(
                KeyFigure(
                    "Less change than the best control",
                    "",
                    _percent(gain.estimate.value),
                    f"{_ends(gain.estimate, percent=True)} against {gain.control.name}".strip(),
                )
            )
        ranks = _rank_condition(study)
        if ranks is not None:
            kept = [study.summary.estimate(group, "srocc_change", ranks) for group in pair]
            made.append(_pair("Order of photographs kept under attack (SROCC)", kept, 2, "1: unchanged, −1: reversed"))
    if study.has_mos:
        clean = [study.summary.estimate(group, "srocc_mos") for group in pair]
        cost = study.summary.difference(*pair, "srocc_mos")
        note = f"{number(cost.value, 3, signed=True)} {_ends(cost)}".strip()
        made.append(_pair("Accuracy on clean photographs (SROCC)", clean, 3, note))
    return tuple(made)


def _pair(title: str, estimates: Sequence[Estimate], digits: int, note: str) -> KeyFigure:
    before, value = (number(estimate.value, digits) for estimate in estimates)
    return KeyFigure(title, before, value, note)


def _compared(study: Study, comparison: Comparison) -> Iterator[str]:
    base, defended = comparison.base, comparison.defended
    yield f"Tested: {_seeds(base)} and {_seeds(defended)}, on {photographs(study)}."
    condition = study.headline
    if condition is not None:
        moved = [study.summary.estimate(group, "rmse_change", condition) for group in (base, defended)]
        yield (
            f"{_attack(study, condition)} moves a score by {_points(study, moved[0], base)} on {base.name} and by "
            f"{number(moved[1].value, 1)} on {defended.name} (root mean square, {objective_name(condition.objective)})."
        )
        yield from _spreads(study, comparison, condition)
        ranks = _rank_condition(study)
        if ranks is not None:
            kept = [study.summary.estimate(group, "srocc_change", ranks) for group in (base, defended)]
            yield (
                f"Aimed at the order of the photographs, it leaves a rank correlation with the order before of "
                f"{number(kept[0].value, 2)} on {base.name} and {number(kept[1].value, 2)} on {defended.name}."
            )
        yield from _strongest(study, comparison, condition)
    if study.has_mos:
        clean = [study.summary.estimate(group, "srocc_mos") for group in (base, defended)]
        cost = study.summary.difference(base, defended, "srocc_mos")
        yield (
            f"On clean photographs the agreement with people's opinions (SROCC) is {number(clean[0].value, 3)} on "
            f"{base.name} and {number(clean[1].value, 3)} on {defended.name}: a difference of "
            f"{number(cost.value, 3, signed=True)} {_ends(cost)}."
        )
    if condition is not None:
        yield "These attacks were tried; they prove no limit. A stronger one may move scores further."


def _spreads(study: Study, comparison: Comparison, condition: Condition) -> Iterator[str]:
    base, defended = comparison.base, comparison.defended
    ratios = [study.summary.estimate(group, "change_over_spread", condition) for group in (base, defended)]
    less = study.summary.reduction(base, defended, "change_over_spread", condition)
    if less.defined:
        yield (
            f"In standard deviations of each model's own clean scores that is {number(ratios[0].value, 2)} on "
            f"{base.name} and {number(ratios[1].value, 2)} on {defended.name}: {_less(less)}."
        )
    gain = study.gain("change_over_spread", condition)
    if gain is None or not gain.estimate.defined:
        return
    interval = gain.estimate.interval
    verdict = f"{defended.name} is credited with what remains beside the best control ({gain.control.name})"
    if interval.low > 0:
        yield f"{verdict}: {_less(gain.estimate)}."
    else:
        yield f"{verdict}: nothing that these photographs can tell from chance ({_less(gain.estimate)})."


def _strongest(study: Study, comparison: Comparison, condition: Condition) -> Iterator[str]:
    """The attack that moves the defended model most, where it is another than the headline's."""
    others = [
        replace(condition, attack=attack)
        for attack in study.attacks
        if condition.objective in study.objectives(attack, condition.variant)
    ]
    moved = {other: study.summary.estimate(comparison.defended, "change_over_spread", other).value for other in others}
    worst = max(others, key=lambda other: moved[other])
    if worst != condition:
        points = [
            number(study.summary.estimate(group, "rmse_change", worst).value, 1)
            for group in (comparison.base, comparison.defended)
        ]
        yield (
            f"The strongest attack here, {worst.attack} ({_levels(study, worst)}), moves scores by {points[0]} points "
            f"on {comparison.base.name} and by {points[1]} on {comparison.defended.name}."
        )


def _listed(study: Study) -> Iterator[str]:
    names = ", ".join(group.name for group in study.columns)
    yield f"Tested: {names}, on {photographs(study)}."
    for group in study.columns:
        if study.headline is not None:
            moved = study.summary.estimate(group, "rmse_change", study.headline)
            ratio = study.summary.estimate(group, "change_over_spread", study.headline)
            spreads = f", {number(ratio.value, 2)} times the spread of its clean scores" if ratio.defined else ""
            yield (
                f"{_attack(study, study.headline)} moves a score of {group.name} by "
                f"{_points(study, moved, group)} (root mean square, {objective_name(study.headline.objective)})"
                f"{spreads}."
            )
        if study.has_mos:
            clean = study.summary.estimate(group, "srocc_mos")
            yield (
                f"On clean photographs, {group.name} agrees with people's opinions to a SROCC of "
                f"{number(clean.value, 3)} {_ends(clean)}."
            )
    if study.headline is not None:
        yield "These attacks were tried; they prove no limit. A stronger one may move scores further."


def _rank_condition(study: Study) -> Condition | None:
    if study.headline is None:
        return None
    ranks = replace(study.headline, objective="rank_split")
    return ranks if all(study.holds(group, ranks) for group in study.columns) else None


def _seeds(group: Group) -> str:
    return f"{group.name} ({len(group.labels)} seeds)" if len(group.labels) > 1 else group.name


def _attack(study: Study, condition: Condition) -> str:
    levels = study.budgets[condition.attack][1]
    seen = "A hardly visible change" if levels <= HARDLY_VISIBLE else "A change"
    return f"{seen}, at most {_levels(study, condition)} a pixel ({condition.attack}),"


def _levels(study: Study, condition: Condition) -> str:
    return f"{study.budgets[condition.attack][1]} of 255 levels"


def _points(study: Study, estimate: Estimate, group: Group) -> str:
    scale = study.evaluation.scale(group.labels[0])
    return f"{number(estimate.value, 1)} points (scale {scale.low:g} to {scale.high:g})"


def _percent(value: float) -> str:
    return f"{number(value, 0, percent=True)}\u00a0%"


def _less(share: Estimate) -> str:
    """`72 % less [65, 77]`, or `more` where it is."""
    if not share.defined:
        return ""
    if share.value >= 0:
        return f"{_percent(share.value)} less {_ends(share, percent=True)}".strip()
    return f"{_percent(-share.value)} more {_ends(share, percent=True, sign=-1)}".strip()


def _ends(estimate: Estimate, *, percent: bool = False, sign: int = 1) -> str:
    ends = sorted((sign * estimate.interval.low, sign * estimate.interval.high))
    if not all(end == end for end in ends):
        return ""
    signed = not percent and sign == 1 and min(ends) < 0
    return f"[{', '.join(number(end, 0 if percent else 3, percent=percent, signed=signed) for end in ends)}]"
