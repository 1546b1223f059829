"""What records must be before anything is made of them: finite, and of the same photographs in every column."""

from __future__ import annotations

import math

from robustiqa.core.errors import InputError
from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.study import Study
from robustiqa.evaluation.views import Evaluation

NUMBERS = ("mos", "clean_score", "float_score", "score", "gradient_l1")


def check_finite(evaluation: Evaluation) -> None:
    """Checks that every number is one; an objective that picks the larger change would pass a NaN by in silence.

    Raises:
        InputError: naming the first record that holds another.
    """
    for record in evaluation.records:
        for name in NUMBERS:
            value = getattr(record, name)
            if value is not None and not math.isfinite(value):
                under = "" if record.attack == CLEAN else f" under {record.attack}, {record.goal}"
                raise InputError(
                    f"{name} of {record.key} by {record.scored_by!r}{under} must be finite, got {value}; mend the "
                    "model or leave the photograph out."
                )


def check_same_photos(study: Study) -> None:
    """Checks that the models that stand side by side met the same photographs, run by run.

    Raises:
        InputError: naming two models that did not.
    """
    labels = {label for group in study.columns for label in group.labels}
    runs: dict[tuple[str, str, str], dict[str, set[str]]] = {}
    for record in study.evaluation.records:
        if record.scored_by == record.attacked_on and record.scored_by in labels:
            run = runs.setdefault((record.attack, record.goal, record.variant), {})
            run.setdefault(record.scored_by, set()).add(record.key)
    for (attack, _, _), met in runs.items():
        (first, keys), *others = met.items()
        for label, found in others:
            if found != keys:
                under = "" if attack == CLEAN else f" under {attack}"
                raise InputError(
                    f"{first!r} and {label!r} were evaluated on other photographs{under} ({len(keys)} and "
                    f"{len(found)}); finish the evaluation first."
                )
