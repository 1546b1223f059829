"""The trainings of a comparison: each is run when its result is first asked for, and never twice.

What chooses between models is their validation SROCC, so a model whose history was kept is trained again only if
its weights are asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from robustiqa.core.dataset import Dataset
from robustiqa.core.run_folder import WEIGHTS_FILE, environment, known_spec, open_run_folder, slug, spec_hash
from robustiqa.experiments.sharing import Unit, share
from robustiqa.training.build import resolve
from robustiqa.training.loop import HISTORY_FILE, RunOptions, train
from robustiqa.training.spec import TrainingSpec

LOCKS = ".locks"
BEGINNINGS = "beginnings"
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What sets a training of a comparison apart.

    Attributes:
        seed: Of everything random.
        weight: Of the penalty; 0 for plain training.
        noise: Largest standard deviation of the noise that is trained on, in [0, 1] pixel units.
        control: Name of the control that it is, whose fields of the recipe it takes; empty for none.
    """

    seed: int
    weight: float = 0.0
    noise: float = 0.0
    control: str = ""

    @property
    def name(self) -> str:
        """Of its run folder."""
        if self.control:
            kind = f"control-{slug(self.control)}"
        else:
            kind = f"nt-{self.weight:g}" if self.weight else f"noise-{self.noise:g}" if self.noise else "baseline"
        return f"{kind}-seed-{self.seed}"

    @property
    def plain(self) -> bool:
        """Whether this is a baseline, which is also stopped early and so validated after every epoch."""
        return not self.weight and not self.noise and not self.control


@dataclass(frozen=True)
class Trained:
    """One trained model: where its weights are, or would be, and its validation SROCC, epoch by epoch."""

    weights: Path
    validation: tuple[float, ...]

    @property
    def srocc(self) -> float:
        """After the last epoch."""
        return self.validation[-1]

    def stopped_at(self, srocc: float) -> Path:
        """The weights of the epoch whose validation SROCC is closest to `srocc`; the first of several."""
        epochs = [number for number, reached in enumerate(self.validation) if not math.isnan(reached)]
        epoch = min(epochs, key=lambda number: abs(self.validation[number] - srocc))
        return self.weights.parent / f"epoch-{epoch + 1:02d}.safetensors"


class Trainings:
    """Trains a model when it is first asked for; finished runs are read from their folders.

    Args:
        recipe: Of every model; weight, seed and noise are varied.
        dataset: With train and validation parts; the test part is not read.
        folder: One run folder for each model goes below it.
        options: How to carry the runs out.
        tell: Called with a sentence before each run.
        kept: What an earlier place of work noted: run names to `notes`.
        keep: Called with a run's name and notes when it is done.
        controls: Name to fields of the recipe, for variants that are one.
        locks: Folder for the locks, the same for whoever trains here; one below `folder` if None.

    Raises:
        DataError: if the dataset has no validation part.
    """

    def __init__(
        self,
        recipe: TrainingSpec,
        dataset: Dataset,
        folder: Path,
        options: RunOptions,
        tell: Tell,
        kept: Mapping[str, Mapping[str, Any]] | None = None,
        keep: Callable[[str, Mapping[str, Any]], None] | None = None,
        controls: Mapping[str, Mapping[str, Any]] | None = None,
        locks: Path | None = None,
    ) -> None:
        dataset.part(recipe.data.validation)
        self._recipe = recipe
        self._dataset = dataset
        self._folder = folder
        self._options = options
        self._tell = tell
        self._kept = dict(kept or {})
        self._keep = keep
        self._controls = dict(controls or {})
        self._locks = locks or folder / LOCKS
        self._variants: dict[str, Variant] = {}
        self._checked: set[str] = set()

    def get(self, *variants: Variant) -> list[Trained]:
        """Of each model the validation SROCC, and where its weights belong; trains what is not known yet.

        Processes that ask for the same models share the work.
        """
        share(self.units(*variants), self._locks)
        return [self._trained(variant) for variant in variants]

    def units(self, *variants: Variant) -> list[Unit]:
        """The trainings as pieces of work, done when their validation SROCC is known."""
        self._variants |= {variant.name: variant for variant in variants}
        return [self._unit(variant, lambda variant=variant: self.known(variant)) for variant in variants]  # type: ignore[misc]

    def _unit(self, variant: Variant, done: Callable[[], bool]) -> Unit:
        return Unit(variant.name, done, lambda: self._train(variant), lock=self._locks / f"{variant.name}.lock")

    def _trained(self, variant: Variant) -> Trained:
        reached = self.notes(variant)["validation_srocc"]
        validation = tuple(math.nan if srocc is None else float(srocc) for srocc in reached)
        return Trained(self.weights(variant), validation)

    def known(self, variant: Variant) -> bool:
        """Whether its validation SROCC is known without training it.

        Raises:
            SpecError: if its folder holds a model that was trained otherwise.
        """
        kept = self._kept.get(variant.name)
        return self._is_trained(variant) or (kept is not None and kept["spec"] == self._hash(variant))

    def _is_trained(self, variant: Variant) -> bool:
        weights = self.weights(variant)
        if not weights.is_file():
            return False
        if variant.name not in self._checked and known_spec(weights.parent):
            open_run_folder(weights.parent, resolve(self._spec(variant), self._dataset))
        self._checked.add(variant.name)
        return True

    def notes(self, variant: Variant) -> dict[str, Any]:
        """What to keep of a training: its spec's hash, where it ran, and validation SROCC (None: not measured)."""
        if not self.weights(variant).is_file():
            return dict(self._kept[variant.name])
        history = json.loads((self.weights(variant).parent / HISTORY_FILE).read_text(encoding="utf-8"))
        return {
            "spec": self._hash(variant),
            "environment": {**environment(), "threads": torch.get_num_threads()},
            "validation_srocc": [_measured(epoch.get("srocc")) for epoch in history["epochs"]],
        }

    def file(self, weights: Path) -> Path:
        """A file of weights that `get` named, whose run is made again if it is not there."""
        variant = self._variants[weights.parent.name]
        share([self._unit(variant, lambda: self._is_trained(variant))], self._locks)
        return weights

    def weights(self, variant: Variant) -> Path:
        """Where a model's weights belong, whether they are there or not."""
        return self._folder / variant.name / WEIGHTS_FILE

    def _train(self, variant: Variant) -> None:
        self._tell(f"training {variant.name}")
        every = 1 if variant.plain else self._recipe.epochs
        beginnings = self._folder / BEGINNINGS
        options = replace(self._options, keep_epochs=variant.plain, validate_every=every, beginnings=beginnings)
        train(self._spec(variant), self._dataset, self._folder / variant.name, options)
        if self._keep is not None:
            self._keep(variant.name, self.notes(variant))

    def _spec(self, variant: Variant) -> TrainingSpec:
        if variant.control:
            return self._recipe.with_values({**self._controls[variant.control], "seed": variant.seed})
        return self._recipe.with_values(
            {
                "penalty.weight": float(variant.weight),
                "seed": variant.seed,
                "data.noise_std": float(variant.noise),
            }
        )

    def _hash(self, variant: Variant) -> str:
        return spec_hash(resolve(self._spec(variant), self._dataset))


def _measured(srocc: float | None) -> float | None:
    return None if srocc is None or math.isnan(srocc) else srocc
