"""Checks that compare runs which must stand in a known order: an attack that fails looks like a model that holds.

Source: Carlini et al. 2019, "On evaluating adversarial robustness", section 3; Pintor et al. 2022, "Indicators of
attack failure". Thresholds are ours, in shares of the score scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from robustiqa.evaluation.flags import MARGIN, Flag, Found, Seen
from robustiqa.evaluation.runs import BUDGET_OPTIONS, LENGTH_OPTIONS, Run, common_keys, mean_gain

OVERTAKEN_SHARE = 0.01  # of the photos
CONVERGED = 0.02  # change of the mean from twice the length, as a share
UNNOTICED = 1e-3  # of the span: changes of the mean below it are not chased


def _stands_against(rival: Run, runs: Sequence[Run]) -> list[Run]:
    """The white-box runs of the same goal whose budget is the smallest that holds the rival's."""
    same = [run for run in runs if run.goal == rival.goal and run.eps >= rival.eps - 1e-9]
    nearest = min((run.eps for run in same), default=0.0)
    return [run for run in same if run.eps <= nearest + 1e-9]


def blind(seen: Seen) -> list[tuple[Run, list[Run]]]:
    """Runs that did not see this model's gradients, and the white-box runs that they must not beat.

    An ensemble takes part member by member: it holds both kinds, and would hide what this looks for.
    """
    alone = [member for run in seen.runs if run.variant == "end_to_end" for member in run.members]
    white = [run for run in alone if run.white_box]
    return [(run, against) for run in alone if not run.white_box and (against := _stands_against(run, white))]


def black_box_stronger(seen: Seen) -> Found:
    """Compares, photo by photo, every blind run with the best white-box run of its goal and budget."""
    overtaken: dict[str, float] = {}
    labels: dict[str, str] = {}
    for rival, white in blind(seen):
        keys = common_keys([rival, *white])
        best = {key: max(run.gains[key] for run in white) for key in keys}
        share = sum(rival.gains[key] > best[key] + MARGIN * seen.span for key in keys) / max(len(keys), 1)
        overtaken[rival.title] = max(share, overtaken.get(rival.title, 0.0))
        labels[rival.title] = rival.attack
    beating = [title for title, share in overtaken.items() if share > OVERTAKEN_SHARE]
    if beating:
        worst = max(beating, key=lambda title: overtaken[title])
        yield Flag(
            "black_box_stronger",
            seen.label,
            f"{worst}, without {seen.label}'s gradients, moves {overtaken[worst]:.0%} of the photos farther than "
            "every white-box attack of its budget: the gradients mislead, or those attacks are too weak.",
            tuple(sorted({*(labels[title] for title in beating), *(run.attack for run in seen.white)})),
        )


def steps_apart(seen: Seen) -> list[tuple[list[Run], list[Run]]]:
    """Single-step runs and iterative ones, of the same goal and budget."""
    found = []
    for goal, eps in dict.fromkeys((run.goal, run.eps) for run in seen.white):
        same = [run for run in seen.white if (run.goal, run.eps) == (goal, eps)]
        once, often = [run for run in same if run.gradients == 1], [run for run in same if run.gradients > 1]
        if once and often and common_keys(same):
            found.append((once, often))
    return found


def iterative_weaker(seen: Seen) -> Found:
    """Compares the best iterative run with the best single step of the same goal and budget."""
    for once, often in steps_apart(seen):
        keys = common_keys([*once, *often])
        single, many = (max(runs, key=lambda run: mean_gain(run, keys)) for runs in (once, often))
        reached = mean_gain(many, keys), mean_gain(single, keys)
        if reached[0] < reached[1] - MARGIN * seen.span:
            yield Flag(
                "iterative_weaker",
                seen.label,
                f"{many.attack} moves {seen.label} by {reached[0]:.2f} points and the single step of {single.attack} "
                f"by {reached[1]:.2f} ({many.goal}): the path of the steps misleads, or they are too short.",
                (many.attack, single.attack),
            )


def _alike(runs: Sequence[Run], dropped: Sequence[str]) -> list[list[Run]]:
    """Runs that differ in some options alone."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        found.setdefault((run.family(dropped), run.goal, run.variant), []).append(run)
    return [group for group in found.values() if len(group) > 1 and common_keys(group)]


def by_budget(seen: Seen) -> list[list[Run]]:
    """Runs of one attack with several budgets, the smallest first."""
    alike = [sorted(group, key=lambda run: run.eps) for group in _alike(seen.own, BUDGET_OPTIONS)]
    return [group for group in alike if group[0].eps < group[-1].eps]


def larger_budget_weaker(seen: Seen) -> Found:
    """Compares each budget with the next larger one."""
    for group in by_budget(seen):
        keys = common_keys(group)
        for small, large in itertools.pairwise(group):
            reached = mean_gain(small, keys), mean_gain(large, keys)
            if large.eps > small.eps and reached[1] < reached[0] - MARGIN * seen.span:
                yield Flag(
                    "larger_budget_weaker",
                    seen.label,
                    f"{large.attack} moves {seen.label} by {reached[1]:.2f} points and {small.attack}, with less to "
                    f"spend, by {reached[0]:.2f} ({small.goal}): the attack fails where it could do more.",
                    (large.attack, small.attack),
                )


def by_length(seen: Seen) -> list[tuple[Run, Run]]:
    """The longest run of an attack, and the longest of at most half its length."""
    found = []
    for group in _alike(seen.own, LENGTH_OPTIONS):
        measured = [(length, run) for run in group if (length := run.length) is not None]
        measured.sort(key=lambda pair: pair[0])
        shorter = [run for length, run in measured if 2 * length <= measured[-1][0]]
        if shorter:
            found.append((shorter[-1], measured[-1][1]))
    return found


def not_converged(seen: Seen) -> Found:
    """Compares an attack with itself at twice its length or more."""
    for short, long in by_length(seen):
        keys = common_keys([short, long])
        reached = mean_gain(short, keys), mean_gain(long, keys)
        moved = abs(reached[1] - reached[0])
        if moved > max(CONVERGED * abs(reached[1]), UNNOTICED * seen.span):
            yield Flag(
                "not_converged",
                seen.label,
                f"{short.attack} moves {seen.label} by {reached[0]:.2f} points and {long.attack} by "
                f"{reached[1]:.2f} ({short.goal}): the shorter one had not arrived, nor need the longer one have.",
                (short.attack, long.attack),
            )
