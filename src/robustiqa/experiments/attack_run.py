"""A plan of attacks run to its end, in any pieces: models, photographs and attacks in, records that are kept out.

Each model, attack and goal is a unit of work. Processes share the units, a unit goes on photo by photo where it was
stopped, and what is kept is not done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustiqa.attacks.learned import SIGNS
from robustiqa.attacks.perceptual_similarity import Similarity, create_similarity
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import slug, spec_hash
from robustiqa.datasets.center_crop import center_crops
from robustiqa.evaluation.exported import export
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.attack_plan import AttackPlan, PhotoSet, Run
from robustiqa.experiments.comparison_evaluation import Stage
from robustiqa.experiments.kept import Kept, only
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.sharing import Unit, share
from robustiqa.experiments.trainings import LOCKS
from robustiqa.models.loading import load_model
from robustiqa.models.weights import state_hash


def run_attacks(
    plan: AttackPlan,
    dataset: Dataset,
    weights: Mapping[str, Path],
    place: Place,
    *,
    lpips: str | None = None,
) -> dict[str, Evaluation]:
    """Runs a plan, or goes on with it.

    Args:
        plan: What to run.
        dataset: With the part that the plan names.
        weights: Label to file; of a model whose records are all kept, none is needed.
        place: Where and how; each set's records are kept in a folder of its own below `place.kept`.
        lpips: A file with torchvision's VGG-16, for LPIPS in the records.

    Returns:
        The kept records of each set by its name, in the order of the plan.

    Raises:
        DataError: if the dataset lacks the part.
        SpecError: if a model has no weights, is of another crop size, or what is kept is of other work.
        WeightsError: if a weights file is missing or does not fit.
    """
    unknown = [label for label in weights if label not in plan.models]
    if unknown:
        raise SpecError(f"the plan has no model {unknown[0]!r}; it attacks {', '.join(plan.models)}.")
    part = dataset.part(plan.part)
    similarity = None if lpips is None else create_similarity("lpips", lpips)
    loaded = {label: load_model(path) for label, path in weights.items()}
    work = [_SetWork(plan, photos, part, loaded, place, similarity) for photos in plan.sets]
    units = [unit for one in work for unit in one.units()]
    share(units, place.folder / LOCKS)
    return {one.photos.name: one.finished() for one in work}


@dataclass
class _SetWork:
    """One set of photographs, and what is done with it."""

    plan: AttackPlan
    photos: PhotoSet
    part: Dataset
    models: Mapping[str, QualityModel]
    place: Place
    lpips: Similarity | None

    def __post_init__(self) -> None:
        chosen = Stage("", (), self.photos.photos).of(self.part)
        self.dataset = chosen if self.photos.crop is None else center_crops(chosen, self.photos.crop)
        self.kept = Kept(self.place.kept / slug(self.photos.name), self.place.folder / LOCKS)
        self._check()

    def _check(self) -> None:
        """Refuses what could only be found out after hours, and records of other work."""
        for label, model in self.models.items():
            if self.photos.crop is not None and model.crop_size != self.photos.crop:
                raise SpecError(
                    f"set {self.photos.name!r} has crops of {self.photos.crop} pixels, and {label!r} takes "
                    f"{model.crop_size or 'photographs of any size'}; give the set the crop of the models."
                )
        kept = self.kept.read()
        if kept is None:
            return
        same = kept.info["info"].get("quick") == self.plan.quick and kept.info["dataset"] == self._described()
        for label, model in self.models.items():
            known = kept.info["models"].get(label)
            same = same and (known is None or known["state"] == state_hash(model))
        if not same:
            raise SpecError(
                f"{self.kept.folder} holds records of other weights or photographs, or of a quick run; choose another "
                "folder to keep records in."
            )

    def _described(self) -> dict[str, Any]:
        """The photographs as `evaluate` describes them."""
        return {"name": self.dataset.name, "fingerprint": self.dataset.fingerprint(), "n": len(self.dataset)}

    def units(self) -> list[Unit]:
        """Each attack and goal on each model; on all at once where the attack does not ask them.

        Raises:
            SpecError: if there is work left on a model without weights.
        """
        found = []
        for run in self.plan.runs(self.photos):
            labels = [label for label in self.plan.models if run in self.plan.runs(self.photos, label)]
            for label in labels:
                if label not in self.models and not self._is_kept(run, label):
                    raise SpecError(f"{label!r} is not attacked to the end yet; give its weights: {label}=FILE.")
            together = run.goal in SIGNS and not run.attack.asks_model
            found += [self._unit(run, some) for some in ([labels] if together else [[label] for label in labels])]
        return found

    def _unit(self, run: Run, labels: Sequence[str]) -> Unit:
        said = {"set": self.photos.name, "attack": run.attack.label, "goal": run.goal, "model": "+".join(labels)}
        name = f"{slug('-'.join(labels))}-{run.attack.name}-{run.goal}-{spec_hash(said)}"
        return Unit(
            name,
            lambda: all(self._is_kept(run, label) for label in labels),
            lambda: self._attack(run, [label for label in labels if not self._is_kept(run, label)]),
        )

    def _is_kept(self, run: Run, label: str) -> bool:
        stage, kept = Stage(run.attack.name, (run.attack,), goals=(run.goal,)), self.kept.read()
        return kept is not None and stage.covered_by(kept, label, self.dataset)

    def _attack(self, run: Run, labels: Sequence[str]) -> None:
        place, name = self.place, self._unit(run, labels).name
        place.tell(f"{self.photos.name}: {run.attack.label}, {run.goal}, on {', '.join(labels)}")
        options: dict[str, Any] = {"batch_size": place.batch_size, "device": place.device, "small": "pad"}
        found = evaluate(
            {label: self.models[label] for label in labels},
            self.dataset,
            (run.on(self.models[labels[0]], self.dataset, **options),),
            folder=place.folder / "evaluation" / slug(self.photos.name) / name,
            timed=True,
            lpips=self.lpips,
            progress=place.progress,
            tell=place.tell,
            **options,
        )
        for label in labels:
            self.kept.add(only(found, [label], found.info["info"]), label, lambda notes: self._notes())

    def _notes(self) -> dict[str, Any]:
        where = f"{self.place.device}, {torch.get_num_threads()} threads, batches of {self.place.batch_size}"
        return {**self.plan.notes(self.photos), "where": where}

    def finished(self) -> Evaluation:
        """The kept records, written anew in the order of the plan: no trace of who did what first."""
        with self.kept.claimed():
            kept = self.kept.read()
            assert kept is not None
            notes = {**self.plan.notes(self.photos), "where": kept.info["info"]["where"]}
            export(in_order(kept, self.plan, self.photos, notes), self.kept.folder)
        found = self.kept.read()
        assert found is not None
        return found


def in_order(evaluation: Evaluation, plan: AttackPlan, photos: PhotoSet, notes: Mapping[str, Any]) -> Evaluation:
    """An evaluation as if its plan had been run from front to back; records of no plan of today come last."""
    runs = {(run.attack.label, run.goal): place for place, run in enumerate(plan.runs(photos), start=1)}
    models = {label: place for place, label in enumerate(plan.models)}

    def rank(record: Record) -> tuple[int, int, str, str, str]:
        last = len(runs) + 1
        run = 0 if record.attack == CLEAN else runs.get((record.attack, record.goal), last)
        return models.get(record.scored_by, len(models)), run, record.attack, record.goal, record.key

    records = tuple(sorted(evaluation.records, key=rank))
    labels = dict.fromkeys(record.scored_by for record in records)
    attacks = dict.fromkeys(record.attack for record in records if record.attack != CLEAN)
    info = {
        **evaluation.info,
        "models": {label: evaluation.info["models"][label] for label in labels},
        "attacks": list(attacks),  # as records name them: no paths of files
        "info": dict(notes),
    }
    return Evaluation(records, info)
