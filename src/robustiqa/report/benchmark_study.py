"""A benchmark made ready to be read: its models in pairs, plain and defended, and its attacks under their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.summary import SAMPLES
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.checks import check_finite, check_same_photos

TITLES = {
    "fgsm": "FGSM",
    "ifgsm": "I-FGSM",
    "mifgsm": "MI-FGSM",
    "apgd": "APGD",
    "perceptual": "Perceptual",
    "uap": "UAP",
    "facpa": "FACPA",
    "korhonen": "Korhonen",
    "square": "Square",
    "score_boundary": "Score boundary",
    "random_sign": "Random signs",
}
BASE, DEFENDED = "base", "NT"
BLACK_BOX = "*"  # as in the paper


@dataclass(frozen=True)
class Pair:
    """A model, plain and defended.

    Attributes:
        model: As reported numbers name it.
        title: As tables name it.
        base: Without the defense.
        defended: With it.
    """

    model: str
    title: str
    base: Group
    defended: Group


@dataclass(frozen=True)
class Varied:
    """A model with one number of its training varied.

    Attributes:
        model: As in `Pair`.
        title: As in `Pair`.
        values: The number, in the order it was declared.
        groups: The models trained with it.
    """

    model: str
    title: str
    values: tuple[float, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class BenchmarkStudy:
    """An evaluation of a benchmark, read.

    Attributes:
        study: Numbers of single models.
        pairs: Plain beside defended; none where a number is varied.
        varied: Models by that number; none where pairs are compared.
    """

    study: Study
    pairs: tuple[Pair, ...]
    varied: tuple[Varied, ...]

    @property
    def notes(self) -> Mapping[str, Any]:
        """What was said about the run."""
        return self.study.notes

    @cached_property
    def attacks(self) -> dict[str, str]:
        """Label to title of every attack that means it; a star for those that do not see the model's gradients."""
        labels = self.study.attacks
        names = [_name(label) for label in labels]
        found = {}
        for label, name in zip(labels, names, strict=True):
            title = TITLES.get(name, name) if names.count(name) == 1 else label
            found[label] = title + (BLACK_BOX if self.is_black_box(label) else "")
        return found

    def is_black_box(self, attack: str) -> bool:
        """Whether an attack does without the gradients of the model it is used on."""
        return bool(self.notes["threats"].get(attack) == "black-box")

    def conditions(self, objective: str, groups: Sequence[Group]) -> list[Condition]:
        """Every attack under an objective, as far as all of some groups met it."""
        made = [Condition(attack, objective) for attack in self.attacks]
        return [condition for condition in made if all(self.study.holds(group, condition) for group in groups)]

    def reported(self, measure: str, model: str, attack: str = "none") -> Sequence[float] | None:
        """Numbers that were reported elsewhere for plain and defended model, or for each value of what is varied."""
        found: Sequence[float] | None = self.notes["reported"].get(measure, {}).get(_name(attack), {}).get(model)
        return found

    def groups(self) -> Iterator[Group]:
        """Every group, in the order of tables."""
        for pair in self.pairs:
            yield from (pair.base, pair.defended)
        for varied in self.varied:
            yield from varied.groups


def benchmark_study(evaluation: Evaluation, *, samples: int = SAMPLES, seed: int = 0) -> BenchmarkStudy:
    """Reads an evaluation of a benchmark.

    Args:
        evaluation: With the notes of `robustiqa.experiments.benchmark_notes`.
        samples: Bootstrap resamples.
        seed: Of the resamples.

    Raises:
        InputError: if it holds no records, or they are unfinished or not finite.
    """
    check_finite(evaluation)
    read = study(evaluation, samples=samples, seed=seed)
    check_same_photos(read)
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for column in read.notes["columns"]:
        columns.setdefault(column["model"], []).append(column)
    if read.notes["varied"] is not None:
        return BenchmarkStudy(read, (), tuple(_varied(model, found) for model, found in columns.items()))
    pairs = tuple(_pair(model, found) for model, found in columns.items())
    labels = [labels for pair in pairs for labels in zip(pair.base.labels, pair.defended.labels, strict=True)]
    return BenchmarkStudy(replace(read, pairs=tuple(labels)), pairs, ())


def _pair(model: str, columns: Sequence[Mapping[str, Any]]) -> Pair:
    labels = {column["name"]: tuple(column["labels"]) for column in columns}
    title = str(columns[0]["title"])
    return Pair(model, title, Group(title, labels[BASE]), Group(f"{title}+{DEFENDED}", labels[DEFENDED]))


def _varied(model: str, columns: Sequence[Mapping[str, Any]]) -> Varied:
    title = str(columns[0]["title"])
    groups = tuple(Group(f"{title}, {column['name']}", tuple(column["labels"])) for column in columns)
    return Varied(model, title, tuple(float(column["name"]) for column in columns), groups)


def _name(label: str) -> str:
    return label.partition("(")[0]
