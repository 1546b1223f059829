"""What tables of attacks say, in sentences: which attack is strongest, and whether a claim about one holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from robustiqa.evaluation.measures import Condition, Estimate, Group
from robustiqa.evaluation.runs import common_keys, group_runs
from robustiqa.evaluation.study import Study
from robustiqa.report.attacks import HEADLINE
from robustiqa.report.captions import photographs
from robustiqa.report.tables import number

MEASURE = "mean_absolute_change"


def attack_sentences(study: Study) -> Iterator[str]:
    """What was attacked, the strongest attack on each model, and the claim that the plan makes, if it does."""
    shown = [attack for attack in study.notes.get("shown", ()) if attack in study.attacks]
    yield f"Attacked: {_listed([group.name for group in study.columns])}, on {photographs(study)}."
    for group in study.columns:
        yield from _strongest(study, group, shown)
    claim = study.notes.get("claim")
    if claim is not None:
        for group in study.columns:
            yield from claim_sentences(study, group, claim["attack"], claim["against"], claim["percent"])


def _strongest(study: Study, group: Group, attacks: Sequence[str]) -> Iterator[str]:
    met = [Condition(attack, HEADLINE) for attack in attacks]
    met = [condition for condition in met if study.holds(group, condition)]
    moved = {condition.attack: study.summary.estimate(group, MEASURE, condition) for condition in met}
    known = {attack: estimate for attack, estimate in moved.items() if estimate.defined}
    if known:
        worst = max(known, key=lambda attack: known[attack].value)
        points = f"{number(known[worst].value, 2)} points on average {ends(known[worst], 2)}"
        yield f"On {group.name} {worst} is the strongest attack: it moves a score, down or up, by {points}."


def claim_sentences(study: Study, group: Group, attack: str, against: str, percent: float) -> Iterator[str]:
    """By how many percent an attack moves scores farther than another, and on how many photographs it does not.

    Args:
        study: What the numbers are of.
        group: The model.
        attack: Label of the attack that should be stronger.
        against: Label of the other.
        percent: What was claimed at least.
    """
    stronger, other = (Condition(label, HEADLINE) for label in (attack, against))
    if not (study.holds(group, stronger) and study.holds(group, other)):
        return
    more = study.summary.excess(group, MEASURE, other, stronger)
    if not more.defined:
        return
    moved = f"{number(abs(more.value), 1, percent=True)}\u00a0% {'more' if more.value >= 0 else 'less'}"
    asked = f"{percent:g}\u00a0%"
    verdict = f"; at least {asked} was asked for" if 100 * more.value >= percent else f": it does not reach {asked}"
    yield (f"On {group.name} {attack} moves scores {moved} than {against} {ends(more, 1, percent=True)}{verdict}.")
    yield from _overtaken(study, group, attack)


def _overtaken(study: Study, group: Group, attack: str) -> Iterator[str]:
    """On how many photographs another attack of the same budget moves the score farther toward some goal."""
    runs = [run for run in group_runs(study.evaluation.records, group.labels[0]) if run.white_box]
    own = [run for run in runs if run.attack == attack]
    beaten: dict[str, str] = {}
    count = 0
    for run in own:
        rivals = [o for o in runs if o.goal == run.goal and o.attack != attack and abs(o.eps - run.eps) < 1e-9]
        keys = common_keys([run, *rivals])
        count += len(keys)
        for key in keys:
            best = max(rivals, key=lambda rival: rival.gains[key], default=run)
            if best.gains[key] > run.gains[key]:
                beaten[f"{run.goal} {key}"] = best.attack
    if not count:
        return
    if not beaten:
        yield f"On no photograph of {group.name} does another white-box attack of its budget move a score farther."
        return
    names = _listed(sorted(set(beaten.values())))
    yield (
        f"In {len(beaten)} of {count} cases (a photograph and a direction) on {group.name} another white-box attack of "
        f"its budget moves a score farther: {names}."
    )


def ends(estimate: Estimate, digits: int, *, percent: bool = False, sign: int = 1) -> str:
    """An interval in brackets; empty without one."""
    low, high = sorted((sign * estimate.interval.low, sign * estimate.interval.high))
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low, digits, percent=percent)}, {number(high, digits, percent=percent)}]"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
