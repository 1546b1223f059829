"""Benchmarks, declared: several models, plain and defended, under the same attacks, for a table or figure of a paper.

A benchmark composes the other two kinds of experiments. Its models are those that comparisons train and choose, its
attacks are those of a plan. Numbers that were reported elsewhere stand in its file, to be printed beside the measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean
from robustiqa.evaluation.measures import MEASURES
from robustiqa.experiments.attack_plan import AttackPlan, PhotoSet
from robustiqa.experiments.attack_plan_spec import attack_plan_from_dict, file_names
from robustiqa.experiments.spec_files import check_fields
from robustiqa.experiments.subjects_spec import DEFAULT, Subjects, load_subjects
from robustiqa.report.benchmark_views import VIEWS
from robustiqa.training.spec import TrainingSpec

QUICK_PHOTOS = 32
OF_A_PLAN = ("sets", "query_curve", "claim")
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """One number of the recipes that is varied, of defended models.

    Attributes:
        field: Its dotted name, such as `penalty.h`.
        multiples: Of what each model's recipe says.
        recipe: Other fields that every model of the sweep has set, such as fewer epochs.
    """

    field: str
    multiples: tuple[float, ...]
    recipe: Values

    def values(self, recipe: TrainingSpec) -> list[float]:
        """What the number is, for the models of one recipe; whole where the recipe's is.

        Raises:
            SpecError: if a multiple of a whole number is none.
        """
        found: Any = recipe
        for part in self.field.split("."):
            found = getattr(found, part)
        numbers = [float(f"{multiple * found:.12g}") for multiple in self.multiples]
        if type(found) is not int:
            return numbers
        if not all(number.is_integer() for number in numbers):
            raise SpecError(f"{self.field} is a whole number, {found}; its multiples in a sweep must be, too.")
        return [int(number) for number in numbers]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is attacked how, and shown as what.

    Attributes:
        name: Of its file.
        title: What its part of a page is called.
        models: Names among the subjects.
        show: Views of the report, in order.
        subjects: Models, sources and fits.
        values: Of its sets of photographs and attacks, as a plan of attacks has them.
        clean: Whether every photograph of the test part is scored, attacked or not.
        transfer: Whether every model also scores what was found on each of the others.
        sweep: What is varied, or None: the pair that was chosen.
        reported: Measure to attack to model to numbers, printed beside what is measured.
        source: Where the reported numbers stand.
        order: On a page with others.
        quick: Whether this is a small version that shows nothing but that it runs.
        quick_photos: How many photographs that version attacks.
    """

    name: str
    title: str
    models: tuple[str, ...]
    show: tuple[str, ...]
    subjects: Subjects
    values: Values
    clean: bool = False
    transfer: bool = False
    sweep: Sweep | None = None
    reported: Values = field(default_factory=dict)
    source: str = ""
    order: int = 0
    quick: bool = False
    quick_photos: int = QUICK_PHOTOS

    @property
    def files(self) -> list[str]:
        """Names of the sources and fits that its attacks take."""
        return list(dict.fromkeys(file_names(self.values)))

    def plan(self, files: Mapping[str, str]) -> AttackPlan:
        """Its attacks as a plan.

        Args:
            files: What options such as `weights = "@uap"` stand for.
        """
        if "sets" not in self.values:
            return AttackPlan(title=self.title, models=self.models, part="test", sets=(), quick=self.quick)
        used = {name: path for name, path in files.items() if name in self.files}
        plan = attack_plan_from_dict({"title": self.title, "models": list(self.models), **self.values}, used)
        if not self.quick:
            return plan
        small = plan.made_quick()
        few = [replace(one, photos=self._few(whole)) for one, whole in zip(small.sets, plan.sets, strict=True)]
        return replace(small, sets=tuple(few))

    def _few(self, photos: PhotoSet) -> int:
        return min(photos.photos or self.quick_photos, self.quick_photos)

    def made_quick(self) -> Benchmark:
        """A small version: few photographs and steps, one epoch of training."""
        sweep = None if self.sweep is None else replace(self.sweep, recipe={})
        return replace(self, quick=True, sweep=sweep)

    def of_models(self, names: Sequence[str]) -> Benchmark:
        """The same on some of its models.

        Raises:
            SpecError: if it attacks none of them.
        """
        kept = tuple(name for name in self.models if name in names)
        if not kept:
            raise SpecError(f"{self.name} attacks {', '.join(self.models)}, none of {', '.join(names)}.")
        return replace(self, models=kept, values=_curve_of(kept, self.values))


def _curve_of(models: Sequence[str], values: Values) -> Values:
    """Parts of a plan with the query curve of these models alone, or without one if it is of none of them."""
    curve = values.get("query_curve", {})
    if "models" not in curve:
        return values
    drawn = [name for name in curve["models"] if name in models]
    others = {part: value for part, value in values.items() if part != "query_curve"}
    return {**others, "query_curve": {**curve, "models": drawn}} if drawn else others


def benchmark_from_dict(name: str, values: Values) -> Benchmark:
    """The benchmark that plain values stand for.

    Raises:
        SpecError: naming the first unknown or missing field, or what does not fit together.
    """
    needed = ("title", "models", "show")
    optional = ("subjects", "clean", "transfer", "sweep", "reported", "source", "order", "quick_photos", *OF_A_PLAN)
    check_fields(values, "a benchmark", needed, optional)
    subjects = load_subjects(values.get("subjects", DEFAULT))
    sweep = _sweep(values["sweep"]) if "sweep" in values else None
    made = Benchmark(
        name=name,
        title=str(values["title"]),
        models=_names(values["models"], list(subjects.models), "models"),
        show=_names(values["show"], list(VIEWS), "show"),
        subjects=subjects,
        values={part: values[part] for part in OF_A_PLAN if part in values},
        clean=bool(values.get("clean", False)),
        transfer=bool(values.get("transfer", False)),
        sweep=sweep,
        reported=_reported(values.get("reported", {}), subjects, 2 if sweep is None else len(sweep.multiples)),
        source=str(values.get("source", "")),
        order=int(values.get("order", 0)),
        quick_photos=int(values.get("quick_photos", QUICK_PHOTOS)),
    )
    strange = [file for file in made.files if file not in {**subjects.sources, **subjects.fits}]
    if strange:
        hint = did_you_mean(strange[0], [*subjects.sources, *subjects.fits])
        raise SpecError(f"an attack takes {strange[0]!r}, which the subjects do not have{hint}")
    return made


def _names(given: Any, known: Sequence[str], what: str) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        raise SpecError(f"{what} of a benchmark must be a list that is not empty, got {given!r}.")
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), list(known))
            raise SpecError(f"{what} of a benchmark holds {name!r}{hint} Known: {', '.join(known)}.")
    return tuple(given)


def _sweep(values: Values) -> Sweep:
    unknown = [name for name in values if name not in ("field", "multiples", "recipe")]
    if unknown or not {"field", "multiples"} <= set(values):
        raise SpecError(f"a sweep has field, multiples and recipe, got {', '.join(values) or 'nothing'}.")
    return Sweep(str(values["field"]), tuple(map(float, values["multiples"])), dict(values.get("recipe", {})))


def _reported(values: Values, subjects: Subjects, count: int) -> Values:
    """The reported numbers, so many of each. A typing error in a name would leave a column empty, so it is refused."""
    for measure, attacks in values.items():
        if measure not in MEASURES:
            raise SpecError(f"reported numbers are of {measure!r}{did_you_mean(measure, list(MEASURES))}")
        for models in attacks.values():
            for model in models:
                if model not in subjects.models:
                    raise SpecError(
                        f"reported numbers are of model {model!r}{did_you_mean(model, list(subjects.models))}"
                    )
                if len(models[model]) != count:
                    raise SpecError(f"reported {measure} of {model} must be {count} numbers, got {models[model]!r}.")
    return dict(values)
