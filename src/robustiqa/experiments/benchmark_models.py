"""The models of benchmarks: trained or taken from comparisons' run folders, and what black-box attacks learn from.

Every training and every fitting is a unit of work that processes share; what is there is not made again, and equal
trainings of several benchmarks are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustiqa.attacks.learned import STATE_FILE
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.experiments.benchmark import Benchmark, Sweep
from robustiqa.experiments.comparison import (
    Comparison,
    baselines,
    candidates,
    load_comparison,
    train_and_choose,
)
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.sharing import Unit, share
from robustiqa.experiments.subjects_spec import Fit, Subject
from robustiqa.experiments.trainings import LOCKS, Trainings, Variant
from robustiqa.models.loading import load_model
from robustiqa.training.attack_fitting import FitOptions, create_fit, fit_attack
from robustiqa.training.spec import TrainingSpec, load_recipe

QUICK_SOURCE = {"epochs": 1, "optimizer.warmup_steps": 0}
WEIGHT = "penalty.weight"


@dataclass(frozen=True)
class Entrant:
    """A trained model that a benchmark attacks.

    Attributes:
        label: Of its records; equal trainings have equal labels, others never.
        model: Its name among the subjects.
        trainings: Where it comes from.
        variant: Which of them it is.
    """

    label: str
    model: str
    trainings: Trainings
    variant: Variant

    @property
    def weights(self) -> Path:
        """Where its weights belong."""
        return self.trainings.weights(self.variant)

    def file(self) -> Path:
        """Its weights; trained if they are not there."""
        self.trainings.units(self.variant)  # makes it known
        return self.trainings.file(self.weights)


@dataclass(frozen=True)
class Column:
    """What stands for a model in a table: plain, defended, or with one number varied.

    Attributes:
        model: Name among the subjects.
        name: `base`, `NT`, or the number as text.
        entrants: One a seed.
    """

    model: str
    name: str
    entrants: tuple[Entrant, ...]


class Workshop:
    """Makes models and fitted attacks for several benchmarks at once.

    Args:
        benchmarks: All that will be asked for.
        dataset: With train and validation parts.
        place: Where and how.
        seeds: How many seeds of each model are attacked, the first of its comparison.
        values: Overrides of the recipes: `model.backbone`, or `dbcnn.model.scnn_weights` for one of the models.
        runs: Model to the run folder of its comparison, whose trainings are used and added to.
        given: Names of sources and fits to files that are there already.

    Raises:
        SpecError: if a model has no such comparison or recipe, or fewer seeds, or a run or file is of no use.
    """

    def __init__(
        self,
        benchmarks: Sequence[Benchmark],
        dataset: Dataset,
        place: Place,
        seeds: int,
        *,
        values: Mapping[str, Any],
        runs: Mapping[str, Path],
        given: Mapping[str, str],
    ) -> None:
        self._benchmarks = benchmarks
        self._quick = any(benchmark.quick for benchmark in benchmarks)
        self._dataset, self._place, self._values = dataset, place, values
        self._runs, self._given, self._seeds = runs, given, seeds
        self._known = dict(pair for one in benchmarks for pair in one.subjects.models.items())
        sources = [name for one in benchmarks for name in one.subjects.sources]
        self._named = {*self._known, *sources}  # whose recipes can be overridden one by one
        self._models = list(dict.fromkeys(model for one in benchmarks for model in one.models))
        for name in runs:
            if name not in self._models:
                raise SpecError(f"no benchmark attacks a model {name!r}; they attack {', '.join(self._models)}.")
            if not (runs[name] / "trainings").is_dir():
                raise SpecError(f"{runs[name]} is not the run folder of a comparison: it has no folder 'trainings'.")
        taken = [name for one in benchmarks for name in one.files]
        for name in given:
            if name not in {*taken, *self._sources_of_fits(taken)}:
                raise SpecError(
                    f"no benchmark takes a file {name!r}; they take {', '.join(dict.fromkeys(taken)) or 'none'}."
                )
            if not Path(given[name]).exists():
                raise SpecError(f"there is no file {given[name]} for {name!r}.")
        self._comparisons = {model: self._comparison(model, self._known[model]) for model in self._models}
        for model, comparison in self._comparisons.items():
            if seeds > len(comparison.seeds):
                found = ", ".join(map(str, comparison.seeds))
                raise SpecError(f"{seeds} seeds were asked for; the comparison of {model!r} has {found}.")
        self._trainings: dict[Path, Trainings] = {}
        self._chosen: dict[str, float] = {}

    def _sources_of_fits(self, names: Iterable[str]) -> list[str]:
        fits = {name: fit for one in self._benchmarks for name, fit in one.subjects.fits.items()}
        return [fits[name].source for name in names if name in fits]

    def _comparison(self, model: str, subject: Subject) -> Comparison:
        """What trains a model's pair, without the controls, which a benchmark does not attack."""
        comparison = load_comparison(subject.comparison)
        comparison = comparison.made_quick() if self._quick else comparison
        return replace(comparison, noise_stds=(), recipe=self._overridden(comparison.recipe, model))

    def _overridden(self, recipe: TrainingSpec, name: str) -> TrainingSpec:
        """A recipe with what was asked for; a quick run fetches nothing unless it is told where from."""
        begins = {
            "model.backbone_weights": recipe.model.backbone_weights,
            "model.scnn_weights": recipe.model.scnn_weights,
        }
        common = {path: value for path, value in self._values.items() if path.split(".")[0] not in self._named}
        own = {path.removeprefix(f"{name}."): v for path, v in self._values.items() if path.startswith(f"{name}.")}
        asked = {**(dict.fromkeys(begins, "") if self._quick else {}), **common, **own}
        return recipe.with_values({path: value for path, value in asked.items() if begins.get(path) != ""})

    def _of(self, recipe: TrainingSpec, folder: Path, locks: Path | None = None) -> Trainings:
        if folder not in self._trainings:
            options, tell = self._place.options, self._tell(folder)
            self._trainings[folder] = Trainings(recipe, self._dataset, folder, options, tell, locks=locks)
        return self._trainings[folder]

    def _tell(self, folder: Path) -> Any:
        return lambda sentence: self._place.tell(f"{sentence} ({folder.name})")

    def _pair_trainings(self, model: str) -> Trainings:
        """Trained here, or in the comparison's run folder, under the locks that the comparison itself takes."""
        recipe = self._comparisons[model].recipe
        if model in self._runs:
            return self._of(recipe, self._runs[model] / "trainings", self._runs[model] / LOCKS)
        return self._of(recipe, self._place.folder / "trainings" / model)

    def prepare(self) -> None:
        """Trains all that depends on no choice, chooses, and fits attacks; processes share the work."""
        units: list[Unit] = []
        for model in self._models:
            comparison, trainings = self._comparisons[model], self._pair_trainings(model)
            units += trainings.units(*baselines(comparison), *candidates(comparison))
        for source in self._sources():
            units += self._source(source).units(Variant(seed=0))
        units += [self._fit_unit(name, fit) for name, fit in self._fits().items()]
        share(units, self._locks)
        for model in self._models:
            choice = train_and_choose(self._comparisons[model], self._pair_trainings(model))
            self._chosen[model] = choice.weight
        share([unit for entrant in self._swept() for unit in entrant.trainings.units(entrant.variant)], self._locks)

    @property
    def _locks(self) -> Path:
        return self._place.folder / LOCKS

    def _swept(self) -> Iterable[Entrant]:
        for benchmark in self._benchmarks:
            for column in self.columns(benchmark) if benchmark.sweep is not None else ():
                yield from column.entrants

    def columns(self, benchmark: Benchmark) -> list[Column]:
        """What a benchmark puts side by side, model after model; after `prepare`."""
        if benchmark.sweep is None:
            return [column for model in benchmark.models for column in self._pair(model)]
        return [column for model in benchmark.models for column in self._sweep(model, benchmark.sweep)]

    def _seeds_of(self, model: str) -> tuple[int, ...]:
        return self._comparisons[model].seeds[: self._seeds]

    def _pair(self, model: str) -> list[Column]:
        trainings, seeds = self._pair_trainings(model), self._seeds_of(model)
        weight, title = self._chosen[model], self._known[model].title
        plain = [Entrant(f"{title}, seed {seed}", model, trainings, Variant(seed=seed)) for seed in seeds]
        held = [Entrant(f"{title}+NT, seed {s}", model, trainings, Variant(seed=s, weight=weight)) for s in seeds]
        return [Column(model, "base", tuple(plain)), Column(model, "NT", tuple(held))]

    def _sweep(self, model: str, sweep: Sweep) -> list[Column]:
        """One column a value."""
        recipe = self._comparisons[model].recipe
        recipe = recipe.with_values(sweep.recipe)
        return [self._point(model, recipe, sweep, value) for value in sweep.values(recipe)]

    def _point(self, model: str, recipe: TrainingSpec, sweep: Sweep, value: float) -> Column:
        comparison, title = self._comparisons[model], self._known[model].title
        weight, changed = recipe.penalty.weight, dict(sweep.recipe)
        if sweep.field == WEIGHT:
            weight = value
        elif recipe.with_values({sweep.field: value}) != recipe:
            recipe, changed = recipe.with_values({sweep.field: value}), {**changed, sweep.field: value}
        trainings = self._pair_trainings(model)
        said = []
        if recipe != comparison.recipe:
            said = [f"{path.rpartition('.')[2]} {number}" for path, number in changed.items()]
            name = "-".join([model, *said]).replace(" ", "-")
            trainings = self._of(recipe, self._place.folder / "trainings" / name)
        if said or weight not in (0, self._chosen[model]):
            said.append(f"weight {weight:g}")
        label = ", ".join([title if weight == 0 else f"{title}+NT", *said])
        entrants = (
            Entrant(f"{label}, seed {seed}", model, trainings, Variant(seed=seed, weight=weight))
            for seed in self._seeds_of(model)
        )
        return Column(model, f"{value:g}", tuple(entrants))

    def _fits(self) -> dict[str, Fit]:
        return {
            name: one.subjects.fits[name]
            for one in self._benchmarks
            for name in one.files
            if name in one.subjects.fits and name not in self._given
        }

    def _sources(self) -> dict[str, str]:
        """Names to recipes of what attacks read, or are fitted to."""
        fitted_to = [fit.source for fit in self._fits().values()]
        return {
            name: one.subjects.sources[name]
            for one in self._benchmarks
            for name in [*one.files, *fitted_to]
            if name in one.subjects.sources and name not in self._given
        }

    def _source(self, name: str) -> Trainings:
        recipe = load_recipe(self._sources()[name]).with_values(QUICK_SOURCE if self._quick else {})
        return self._of(self._overridden(recipe, name), self._place.folder / "sources" / name)

    def _source_file(self, name: str) -> Path:
        return Path(self._given[name]) if name in self._given else self._source(name).weights(Variant(seed=0))

    def _fit_unit(self, name: str, fit: Fit) -> Unit:
        folder = self._place.folder / "fits" / name
        source = self._source_file(fit.source)

        def run() -> None:
            self._place.tell(f"fitting {name} to {fit.source}")
            spec = create_fit(fit.attack, **{**fit.options, **({"epochs": 1} if self._quick else {})})
            options = FitOptions(
                device=self._place.device, cache=self._place.options.cache, source={"label": fit.source}
            )
            fit_attack(spec, load_model(source), self._dataset, folder, options)

        return Unit(f"fit-{name}", (folder / STATE_FILE).is_file, run, ready=source.is_file)

    def files(self) -> dict[str, str]:
        """What attacks read, by the names that benchmarks use; after `prepare`."""
        made = {name: str(self._source_file(name)) for name in self._sources()}
        made |= {name: str(self._place.folder / "fits" / name / STATE_FILE) for name in self._fits()}
        return {**made, **self._given}
