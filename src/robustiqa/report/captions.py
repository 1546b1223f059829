"""What a table or figure must say about itself: photographs, seeds, intervals, budgets, who was attacked and how.

Notes say it in key words; `method` explains the words once.
"""

from __future__ import annotations

from collections.abc import Sequence

from robustiqa.evaluation.flags import Flag
from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.records import CLEAN, norm_of
from robustiqa.evaluation.study import Study
from robustiqa.evaluation.summary import LEVEL

OBJECTIVES = {
    "worst_of_both": "worst of both directions",
    "rank_split": "rank split",
    "farther_end": "farther end (the paper's)",
    "lower": "lower every score",
    "raise": "raise every score",
}
MEANINGS = {
    "worst_of_both": "Worst of both directions: each score is lowered and raised; the larger change counts.",
    "rank_split": "Rank split: scores above the model's own clean median are lowered, the others raised, which upsets "
    "their order most.",
    "farther_end": "Farther end, the paper's objective: scores above the middle of the scale are lowered, the others "
    "raised. Where most scores lie on one side, they move together and keep their order, so it flatters.",
}
VARIANTS = {"end_to_end": "end to end", "patchwise": "patchwise"}
PROTOCOLS = {
    "covering grid": "a photograph's score is the mean over the smallest even grid of crops that covers it, the same "
    "crops clean and attacked",
    "as the model has it": "the model scores a photograph whole",
}
QUICK = "quick run, not a result"
FLAGS_RAISED = "Flags raised: "
SHORT_PROTOCOLS = {"covering grid": "covering grid of crops", "as the model has it": "scored whole"}
BLIND = ("facpa", "korhonen", "nes", "score_boundary", "spsa", "square", "uap")  # black-box, by name


def objective_name(objective: str) -> str:
    """An objective in words."""
    return OBJECTIVES.get(objective, objective.replace("_", " "))


def budget(study: Study, attack: str) -> str:
    """An attack, its eps, and what is left of it on the 8-bit grid."""
    eps, levels = study.budgets[attack]
    if norm_of(attack) != "linf":
        return f"{attack}, {extent(study, attack)}"
    size = "" if "eps=" in attack else f", eps {eps:.4g}"
    return f"{attack}{size}, {levels} whole 8-bit level{'s' * (levels != 1)}"


def extent(study: Study, attack: str) -> str:
    """How large a change an attack may make, in words."""
    eps, levels = study.budgets[attack]
    if norm_of(attack) == "l2":
        return f"at most {eps:.4g} in Euclidean length"
    return f"at most {levels} of 255 levels"


def photographs(study: Study, conditions: Sequence[Condition] = ()) -> str:
    """How many, of what, how many of them met each of some conditions, where that is fewer; and if it is no result."""
    name = study.evaluation.info.get("dataset", {}).get("name")
    count = len(study.evaluation.clean(study.columns[0].labels[0]))
    of_set = f" of {name}" if name else ""
    return f"{count} photograph{'s' * (count != 1)}{of_set}{_fewer(study, conditions)}{quick_note(study)}"


def quick_note(study: Study) -> str:
    """What marks a run that only shows that it runs: in the title, and beside every count of photographs."""
    return f" ({QUICK})" if study.notes.get("quick") else ""


def _fewer(study: Study, conditions: Sequence[Condition]) -> str:
    """Attacks that not all photographs met, and how many did; with its variant where there are two."""
    label = study.columns[0].labels[0]
    every = len(study.evaluation.clean(label))
    several = len({c.variant for c in conditions if c.attack != CLEAN}) > 1
    met = {(c.attack, c.variant): len(study.summary.scores(label, c)) for c in conditions if c.attack != CLEAN}
    few = [
        f"{count} of them under {attack}" + (f", {VARIANTS[variant]}" if several else "")
        for (attack, variant), count in met.items()
        if count < every
    ]
    return f" ({'; '.join(few)})" if few else ""


def notes(
    study: Study,
    groups: Sequence[Group],
    conditions: Sequence[Condition] = (),
    *extra: str,
    interval: bool = True,
    flagged: Sequence[Group] | None = None,
    by_row: bool = False,
) -> tuple[str, ...]:
    """What the numbers of some groups under some conditions are, in key words.

    Args:
        study: What the numbers are of.
        groups: Whose they are.
        conditions: Under what; none for clean scores.
        extra: Sentences that come first.
        interval: Whether there are brackets to explain.
        flagged: Whose flags are named; those of `groups` by default.
        by_row: Whether rows and blocks themselves say budgets and who was attacked.
    """
    seeds = ", ".join(f"{group.name} {_count(len(group.labels), 'seed')}" for group in groups)
    said = [f"n = {photographs(study, conditions)}", seeds]
    if interval:
        said.append(f"[{LEVEL:.0%} bootstrap over photographs, {study.summary.samples} resamples, paired]")
    attacked = [condition for condition in conditions if condition.attack != CLEAN]
    if attacked:
        transfer = any(condition.attacked_on is not None for condition in attacked)
        budgets = "; ".join(budget(study, attack) for attack in dict.fromkeys(c.attack for c in attacked))
        said += [] if by_row else [budgets]
        said.append(" and ".join(dict.fromkeys(f"{c.precision} images" for c in attacked)))
        seen = "attacked on → scored by, as marked" if transfer else "attacked on = scored by"
        if not transfer and not any(is_blind(condition.attack) for condition in attacked):
            seen = f"white-box: {seen}"
        said += [] if by_row else [seen]
        said.append(" and ".join(dict.fromkeys(VARIANTS[c.variant] for c in attacked)))
    said += [SHORT_PROTOCOLS.get(name, name) for name in _protocols(study, groups)]
    return (
        *extra,
        *flags_note(study, flagged or groups, conditions),
        "\u00a0· ".join(said).replace("%", "\u00a0%") + ".",
    )


def is_blind(attack: str) -> bool:
    """Whether an attack of ours, by its label, does without gradients of the model; random signs are no attack."""
    return attack.partition("(")[0] in BLIND


def flags_note(study: Study, groups: Sequence[Group], conditions: Sequence[Condition] = ()) -> tuple[str, ...]:
    """Names of the flags that concern some groups under some conditions, with the models; nothing where none do."""
    shown = {label for group in groups for label in group.labels}
    found: dict[str, list[str]] = {}
    for flag in study.diagnosis.flags:
        if flag.model in shown and _concerns(flag, conditions):
            found.setdefault(flag.name, []).append(flag.model)
    if not found:
        return ()
    named = [f"{flag_name(name)} ({', '.join(dict.fromkeys(models))})" for name, models in found.items()]
    return (f"{FLAGS_RAISED}{', '.join(named)}; the findings say why.",)


def _concerns(flag: Flag, conditions: Sequence[Condition]) -> bool:
    """Whether numbers under any of some conditions are in doubt; clean ones are only where no attack is named."""
    if not flag.attacks:
        return True
    return any(c.attack in flag.attacks and flag.objective in ("", c.objective) for c in conditions)


def flag_name(name: str) -> str:
    """A flag or check in words."""
    return name.replace("_", " ")


def checks_made(study: Study) -> str:
    """Which diagnostics the records gave occasion for, in a sentence."""
    diagnosis = study.diagnosis
    listed = [", ".join(map(flag_name, names)) or "none" for names in (diagnosis.made, diagnosis.not_made)]
    outcome = "they raise the flags that the findings name" if diagnosis.flags else "no flag was raised"
    return f"Checks of the records: {listed[0]}; {outcome}. Without occasion, and so not made: {listed[1]}."


def method(study: Study) -> tuple[str, ...]:
    """How the numbers were made, in sentences, once for all tables and figures."""
    several = [group for group in study.columns if len(group.labels) > 1]
    comparison = [f"{group.name} is {', '.join(group.labels)}" for group in (several and study.columns)]
    variants = set(study.variants)
    objectives = dict.fromkeys(
        objective
        for variant in study.variants
        for attack in study.attacks
        for objective in study.objectives(attack, variant)
    )
    said = [
        str(study.notes.get("dataset_note", "")),
        f"Values are means over seeds: {'; '.join(comparison)}. Each seed's value stands under “Every model by itself”."
        if several
        else "",
        f"Brackets: {LEVEL:.0%} percentile bootstrap intervals over photographs ({study.summary.samples} resamples, "
        f"seed {study.summary.seed}). All models share the resamples, and seeds are averaged within each, so "
        "differences and reductions are paired. The brackets do not cover other seeds of training.".replace(
            "%", "\u00a0%"
        ),
        "Score protocol: " + "; ".join(PROTOCOLS.get(name, name) for name in _protocols(study, study.columns)) + "."
        if _protocols(study, study.columns)
        else "",
    ]
    if study.attacks:
        said += [
            "What counts is the 8-bit image, rounded and within the budget's whole levels, as a file can hold it; the "
            "float image is shown beside it.",
            *(MEANINGS[objective] for objective in objectives if objective in MEANINGS),
            "Change / clean spread: the root mean square change over the standard deviation of the model's own clean "
            "scores. Squeezing scores together does not lower it.",
            ("Each model is attacked on itself. " if len(study.labels) > 1 else "")
            + "White-box: the attack uses gradients of the model.",
            checks_made(study),
        ]
    if "end_to_end" in variants:
        said.append("End to end: one perturbation for the whole photograph.")
    if "patchwise" in variants:
        said.append("Patchwise: one perturbation a crop, as in the papers; no image file can hold it.")
    return tuple(sentence for sentence in said if sentence)


def _protocols(study: Study, groups: Sequence[Group]) -> list[str]:
    models = study.evaluation.info.get("models", {})
    found = [models.get(label, {}).get("protocol") for group in groups for label in group.labels]
    return [str(name) for name in dict.fromkeys(found) if name]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
