"""A whole comparison, from a dataset to records that are kept: trained, chosen, evaluated, exported, in any pieces.

Work goes on from whatever is there: trainings and records below the run folder, and the kept records of an earlier
place of work, of which neither weights nor photographs are needed again. Several processes may run it on one folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.core.run_folder import write_atomically
from robustiqa.evaluation.exported import export, load_exported
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.comparison import (
    Choice,
    Comparison,
    baselines,
    candidates,
    comparison_info,
    label_of,
    plan_notes,
    train_and_choose,
)
from robustiqa.experiments.comparison_evaluation import Progress, Stage, evaluate_model, fewer, standard_stages
from robustiqa.experiments.kept import Kept, Notes, only
from robustiqa.experiments.sharing import Unit, share
from robustiqa.experiments.trainings import LOCKS, Tell, Trainings
from robustiqa.models.loading import load_model
from robustiqa.training.loop import RunOptions

BASELINE = "baseline"
TRAININGS_FILE = "trainings.json"
Labeled = Mapping[str, tuple[str, Path]]  # label to (role, weights)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how the work is done; nothing here changes its result.

    Attributes:
        folder: For trainings and records in progress.
        kept: Finished records, compressed; read first, so they may come from elsewhere.
        options: Of training.
        device: Of evaluation.
        batch_size: Photographs evaluated at a time.
        tell: Called with a sentence before each piece of work.
        progress: Called with (photographs done, photographs in all) of the model at hand.
    """

    folder: Path
    kept: Path
    options: RunOptions = field(default_factory=RunOptions)
    device: str
    batch_size: int
    tell: Tell
    progress: Progress | None = None


def reproduce(comparison: Comparison, dataset: Dataset, place: Place) -> Evaluation:
    """Runs a comparison to its end, or goes on with it.

    The baselines are evaluated as soon as they are trained: they do not depend on what is chosen, and nothing of the
    test part takes part in the choice.

    Args:
        comparison: What to train and to choose between.
        dataset: With train, validation and test parts.
        place: Where and how.

    Returns:
        All kept records, which `report` reads.

    Raises:
        DataError: if the dataset lacks a part.
        SpecError: if the kept records are of another dataset.
        WorkFailedError: if no candidate weight keeps the validation SROCC.
    """
    dataset.part("test")
    dataset = fewer(dataset, comparison.photos)
    work = _Work(comparison, dataset, place)
    work.prepare()
    choice = train_and_choose(comparison, work.trainings)
    work.evaluate(choice.labeled())
    work.note(choice)
    return load_exported(place.kept)


class _Work:
    """One process's share of a comparison."""

    def __init__(self, comparison: Comparison, dataset: Dataset, place: Place) -> None:
        self.place = place
        self.dataset = dataset
        self.comparison = comparison
        self._mark = {"quick": True} if comparison.quick else {}
        self.stages = standard_stages(comparison.ifgsm_photos or None)
        self._locks = place.folder / LOCKS
        self._kept = Kept(place.kept, self._locks)
        self.trainings = Trainings(
            comparison.recipe,
            dataset,
            place.folder / "trainings",
            place.options,
            place.tell,
            kept=_read_json(place.kept / TRAININGS_FILE),
            keep=self._keep_training,
            controls=comparison.controls,
            locks=self._locks,
        )
        kept = self._kept.read()
        if kept is not None and kept.info["dataset"]["fingerprint"] != dataset.part("test").fingerprint():
            raise SpecError(f"{place.kept} holds records of another dataset than {dataset.name!r}; choose another.")
        if kept is not None and bool(kept.info["info"].get("quick")) != comparison.quick:
            held = "results, and a quick run is none" if comparison.quick else "a quick run, which is no result"
            raise SpecError(f"{place.kept} holds {held}; choose another folder to keep records in.")

    def _keep_training(self, name: str, notes: Mapping[str, Any]) -> None:
        path = self.place.kept / TRAININGS_FILE
        with self._kept.claimed():
            write_atomically(path, json.dumps({**_read_json(path), name: notes}, indent=1, sort_keys=True) + "\n")

    def prepare(self) -> None:
        """Does all that depends on no choice: trains baselines and candidates, evaluates the baselines."""
        variants = zip(self.comparison.seeds, baselines(self.comparison), strict=True)
        base = {label_of(BASELINE, seed): (BASELINE, self.trainings.weights(variant)) for seed, variant in variants}
        units = [
            *self.trainings.units(*baselines(self.comparison)),
            *self._evaluations(base),
            *self.trainings.units(*candidates(self.comparison)),
        ]
        share(units, self._locks)
        self.note(None)

    def evaluate(self, labeled: Labeled) -> None:
        """Evaluates models in every stage that they meet, and keeps the records of each."""
        share(self._evaluations(labeled), self._locks)

    def _evaluations(self, labeled: Labeled) -> list[Unit]:
        return [
            Unit(
                f"{stage.name} {label}",
                self._is_kept(stage, label, weights),
                self._evaluation(stage, label, weights),
                ready=weights.is_file,
            )
            for stage in self.stages
            for label, (_, weights) in labeled.items()
        ]

    def note(self, choice: Choice | None) -> None:
        """Writes into the kept records what a report must know besides; a choice is never taken back."""
        with self._kept.claimed():
            kept = self._kept.read()
            if kept is not None and (choice is not None or "comparison" not in kept.info["info"]):
                self._export(kept, choice)

    def _is_kept(self, stage: Stage, label: str, weights: Path) -> Callable[[], bool]:
        def done() -> bool:
            kept = self._kept.read()
            if self._kept.of_other_weights(label, weights, load_model):
                return False
            return kept is not None and stage.covered_by(kept, label, stage.of(self.dataset.part("test")))

        return done

    def _evaluation(self, stage: Stage, label: str, weights: Path) -> Callable[[], None]:
        def run() -> None:
            file = self.trainings.file(weights)
            self.place.tell(f"{stage.name}: {label}")
            found, curve = evaluate_model(
                label,
                file,
                stage,
                self.dataset,
                self.place.folder / "evaluation",
                device=self.place.device,
                batch_size=self.place.batch_size,
                progress=self.place.progress,
                tell=self.place.tell,
            )
            self._kept.add(found, label, lambda notes: {**_with_curve(notes, label, curve), **self._mark})

        return run

    def _export(self, kept: Evaluation, choice: Choice | None) -> None:
        reasons = plan_notes(self.comparison) if choice is None else choice.reasons
        labeled = dict.fromkeys(kept.models, ("", "")) if choice is None else choice.labeled()
        notes: dict[str, Any] = {
            **self._mark,
            "calibration": {label: kept.info["info"]["calibration"][label] for label in labeled},
            "choice": {**reasons, "validation_srocc": self._validation()},
        }
        if choice is not None:
            notes["comparison"] = comparison_info((label, role) for label, (role, _) in labeled.items())
        export(only(kept, list(labeled), notes), self.place.kept)

    def _validation(self) -> dict[str, Any]:
        """Validation SROCC by epoch of every training that was noted."""
        noted = _read_json(self.place.kept / TRAININGS_FILE)
        return {name: notes["validation_srocc"] for name, notes in sorted(noted.items())}


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _with_curve(notes: Notes, label: str, curve: dict[str, float] | None) -> dict[str, Any]:
    """The notes with the curve that maps a model's scores to opinions."""
    return {**notes, "calibration": {**notes.get("calibration", {}), label: curve}}
