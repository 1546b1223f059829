"""What a check raises, what checks there are, and what they see of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from robustiqa.evaluation.records import Record
from robustiqa.evaluation.runs import Run
from robustiqa.evaluation.views import Evaluation

MARGIN = 0.002  # of the scale's span: a lead below it is rounding

CHECKS: Mapping[str, str] = {
    "random_output": "the same photo gets different scores",
    "training_mode": "a part of the model is in training mode",
    "zero_gradient": "photos have no gradient, or none that is a number",
    "saturated_head": "clean scores stick to the ends of the scale",
    "black_box_stronger": "an attack without this model's gradients beats every attack with them",
    "iterative_weaker": "many steps reach less than one",
    "larger_budget_weaker": "a larger budget reaches less",
    "not_converged": "twice as long an attack reaches another change",
    "lost_in_8bit": "the attack does not survive an image file",
    "budget_broken": "an image left its budget",
    "one_sided": "nearly all photos are pushed the same way",
    "shrunk_scores": "the defended model's smaller change is mostly its narrower scores",
}


@dataclass(frozen=True)
class Flag:
    """One reason for doubt.

    Attributes:
        name: Of the check, in `CHECKS`.
        model: Label of the model.
        sentence: What was seen, with its numbers.
        attacks: Labels of the attacks concerned; empty if it does not depend on one.
        objective: The only objective concerned; empty for all.
    """

    name: str
    model: str
    sentence: str
    attacks: tuple[str, ...] = ()
    objective: str = ""


@dataclass(frozen=True)
class Seen:
    """All there is on one model.

    Attributes:
        label: The model.
        evaluation: Where it is from.
        clean: Its records of untouched photos.
        runs: All that it scored, of attacks on itself and on others.
    """

    label: str
    evaluation: Evaluation
    clean: tuple[Record, ...]
    runs: tuple[Run, ...]

    @property
    def span(self) -> float:
        """Length of the model's score scale."""
        return self.evaluation.scale(self.label).span

    @property
    def white(self) -> list[Run]:
        """White-box runs, end to end."""
        return [run for run in self.runs if run.white_box and run.variant == "end_to_end"]

    @property
    def own(self) -> list[Run]:
        """Runs on the model itself that asked it something."""
        return [run for run in self.runs if run.attacked_on == self.label and run.looks]


Found = Iterator[Flag]
