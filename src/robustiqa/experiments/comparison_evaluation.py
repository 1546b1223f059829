"""The test part of a comparison: every chosen model is scored and attacked once, and the records are exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustiqa.attacks import create_attack
from robustiqa.attacks.base import NamedAttack
from robustiqa.core.dataset import Dataset
from robustiqa.core.run_folder import write_atomically
from robustiqa.evaluation.records import Record, read_records, write_compressed
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.comparison import Choice, Tell, comparison_info
from robustiqa.metrics.mapping import fit_logistic
from robustiqa.models.loading import load_model

INFO_FILE = "info.json"
RECORD_FILES = "*.jsonl.gz"
PROTECTED_ROLES = ("baseline", "NT")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Stage:
    """Attacks that are run together.

    Attributes:
        name: Of its folders and files.
        attacks: What to run, with both directions.
        first_control_only: Whether of each control only the first seed meets them.
    """

    name: str
    attacks: tuple[NamedAttack, ...]
    first_control_only: bool = False

    def meets(self, label: str, role: str, labels: Sequence[str]) -> bool:
        """Whether a model is attacked in this stage; `labels` are those of its role."""
        return role in PROTECTED_ROLES or not self.first_control_only or label == labels[0]


def standard_stages() -> tuple[Stage, ...]:
    """One FGSM step of .01, then ten I-FGSM steps at 4/255, each with sign noise of the same size."""
    return (
        Stage("fgsm", (create_attack("fgsm", eps="0.01"), create_attack("random_sign", eps="0.01"))),
        Stage(
            "ifgsm",
            (create_attack("ifgsm", eps="4/255", steps=10), create_attack("random_sign", eps="4/255")),
            first_control_only=True,
        ),
    )


def evaluate_choice(
    choice: Choice,
    dataset: Dataset,
    folder: Path,
    stages: Sequence[Stage],
    *,
    device: str,
    batch_size: int,
    tell: Tell,
    progress: Progress | None = None,
) -> Evaluation:
    """Scores and attacks the test part with every chosen model; goes on where it was stopped.

    Args:
        choice: The models.
        dataset: With validation and test parts; validation serves the logistic fit of PLCC alone.
        folder: One run folder for each stage and model goes below it.
        stages: Attacks, in order.
        device: Where to compute.
        batch_size: Photographs at a time.
        tell: Called with a sentence before each model.
        progress: Called with (photographs done, photographs in all) of the model at hand.
    """
    labeled = choice.labeled()
    parts: list[Evaluation] = []
    calibration: dict[str, Any] = {}
    for stage in stages:
        for label, (role, weights) in labeled.items():
            if not stage.meets(label, role, [name for name, (other, _) in labeled.items() if other == role]):
                continue
            tell(f"{stage.name}: {label}")
            model = {label: load_model(weights)}
            options: dict[str, Any] = {"device": device, "batch_size": batch_size, "small": "pad"}
            if label not in calibration:
                clean = evaluate(model, dataset.part("validation"), folder=folder / "validation" / label, **options)
                calibration[label] = fitted_logistic(clean, label)
            run = folder / stage.name / label
            test = dataset.part("test")
            parts.append(evaluate(model, test, stage.attacks, folder=run, progress=progress, **options))
    info = {
        "comparison": comparison_info((label, role) for label, (role, _) in labeled.items()),
        "calibration": calibration,
        "choice": choice.reasons,
    }
    return merge(parts, info)


def fitted_logistic(clean: Evaluation, label: str) -> dict[str, float] | None:
    """The logistic from clean validation scores to MOS, or None where the fit fails."""
    scores = clean.clean(label)
    fitted = None if scores.mos is None else fit_logistic(scores.before, scores.mos)
    return None if fitted is None else dict(vars(fitted))


def merge(parts: Sequence[Evaluation], info: Mapping[str, Any]) -> Evaluation:
    """One evaluation from several on the same photographs; clean records that repeat are kept once."""
    seen: dict[tuple[str, ...], Record] = {}
    models: dict[str, Any] = {}
    attacks: list[str] = []
    for part in parts:
        models.update(part.info["models"])
        attacks += [attack for attack in part.info["attacks"] if attack not in attacks]
        for record in part.records:
            seen.setdefault(record.identity, record)
    described = {**parts[0].info, "models": models, "attacks": attacks, "info": dict(info)}
    return Evaluation(tuple(seen.values()), described)


def export(evaluation: Evaluation, folder: Path) -> None:
    """Writes what tables are rebuilt from: `info.json`, and one compressed file of records a model, in place of others.

    Args:
        evaluation: What to keep.
        folder: Where to; records that an earlier export left there are removed.
    """
    for earlier in folder.glob(RECORD_FILES):
        earlier.unlink()
    for number, label in enumerate(evaluation.models):
        mine = [record for record in evaluation.records if record.scored_by == label]
        write_compressed(mine, folder / f"{number:02d}-{_slug(label)}.jsonl.gz")
    write_atomically(folder / INFO_FILE, json.dumps(evaluation.info, indent=1, sort_keys=True) + "\n")


def load_exported(folder: Path) -> Evaluation:
    """The evaluation that `export` wrote."""
    info = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    return Evaluation(tuple(_all_records(sorted(folder.glob(RECORD_FILES)))), info)


def _all_records(paths: Iterable[Path]) -> Iterable[Record]:
    for path in paths:
        yield from read_records(path)


def _slug(label: str) -> str:
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in label.lower()).replace("--", "-")
