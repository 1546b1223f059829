"""What the numbers say, in sentences and in a few figures for someone with one minute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from robustiqa.evaluation.measures import UNTOUCHED, Condition, Estimate, Group
from robustiqa.evaluation.records import norm_of
from robustiqa.evaluation.study import Study
from robustiqa.report.captions import extent, flag_name, objective_name, photographs
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
    return tuple(_sentences(study))


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
        if gain is not None and gain.estimate.defined:
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
        note = f"{number(cost.value, 3, signed=True)} {_ends(cost, signed=True)}".strip()
        made.append(_pair("Accuracy on clean photographs (SROCC)", clean, 3, note))
    return tuple(made)


def _pair(title: str, estimates: Sequence[Estimate], digits: int, note: str) -> KeyFigure:
    before, value = (number(estimate.value, digits) for estimate in estimates)
    return KeyFigure(title, before, value, note)


def _sentences(study: Study) -> Iterator[str]:
    met = [Condition(attack, shown, variant=variant) for attack, variant, shown in _first_objectives(study)]
    yield f"Tested: {_listed([_seeds(group) for group in study.columns])}, on {photographs(study, met)}."
    condition = study.headline
    if condition is not None:
        moved = _on_each(study, "rmse_change", condition, 1, "points")
        if moved:
            yield (
                f"{_attack(study, condition)} moves a score by {moved} (root mean square, "
                f"{objective_name(condition.objective)}{_scale(study)})."
            )
        yield from _spreads(study, condition)
        ranks = _rank_condition(study)
        kept = _on_each(study, "srocc_change", ranks, 2) if ranks is not None else ""
        if kept:
            yield f"Aimed at the order of the photographs, it leaves a rank correlation with the clean order of {kept}."
        yield from _strongest(study, condition)
    if study.has_mos:
        yield from _accuracy(study)
    yield from flag_sentences(study)
    if condition is not None:
        yield "These attacks were tried; they prove no limit. A stronger one may move scores further."


def flag_sentences(study: Study) -> Iterator[str]:
    """Every check that raised a flag: what was seen first, and how often again."""
    raised: dict[str, list[str]] = {}
    for flag in study.diagnosis.flags:
        raised.setdefault(flag.name, []).append(flag.sentence)
    for name, sentences in raised.items():
        more = len(sentences) - 1
        again = f" Likewise in {more} more case{'s' * (more != 1)}." if more else ""
        yield f"Flag raised, {flag_name(name)}: {sentences[0]}{again}"


def _first_objectives(study: Study) -> Iterator[tuple[str, str, str]]:
    """Every attack and variant with the objective that tells most."""
    for attack in study.attacks:
        for variant in study.variants:
            for objective in study.objectives(attack, variant)[:1]:
                yield attack, variant, objective


def _spreads(study: Study, condition: Condition) -> Iterator[str]:
    ratios = _on_each(study, "change_over_spread", condition, 2)
    less = ""
    if study.comparison is not None:
        pair = study.comparison.base, study.comparison.defended
        less = _less(study.summary.reduction(*pair, "change_over_spread", condition))
    if ratios:
        yield f"In standard deviations of each model's own clean scores that is {ratios}{less and ': '}{less}."
    yield from credit(study, condition)


def credit(study: Study, condition: Condition) -> list[str]:
    """What the defended model may claim beside its best control, in a sentence; nothing where nothing is known.

    The interval decides as it is shown, in whole percent: rounding errors beside a control of equal worth are no gain.
    """
    gain = study.gain("change_over_spread", condition)
    if study.comparison is None or gain is None or not gain.estimate.defined:
        return []
    name, control, interval = study.comparison.defended.name, gain.control.name, gain.estimate.interval
    best, said = f"the best control ({control}) in change over spread", _less(gain.estimate)
    if round(interval.low, 2) > 0:
        return [f"{name} is credited with what it gains over {best}: {said}."]
    if round(interval.high, 2) < 0:
        return [f"{name} does worse than {best}: {said}."]
    return [f"Beside {best} {name} gains nothing that can be told from chance: {said}."]


def _strongest(study: Study, condition: Condition) -> Iterator[str]:
    """The attack that moves the last column most, where it is another than the headline's."""
    others = [
        replace(condition, attack=attack)
        for attack in study.attacks
        if condition.objective in study.objectives(attack, condition.variant)
    ]
    moved = {other: study.summary.estimate(study.columns[-1], "rmse_change", other).value for other in others}
    worst = max(others, key=lambda other: moved[other])
    points = _on_each(study, "rmse_change", worst, 1, "points")
    if worst != condition and points:
        yield f"The strongest attack here, {worst.attack}, {extent(study, worst.attack)}, moves a score by {points}."


def _accuracy(study: Study) -> Iterator[str]:
    clean = _on_each(study, "srocc_mos", UNTOUCHED, 3)
    cost = ""
    if study.comparison is not None:
        difference = study.summary.difference(study.comparison.base, study.comparison.defended, "srocc_mos")
        cost = f": a difference of {number(difference.value, 3, signed=True)} {_ends(difference, signed=True)}"
    if clean:
        yield f"On clean photographs the rank correlation with people's opinions (SROCC) is {clean}{cost.rstrip()}."


def _on_each(study: Study, measure: str, condition: Condition, digits: int, unit: str = "") -> str:
    """`35.6 points on base and 10.7 on +NT`; empty if any is undefined."""
    estimates = [study.summary.estimate(group, measure, condition) for group in study.columns]
    if not all(estimate.defined for estimate in estimates):
        return ""
    shown = [number(estimate.value, digits) for estimate in estimates]
    if unit:
        shown[0] = f"{shown[0]} {unit}"
    return _listed([f"{value} on {group.name}" for value, group in zip(shown, study.columns, strict=True)])


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _rank_condition(study: Study) -> Condition | None:
    if study.headline is None:
        return None
    ranks = replace(study.headline, objective="rank_split")
    return ranks if all(study.holds(group, ranks) for group in study.columns) else None


def _seeds(group: Group) -> str:
    return f"{group.name} ({len(group.labels)} seeds)" if len(group.labels) > 1 else group.name


def _attack(study: Study, condition: Condition) -> str:
    seen = "A hardly visible change" if study.budgets[condition.attack][1] <= HARDLY_VISIBLE else "A change"
    each = " a pixel" if norm_of(condition.attack) == "linf" else ""
    return f"{seen}, {extent(study, condition.attack)}{each} ({condition.attack}),"


def _scale(study: Study) -> str:
    """The score scale, where all columns share one."""
    scales = {study.evaluation.scale(label) for group in study.columns for label in group.labels}
    return "".join(f", scale {scale.low:g} to {scale.high:g}" for scale in scales) if len(scales) == 1 else ""


def _percent(value: float) -> str:
    return f"{number(value, 0, percent=True)}\u00a0%"


def _less(share: Estimate) -> str:
    """`72 % less [65, 77]`, or `more` where it is."""
    if not share.defined:
        return ""
    if round(share.value, 2) >= 0:  # as shown
        return f"{_percent(share.value)} less {_ends(share, percent=True)}".strip()
    return f"{_percent(-share.value)} more {_ends(share, percent=True, sign=-1)}".strip()


def _ends(estimate: Estimate, *, percent: bool = False, signed: bool = False, sign: int = 1) -> str:
    ends = sorted((sign * estimate.interval.low, sign * estimate.interval.high))
    if any(math.isnan(end) for end in ends):
        return ""
    return f"[{', '.join(number(end, 0 if percent else 3, percent=percent, signed=signed) for end in ends)}]"
