"""Benchmarks run to their end, in any pieces: every model meets every attack on every photograph once.

What several benchmarks ask for is done for all of them: a unit of work is a model, an attack and a goal on the largest
number of photographs that any of them shows. Records are kept by model and kind of photographs, whole or cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import spec_hash
from robustiqa.datasets.center_crop import center_crops
from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.attack_plan import AttackPlan, PhotoSet
from robustiqa.experiments.benchmark import Benchmark
from robustiqa.experiments.benchmark_jobs import MODELS_HELD, TRANSFER, Job, Task, grouped
from robustiqa.experiments.benchmark_models import Entrant, Workshop
from robustiqa.experiments.benchmark_notes import benchmark_notes
from robustiqa.experiments.benchmark_pages import Met, Page
from robustiqa.experiments.benchmark_pictures import make_pictures
from robustiqa.experiments.comparison import QUICK_PHOTOS
from robustiqa.experiments.comparison_evaluation import Stage, fewer
from robustiqa.experiments.kept import Kept, only
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.sharing import Unit, share
from robustiqa.experiments.trainings import LOCKS
from robustiqa.models.loading import load_model
from robustiqa.models.weights import state_hash
from robustiqa.report.examples import EXAMPLES
from robustiqa.report.gallery import GalleryItem

PART = "test"
WHOLE_PHOTOGRAPHS = "whole"
TOGETHER = "together"  # where models are worked on that an attack does not ask


@dataclass(frozen=True)
class Found:
    """What a benchmark found: one evaluation of whole photographs, one of each crop; clean scores alone may be all.

    And pictures of the photographs that it shows as examples.
    """

    benchmark: Benchmark
    sets: tuple[Evaluation, ...]
    pictures: tuple[GalleryItem, ...] = ()


def run_benchmarks(
    benchmarks: Sequence[Benchmark],
    dataset: Dataset,
    place: Place,
    *,
    values: Mapping[str, Any] | None = None,
    runs: Mapping[str, Path] | None = None,
    files: Mapping[str, str] | None = None,
    seeds: int = 1,
) -> list[Found]:
    """Runs benchmarks, or goes on with them, sharing trainings, fitted attacks and records.

    Args:
        benchmarks: What to run; all quick, or none.
        dataset: With train, validation and test parts.
        place: Where and how.
        values: Overrides of recipes, see `Workshop`.
        runs: Model to the run folder of its comparison.
        files: What attacks read, by name, that need not be made.
        seeds: How many of each model are attacked.

    Raises:
        DataError: if the dataset lacks a part.
        SpecError: if what is kept is of other work, or a model has fewer seeds.
        WorkFailedError: if no candidate weight of a comparison keeps the validation SROCC.
    """
    dataset.part(PART)
    quick = any(benchmark.quick for benchmark in benchmarks)
    dataset = fewer(dataset, QUICK_PHOTOS) if quick else dataset
    workshop = Workshop(benchmarks, dataset, place, seeds, values=values or {}, runs=runs or {}, given=files or {})
    work = _Work(dataset.part(PART), place, quick)
    work.check()
    workshop.prepare()
    made = workshop.files()
    tasks = [Task(benchmark, workshop.columns(benchmark), benchmark.plan(made)) for benchmark in benchmarks]
    share(work.units(tasks), place.folder / LOCKS)
    return [work.found(task) for task in tasks]


class _Work:
    """One process's share of the attacks."""

    def __init__(self, part: Dataset, place: Place, quick: bool) -> None:
        self.part, self.place, self.quick = part, place, quick
        self._stores: dict[tuple[str, int | None], Kept] = {}
        self._load = lru_cache(maxsize=MODELS_HELD)(load_model)

    def check(self) -> None:
        """Refuses kept records of other photographs, and a quick run among results."""
        for folder in sorted(self.place.kept.glob("*/*/info.json")):
            kept = Kept(folder.parent, self.place.folder / LOCKS).read()
            assert kept is not None
            if kept.info["info"] != {**kept.info["info"], **self._mark}:
                raise SpecError(
                    f"{folder.parent} holds records of other photographs, or of a quick run where this is none; choose "
                    "another folder to keep records in."
                )

    @property
    def _mark(self) -> dict[str, Any]:
        return {"quick": self.quick, "photographs": self.part.fingerprint()}

    def store(self, model: str, crop: int | None) -> Kept:
        """Where a model's records are kept."""
        if (model, crop) not in self._stores:
            name = _kind(crop)
            self._stores[model, crop] = Kept(self.place.kept / model / name, self.place.folder / LOCKS / model / name)
        return self._stores[model, crop]

    def photographs(self, crop: int | None, count: int | None) -> Dataset:
        """The first photographs in the order of their keys' hashes."""
        chosen = Stage("", (), count).of(self.part)
        return chosen if crop is None else center_crops(chosen, crop)

    def units(self, tasks: Sequence[Task]) -> list[Unit]:
        """What all tasks ask for."""
        return [self._unit(jobs) for jobs in grouped(tasks)]

    def _unit(self, jobs: Sequence[Job]) -> Unit:
        name = _name(jobs)
        return Unit(name, lambda: all(map(self._is_kept, jobs)), lambda: self._attack(jobs))

    def _is_kept(self, job: Job) -> bool:
        label, _, _, attack, goal = job.identity
        store = self.store(job.owner, job.crop)
        kept = store.read()
        if kept is None or store.of_other_weights(label, job.entrant.weights, self._load):
            return False
        wanted = {photo.key for photo in self.photographs(job.crop, job.photos)}
        return all(wanted <= kept.keys(one, attack, goal, label) for one in job.scorers)

    def _attack(self, jobs: Sequence[Job]) -> None:
        """Of a group, the models that are not done yet."""
        jobs, place = [job for job in jobs if not self._is_kept(job)], self.place
        first, labels = jobs[0], [job.entrant.label for job in jobs]
        run, name = first.run, _name(jobs)
        place.tell(f"{'clean scores' if run is None else f'{run.attack.label}, {run.goal}'}: {', '.join(labels)}")
        models = {one.label: self._model(one, job) for job in jobs for one in (job.entrant, *job.others)}
        photos = self.photographs(first.crop, first.photos)
        options: dict[str, Any] = {"batch_size": place.batch_size, "device": place.device, "small": "pad"}
        found = evaluate(
            models,
            photos,
            () if run is None else (run.on(models[labels[0]], photos, **options),),
            folder=place.folder / "evaluation" / (first.owner if len(jobs) == 1 else TOGETHER) / name,
            transfer=bool(first.others),
            attacked=labels if first.others else None,
            timed=True,
            progress=place.progress,
            tell=place.tell,
            **options,
        )
        where = f"{place.device}, {torch.get_num_threads()} threads, batches of {place.batch_size}"
        for job in jobs:
            own = only(found, job.scorers, found.info["info"]) if len(jobs) > 1 else found
            plain = Evaluation(own.records, {**own.info, "attacks": own.attacks})  # labels: no paths of files
            store = self.store(job.owner, job.crop)
            store.add(
                plain,
                job.entrant.label,
                lambda notes: {**notes, "where": _joined(notes, where), **self._mark},
            )

    def _model(self, entrant: Entrant, job: Job) -> QualityModel:
        model = self._load(entrant.file())
        store = self.store(job.owner, job.crop)
        kept = store.read()
        known = None if kept is None else kept.info["models"].get(entrant.label)
        if known is not None and known["state"] != state_hash(model):
            raise SpecError(
                f"{store.folder} holds records of other weights of {entrant.label!r}; choose another folder "
                "to keep records in."
            )
        return model

    def found(self, task: Task) -> Found:
        """What was found, as if nothing else had been run: in the order of the task, whoever did what first."""
        crops = dict.fromkeys(photos.crop for photos in task.plan.sets) or {None: None}
        sets = {crop: self._assembled(task, crop) for crop in crops}
        pictures = [item for crop, one in sets.items() for item in self._pictures(task, crop, one)]
        return Found(task.benchmark, tuple(sets.values()), tuple(pictures))

    def _pictures(self, task: Task, crop: int | None, found: Evaluation) -> list[GalleryItem]:
        if EXAMPLES not in task.benchmark.show:
            return []
        entrants = {entrant.label: entrant for entrant in task.entrants}
        attacks = [attack for photos in task.plan.sets if photos.crop == crop for attack in photos.attacks]
        photos = self.photographs(crop, None)
        return make_pictures(found, photos, attacks, lambda label: self._load(entrants[label].file()), self.place)

    def _assembled(self, task: Task, crop: int | None) -> Evaluation:
        sets = [photos for photos in task.plan.sets if photos.crop == crop]
        everything = (task.benchmark.clean and crop is None) or not sets
        met = _met(task.plan, sets)
        scored = None if everything else max((one.photos for one in met if one.photos is not None), default=None)
        if any(one.photos is None for one in met):
            scored = None
        owners = {one.label: TRANSFER if task.benchmark.transfer else one.model for one in task.entrants}
        dataset = self.photographs(crop, None)
        page = Page(
            task.benchmark.name,
            task.benchmark.order,
            {label: f"{owner}/{_kind(crop)}" for label, owner in owners.items()},
            (Met(CLEAN, CLEAN, scored), *met),
            {
                "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint()},
                "attacks": list(dict.fromkeys(one.attack for one in met)),
                "info": benchmark_notes(task.benchmark, task.columns, task.plan, sets),
            },
        )
        crops = list(dict.fromkeys(photos.crop for photos in task.plan.sets)) or [None]
        page.write(self.place.kept, crops.index(crop))
        return page.evaluation(self._read)

    def _read(self, store: str) -> Evaluation:
        kept = Kept(self.place.kept / store, self.place.folder / LOCKS / store).read()
        assert kept is not None
        return kept


def _joined(notes: Mapping[str, Any], where: str) -> str:
    """The noted places of work and one more, each once."""
    return "; ".join(sorted({*filter(None, str(notes.get("where", "")).split("; ")), where}))


def _name(jobs: Sequence[Job]) -> str:
    """Of the unit and its folder."""
    label, _, crop, attack, goal = jobs[0].identity
    said: dict[str, Any] = {"model": label, "crop": crop, "attack": attack, "goal": goal, "photos": jobs[0].photos}
    if jobs[0].others:
        said["others"] = [one.label for one in jobs[0].others]
    return spec_hash(said | ({"together": [job.entrant.label for job in jobs]} if len(jobs) > 1 else {}))


def _kind(crop: int | None) -> str:
    return WHOLE_PHOTOGRAPHS if crop is None else f"crop-{crop}"


def _met(plan: AttackPlan, sets: Sequence[PhotoSet]) -> list[Met]:
    """What met each attack and goal, in the order of the plan; the most where sets share one."""
    found: dict[tuple[str, str], Met] = {}
    for photos in sets:
        for run in plan.runs(photos):
            here = Met(run.attack.label, run.goal, photos.photos)
            other = found.setdefault((here.attack, here.goal), here)
            if other.photos is not None and (here.photos is None or here.photos > other.photos):
                found[here.attack, here.goal] = here
    return list(found.values())
