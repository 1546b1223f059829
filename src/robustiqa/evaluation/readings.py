"""Checks that read a number which must not occur.

Source: AutoAttack (Croce & Hein 2020) and RobustBench (Croce et al. 2021) for repeated outputs, gradients and range;
the thresholds of the others are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from robustiqa.evaluation.flags import MARGIN, Flag, Found, Seen
from robustiqa.evaluation.runs import Run

SAME_SCORE = 1e-4  # of the span: AutoAttack's bound for repeated outputs
AT_THE_END = 1e-3  # of the span: this close to an end of the scale a score counts as stuck there
STUCK_SHARE = 0.05  # of the photos
KEPT_IN_8BIT = 0.8  # of what the whole levels of a budget would keep of a linear score's change
ONE_WAY_SHARE = 0.9  # of the photos
FEWEST_DIRECTIONS = 10  # photos below which a common direction is chance
FEWEST_PHOTOS = 2


def scored_again(seen: Seen) -> bool:
    """Whether clean photos were scored more than once, as transfer does."""
    return any(run.attacked_on != seen.label for run in seen.runs)


def random_output(seen: Seen) -> Found:
    """Compares the clean scores of each photo: records hold more than one where attacks were transferred."""
    scores: dict[str, list[float]] = {}
    for record in seen.evaluation.records:
        if record.scored_by == seen.label:
            scores.setdefault(record.key, []).append(record.clean_score)
    widest = max(max(found) - min(found) for found in scores.values())
    if widest > SAME_SCORE * seen.span:
        yield Flag("random_output", seen.label, random_sentence(seen.label, widest))


def random_sentence(label: str, widest: float) -> str:
    """What is said of a model that gives one photo two scores `widest` points apart."""
    return (
        f"{label} gives the same photo scores {widest:.3g} points apart: average its randomness before attacking it, "
        "or every attack fails by chance."
    )


def gradient_norms(seen: Seen) -> list[float]:
    """L1 norms of the clean photos' gradients, as far as they were kept."""
    return [record.gradient_l1 for record in seen.clean if record.gradient_l1 is not None]


def zero_gradient(seen: Seen) -> Found:
    """Looks for photos whose gradient is zero or not finite (RobustBench, AutoAttack)."""
    norms = gradient_norms(seen)
    without = sum(not (math.isfinite(norm) and norm > 0) for norm in norms)
    if without:
        yield Flag("zero_gradient", seen.label, gradient_sentence(seen.label, without, len(norms)))


def gradient_sentence(label: str, without: int, count: int) -> str:
    """What is said of a model that has no gradient at some photos."""
    return f"{label} has no usable gradient at {without} of {count} photos: white-box attacks stand still there."


def saturated_head(seen: Seen) -> Found:
    """Counts clean scores at the ends of the scale (AutoAttack's check of the softmax range, for scores)."""
    scale = seen.evaluation.scale(seen.label)
    scores = np.array([record.clean_score for record in seen.clean])
    off = np.minimum(np.abs(scores - scale.low), np.abs(scores - scale.high))
    stuck = float((off <= AT_THE_END * scale.span).mean())
    if stuck > STUCK_SHARE:
        yield Flag(
            "saturated_head",
            seen.label,
            f"{stuck:.0%} of {seen.label}'s clean scores stick to an end of its scale, where a head hides what moves "
            "below it: attack its raw output.",
        )


def lost_in_8bit(seen: Seen) -> Found:
    """Compares what the 8-bit images keep with what the whole levels of the budget would keep of a linear score."""
    for run in seen.own:
        in_float, in_8bit = (math.fsum(gains.values()) / len(gains) for gains in (run.float_gains, run.gains))
        kept = KEPT_IN_8BIT * min(1.0, run.levels / (255 * run.eps)) if run.levels else 1.0
        if in_float > MARGIN * seen.span and in_8bit < kept * in_float:
            reason = "" if run.levels else ", for the budget holds no whole level"
            yield Flag(
                "lost_in_8bit",
                seen.label,
                f"{run.attack} moves {seen.label} by {in_float:.2f} points in float and {in_8bit:.2f} in 8 bits "
                f"({run.goal}){reason}: only the latter can be put into a file.",
                (run.attack,),
            )


def budget_broken(seen: Seen) -> Found:
    """Looks for pixels that changed by more levels than the budget holds."""
    for run in seen.runs:
        over = [record for record in run.records if not record.linf <= record.levels + 1e-3]
        if over:
            worst = max(over, key=lambda record: record.linf)
            yield Flag(
                "budget_broken",
                seen.label,
                f"{run.attack} changed a pixel of {worst.key} by {worst.linf:g} levels where its budget holds "
                f"{worst.levels}: its numbers are not of this budget.",
                (run.attack,),
            )


def directions(seen: Seen) -> Iterator[tuple[str, tuple[str, ...], float, int]]:
    """Objective, attacks, share of photos pushed up, and photos, for what decides on one direction a photo."""
    goals: dict[tuple[str, str], dict[str, Run]] = {}
    for run in seen.own:
        goals.setdefault((run.attack, run.variant), {})[run.goal] = run
    both = tuple(attack for (attack, _), runs in goals.items() if {"lower", "raise"} <= set(runs))
    if both:
        middle = seen.evaluation.scale(seen.label).middle
        up = [record.clean_score <= middle for record in seen.clean]
        yield "farther_end", tuple(dict.fromkeys(both)), sum(up) / len(up), len(up)
    for (attack, _), runs in goals.items():
        for goal, run in runs.items():
            if not {"lower", "raise"} <= set(runs):
                moved = [record.score > record.clean_score for record in run.records]
                yield goal, (attack,), sum(moved) / len(moved), len(moved)


def one_sided(seen: Seen) -> Found:
    """Counts directions, under `farther_end` where both were run, else as the scores moved."""
    for objective, attacks, up, count in directions(seen):
        if count >= FEWEST_DIRECTIONS and max(up, 1 - up) > ONE_WAY_SHARE:
            way = "up" if up > 1 - up else "down"
            yield Flag(
                "one_sided",
                seen.label,
                f"{objective} pushes {max(up, 1 - up):.0%} of the photos of {seen.label} {way}: a common shift keeps "
                "their order, so ranks look safer than they are.",
                attacks,
                objective,
            )
