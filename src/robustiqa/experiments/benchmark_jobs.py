"""What benchmarks ask for, as jobs: a model under an attack toward a goal; equal jobs are one, and some go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustiqa.attacks.learned import SIGNS
from robustiqa.evaluation.records import CLEAN
from robustiqa.experiments.attack_plan import AttackPlan, Run
from robustiqa.experiments.benchmark import Benchmark
from robustiqa.experiments.benchmark_models import Column, Entrant

MODELS_HELD = 8  # in memory
TRANSFER = "transfer"  # where records of what several models scored are kept


@dataclass(frozen=True)
class Task:
    """A benchmark whose models and attacks are there."""

    benchmark: Benchmark
    columns: Sequence[Column]
    plan: AttackPlan

    @property
    def entrants(self) -> list[Entrant]:
        """Its models, each once."""
        return list({one.label: one for column in self.columns for one in column.entrants}.values())


@dataclass(frozen=True)
class Job:
    """A model under an attack toward a goal, or not attacked; None for the number of photographs means all."""

    entrant: Entrant
    run: Run | None
    crop: int | None
    photos: int | None
    others: tuple[Entrant, ...] = ()  # that score what is found

    @property
    def identity(self) -> tuple[str, str, int | None, str, str]:
        """What tells jobs apart, but for the number of photographs."""
        label, goal = (CLEAN, CLEAN) if self.run is None else (self.run.attack.label, self.run.goal)
        return self.entrant.label, self.owner, self.crop, label, goal

    @property
    def scorers(self) -> list[str]:
        """Labels of the models that score what is found."""
        return [self.entrant.label, *(other.label for other in self.others)]

    @property
    def owner(self) -> str:
        """Of the records."""
        return TRANSFER if self.others else self.entrant.model


def jobs_of(task: Task) -> Iterator[Job]:
    """What one benchmark asks for."""
    for entrant in task.entrants:
        others = tuple(other for other in task.entrants if task.benchmark.transfer and other != entrant)
        if task.benchmark.clean or not task.plan.sets:
            yield Job(entrant, None, None, None)
        for photos in task.plan.sets:
            for run in task.plan.runs(photos, entrant.model):
                yield Job(entrant, run, photos.crop, photos.photos, others)


def grouped(tasks: Sequence[Task]) -> list[list[Job]]:
    """What all tasks ask for, each once, on the largest number of photographs.

    Models under an attack that does not ask them go together: what it finds is found for all of them at once.
    """
    largest: dict[tuple[str, str, int | None, str, str], Job] = {}
    for job in (job for task in tasks for job in jobs_of(task)):
        other = largest.get(job.identity)
        if other is None or (other.photos is not None and (job.photos is None or job.photos > other.photos)):
            largest[job.identity] = job
    groups: dict[object, list[Job]] = {}
    for job in largest.values():
        alone = job.run is None or job.run.attack.asks_model or job.run.goal not in SIGNS or job.others
        groups.setdefault(job.identity if alone else (*job.identity[2:], job.photos), []).append(job)
    return [jobs[start : start + MODELS_HELD] for jobs in groups.values() for start in range(0, len(jobs), MODELS_HELD)]
