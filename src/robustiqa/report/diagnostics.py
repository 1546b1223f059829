"""What each check of the records asks, what it found, and what to do about it: the page's list of diagnostics.

Source: docs/diagnostics.md, which gives thresholds and literature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robustiqa.evaluation.flags import CHECKS
from robustiqa.evaluation.study import Study
from robustiqa.report.captions import flag_name

ADVICE: Mapping[str, str] = {
    "random_output": "Average the randomness and attack the average.",
    "training_mode": "Put the model in evaluation mode and run again.",
    "zero_gradient": "Attack without gradients, or through what removed them.",
    "saturated_head": "Attack the model's raw output, and say so.",
    "black_box_stronger": "The gradients mislead, or the attacks that follow them are weak: run stronger ones.",
    "iterative_weaker": "Use smaller or larger steps, or a random start.",
    "larger_budget_weaker": "The attack fails: use other steps or restarts.",
    "not_converged": "Give more steps or queries until the change stays.",
    "lost_in_8bit": "Quote the 8-bit number; attack with whole levels.",
    "budget_broken": "The run is of another budget than it says.",
    "one_sided": "Read ranks from the rank split.",
    "shrunk_scores": "Read the change over the spread.",
}


@dataclass(frozen=True)
class Check:
    """One check of the records, as the page lists it.

    Attributes:
        name: In words.
        question: What a flag would say.
        advice: What to do then.
        outcome: `flag raised`, `no flag` or `not made`.
        sentences: What was seen, with its numbers; empty without a flag.
    """

    name: str
    question: str
    advice: str
    outcome: str
    sentences: tuple[str, ...]


def checks(studies: Sequence[Study], names: Sequence[str] = ("",)) -> tuple[Check, ...]:
    """Every check with its outcome, those with flags first.

    Args:
        studies: Evaluations ready to be read; a check is made if any of them gave occasion for it.
        names: Of the evaluations, put before what was seen; empty where there is one.
    """
    found = []
    for name, question in CHECKS.items():
        sentences = tuple(
            f"{title}: {flag.sentence}" if title else flag.sentence
            for read, title in zip(studies, names, strict=True)
            for flag in read.diagnosis.flags
            if flag.name == name
        )
        made = any(name in read.diagnosis.made for read in studies)
        outcome = "flag raised" if sentences else "no flag" if made else "not made"
        found.append(Check(flag_name(name), question, ADVICE[name], outcome, sentences))
    order = ("flag raised", "no flag", "not made")
    return tuple(sorted(found, key=lambda check: order.index(check.outcome)))
