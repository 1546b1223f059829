"""Cards from records: accuracy, and of each photograph the worst that any attack of a budget reached.

The worst case is per photograph and direction: the lowest and the highest score among all 8-bit images that the attacks
of one budget found on the model itself, from which `worst_of_both` and `rank_split` choose as they do for one attack.
Attacks that were run in one direction alone are named in the protocol and left out of it, as are transferred images
(which depend on the other models of a run) and crop-by-crop ones (which no file can hold).

Source: Carlini et al. 2019, "On evaluating adversarial robustness": the best attack is picked for each example.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from robustiqa.core.errors import InputError
from robustiqa.core.run_folder import spec_hash
from robustiqa.evaluation.cards import (
    AttackRun,
    Card,
    Clean,
    Protocol,
    RaisedFlag,
    Reading,
    WorstCase,
    six_digits,
)
from robustiqa.evaluation.diagnostics import diagnose
from robustiqa.evaluation.measures import UNTOUCHED, Condition, Group
from robustiqa.evaluation.records import CLEAN, Record, check_finite, norm_of
from robustiqa.evaluation.study import RANDOM
from robustiqa.evaluation.summary import SAMPLES, Summary
from robustiqa.evaluation.views import Evaluation

PRECISION = "8-bit"
WORST = "worst of all attacks"
BOTH = ("lower", "raise")
SHOWN = ("", "worst_of_both", "rank_split")  # objectives whose flags concern a card's numbers; "" is all of them


def make_cards(evaluation: Evaluation, *, samples: int = SAMPLES) -> tuple[Card, ...]:
    """One card a model, sorted by label; the order of the records does not matter.

    Flags are those of the model's own records and of what it said when it was asked. `shrunk_scores`, which compares
    two models, is not among them: entries are ranked by the change over the spread, which narrow scores don't improve.

    Args:
        evaluation: A finished one, with what `robustiqa.evaluate` says about it.
        samples: Bootstrap resamples.

    Raises:
        InputError: if there are no records, they are unfinished, or no attack was run in both directions.
        WorkFailedError: if a score is not finite.
    """
    if not evaluation.records:
        raise InputError("the evaluation holds no records; run it first.")
    ordered = Evaluation(tuple(sorted(evaluation.records, key=lambda record: record.identity)), evaluation.info)
    return tuple(_card(ordered, label, samples) for label in ordered.models)


def _card(evaluation: Evaluation, label: str, samples: int) -> Card:
    about = evaluation.info.get("models", {}).get(label, {})
    if "state" not in about:
        raise InputError(f"the run does not say which weights {label!r} has; evaluate it again.")
    clean = evaluation.clean(label).records
    own = [
        record
        for record in evaluation.records
        if record.scored_by == record.attacked_on == label and record.variant == "end_to_end" and record.attack != CLEAN
    ]
    check_finite([*clean, *own])
    protocol = _protocol(evaluation.info, label, clean, own)
    worst = tuple(_worst_cases(evaluation, label, own, samples))
    if not worst:
        raise InputError(
            f"no attack but random signs was run on {label!r} in both directions; evaluate with `--objective "
            "worst_of_both`."
        )
    diagnosis = diagnose(evaluation, [label])
    return Card(
        model=label,
        kind=str(about.get("kind", "")),
        weights=str(about["state"]),
        scoring=str(about.get("protocol", "")),
        protocol=protocol,
        clean=_clean(evaluation, label, samples),
        worst=worst,
        flags=tuple(RaisedFlag(flag.name, flag.sentence) for flag in diagnosis.flags if flag.objective in SHOWN),
        checks=diagnosis.made,
        records=_hash_of(record for record in evaluation.records if record.scored_by == label),
        samples=samples,
        version=str(about.get("environment", evaluation.info.get("environment", {})).get("robustiqa", "")),
    )


def _protocol(info: Mapping[str, Any], label: str, clean: Sequence[Record], own: Sequence[Record]) -> Protocol:
    dataset = info.get("dataset", {})
    if "fingerprint" not in dataset:
        raise InputError("the run does not say which photographs it is of; evaluate again.")
    wanted = dataset.get("n", len(clean))
    if len(clean) != wanted:
        raise InputError(f"{label!r} scored {len(clean)} of {wanted} photographs; finish the evaluation first.")
    attacks: dict[str, list[Record]] = {}
    for record in own:
        attacks.setdefault(record.attack, []).append(record)
    learned = info.get("learned", {})
    return Protocol(
        dataset=str(dataset.get("name", "")),
        fingerprint=str(dataset["fingerprint"]),
        split=hashlib.sha256("".join(f"{record.key}\n" for record in clean).encode()).hexdigest()[:16],
        photos=len(clean),
        precision=PRECISION,
        attacks=tuple(_attack_run(name, attacks[name], learned.get(name)) for name in sorted(attacks)),
    )


def _attack_run(attack: str, records: Sequence[Record], made_from: Mapping[str, Any] | None) -> AttackRun:
    return AttackRun(
        attack=attack,
        goals=tuple(sorted({record.goal for record in records})),
        norm=norm_of(attack),
        eps=_budget(records[0])[1],
        levels=records[0].levels,
        photos=len({record.key for record in records}),
        made_from=spec_hash(made_from) if made_from else "",
    )


def _budget(record: Record) -> tuple[str, float]:
    return norm_of(record.attack), six_digits(record.eps) or 0.0


def _clean(evaluation: Evaluation, label: str, samples: int) -> Clean:
    summary = Summary(evaluation, samples)
    measures = ("srocc_mos", "plcc_mos", "rmse_mos", "spread")
    return Clean(*(_reading(summary, label, measure) for measure in measures))


def _worst_cases(evaluation: Evaluation, label: str, own: Sequence[Record], samples: int) -> Iterator[WorstCase]:
    """The worst of each budget at which an attack that means it was run in both directions."""
    for budget in sorted({_budget(record) for record in own}):
        runs: dict[str, set[str]] = {}
        for record in own:
            if _budget(record) == budget:
                runs.setdefault(record.attack, set()).add(record.goal)
        attacks = sorted(attack for attack, goals in runs.items() if goals >= set(BOTH))
        if all(attack.startswith(RANDOM) for attack in attacks):
            continue
        keys = set.intersection(*(set(evaluation.attacked(label, name, "worst_of_both").keys) for name in attacks))
        if not keys:
            raise InputError(f"{' and '.join(attacks)} on {label!r} met no photograph in common; evaluate them again.")
        met = [record for record in own if record.attack in attacks and record.goal in BOTH and record.key in keys]
        summary = Summary(_of_the_worst(evaluation, label, met), samples)
        changed, ranked = (Condition(WORST, objective) for objective in ("worst_of_both", "rank_split"))
        yield WorstCase(
            norm=budget[0],
            eps=budget[1],
            photos=len(keys),
            attacks=tuple(attacks),
            change_over_spread=_reading(summary, label, "change_over_spread", changed),
            srocc_before=_reading(summary, label, "srocc_change", ranked),
            srocc_mos=_reading(summary, label, "srocc_mos", ranked),
        )


def _of_the_worst(evaluation: Evaluation, label: str, records: Sequence[Record]) -> Evaluation:
    """The evaluation with one attack in it: of each photograph the lowest score of all, and the highest."""
    photos: dict[str, list[Record]] = {}
    for record in records:
        photos.setdefault(record.key, []).append(record)
    made = list(evaluation.clean(label).records)
    for found in photos.values():
        for goal, pick in zip(BOTH, (min, max), strict=True):
            made.append(replace(pick(found, key=lambda record: record.score), attack=WORST, goal=goal))
    return Evaluation(tuple(made), evaluation.info)


def _reading(summary: Summary, label: str, measure: str, condition: Condition = UNTOUCHED) -> Reading:
    interval = summary.estimate(Group(label, (label,)), measure, condition).interval
    return Reading(*map(six_digits, (interval.value, interval.low, interval.high)))


def _hash_of(records: Iterator[Record]) -> str:
    """SHA-256 over what was scored and how, 16 hexadecimal digits; fields that later versions add don't matter."""
    digest = hashlib.sha256()
    for record in records:
        line = [*record.identity, record.mos, record.eps, record.clean_score, record.score]
        digest.update(f"{json.dumps(line)}\n".encode())
    return digest.hexdigest()[:16]
