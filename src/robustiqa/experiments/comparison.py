"""Baseline against NT, with the controls that a claim of robustness has to beat: what is trained, and what is chosen.

The rule is written down before the test part is touched: of the candidate weights, the largest whose mean validation
SROCC loss against the baseline of the same seeds is at most `allowed_loss`. Controls meet NT at equal validation
accuracy: the baseline stopped early, and training on Gaussian noise.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError, WorkFailedError
from robustiqa.core.registry import did_you_mean
from robustiqa.training.loop import HISTORY_FILE, RunOptions, train
from robustiqa.training.spec import TrainingSpec, load_recipe

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared.

    Attributes:
        recipe: The training of every model; its penalty weight and seed are varied.
        weights: Candidate weights of the penalty.
        seeds: Of baseline and chosen weight alike.
        allowed_loss: Largest mean validation SROCC loss of the chosen weight.
        noise_stds: Candidate noise levels of the *noise* control, in [0, 1] pixel units; none skips it.
    """

    recipe: TrainingSpec
    weights: tuple[float, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    allowed_loss: float = 0.03
    noise_stds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.weights or min(self.weights) <= 0 or not self.seeds:
            raise SpecError("a comparison needs penalty weights above 0 and at least one seed.")


@dataclass(frozen=True)
class Trained:
    """One trained model: its weights and its validation SROCC, epoch by epoch."""

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


@dataclass(frozen=True)
class Choice:
    """The models that the test part will see, seed by seed, and why.

    Attributes:
        weight: The chosen penalty weight.
        base: Baselines.
        defended: NT models of the chosen weight.
        matched: Each baseline stopped at its NT model's validation SROCC.
        noise: Noise-trained models at the NT models' validation SROCC, for the first seed.
        reasons: Validation SROCC of everything that was trained, as plain values.
    """

    weight: float
    base: tuple[Path, ...]
    defended: tuple[Path, ...]
    matched: tuple[Path, ...]
    noise: tuple[Path, ...]
    reasons: dict[str, Any]

    def labeled(self) -> dict[str, tuple[str, Path]]:
        """Label to (role, weights) of every model to evaluate, in the order of a table."""
        roles = {"baseline": self.base, "NT": self.defended, "matched accuracy": self.matched, "noise": self.noise}
        seeds = self.reasons["seeds"]
        return {
            f"{role}, seed {seed}": (role, path)
            for role, paths in roles.items()
            for seed, path in zip(seeds, paths, strict=False)
        }


def load_comparison(name: str | Path) -> Comparison:
    """Reads a comparison by name, or a TOML file: a recipe's name, overrides, and what to vary.

    Raises:
        SpecError: if there is none, or it holds unknown fields.
    """
    folder = resources.files("robustiqa.experiments") / "specs"
    known = sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))
    if Path(name).suffix == ".toml" and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    elif str(name) in known:
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise SpecError(f"unknown experiment {str(name)!r}{did_you_mean(str(name), known)} Known: {', '.join(known)}.")
    return comparison_from_dict(tomllib.loads(text))


def comparison_from_dict(values: Mapping[str, Any]) -> Comparison:
    """The comparison that plain values stand for.

    Raises:
        SpecError: naming the first unknown field.
    """
    lists = ("weights", "seeds", "noise_stds")
    known = ("recipe", "overrides", "allowed_loss", *lists)
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SpecError(f"a comparison has no {unknown[0]!r}{did_you_mean(unknown[0], list(known))}")
    missing = [name for name in ("recipe", "weights") if name not in values]
    if missing:
        raise SpecError(f"a comparison needs {missing[0]!r}, a recipe's name and candidate weights at least.")
    single = [name for name in lists if not isinstance(values.get(name, []), list)]
    if single:
        raise SpecError(f"{single[0]} of a comparison must be a list, got {values[single[0]]!r}.")
    recipe = load_recipe(values["recipe"]).with_values(values.get("overrides", {}))
    made: dict[str, Any] = {name: tuple(values[name]) for name in lists if name in values}
    if "allowed_loss" in values:
        made["allowed_loss"] = values["allowed_loss"]
    return Comparison(recipe=recipe, **made)


def train_and_choose(comparison: Comparison, dataset: Dataset, folder: Path, options: RunOptions, tell: Tell) -> Choice:
    """Trains baselines, candidate weights and controls, and applies the rule; goes on where it was stopped.

    Args:
        comparison: What to train.
        dataset: With train and validation parts; the test part is not read.
        folder: One run folder for each model goes below it.
        options: How to carry the runs out; epochs are kept for the early-stopping control.
        tell: Called with a sentence before each run.

    Raises:
        DataError: if the dataset has no validation part.
        WorkFailedError: if no candidate weight keeps the validation SROCC.
    """
    dataset.part(comparison.recipe.data.validation)
    runs = _Runs(comparison, dataset, folder, replace(options, keep_epochs=True), tell)
    base = [runs.get(weight=0.0, seed=seed) for seed in comparison.seeds]
    weight, defended = _choose_weight(comparison, base, runs)
    noise = [_choose_noise(comparison, defended[0], runs)] if comparison.noise_stds else []
    reasons = {
        "rule": f"largest weight with a mean validation SROCC loss of at most {comparison.allowed_loss}",
        "weight": weight,
        "seeds": list(comparison.seeds),
        "validation_srocc": runs.seen,
    }
    return Choice(
        weight,
        tuple(run.weights for run in base),
        tuple(run.weights for run in defended),
        tuple(plain.stopped_at(robust.srocc) for plain, robust in zip(base, defended, strict=True)),
        tuple(run.weights for run in noise),
        reasons,
    )


def _choose_weight(comparison: Comparison, base: list[Trained], runs: _Runs) -> tuple[float, list[Trained]]:
    """Every weight is tried with the first seed; the largest that holds is run with all, and must hold again."""
    lost = {
        weight: base[0].srocc - runs.get(weight=weight, seed=comparison.seeds[0]).srocc
        for weight in sorted(comparison.weights)
    }
    for weight in sorted(lost, reverse=True):
        if not lost[weight] <= comparison.allowed_loss:
            continue
        defended = [runs.get(weight=weight, seed=seed) for seed in comparison.seeds]
        lost[weight] = fmean(plain.srocc - robust.srocc for plain, robust in zip(base, defended, strict=True))
        if lost[weight] <= comparison.allowed_loss:
            return weight, defended
    listed = ", ".join(f"{weight:g}: {loss:.3f}" for weight, loss in lost.items())
    raise WorkFailedError(
        f"no penalty weight keeps the validation SROCC within {comparison.allowed_loss} of the baseline "
        f"(lost at {listed}); try smaller weights."
    )


def _choose_noise(comparison: Comparison, defended: Trained, runs: _Runs) -> Trained:
    """The noise level whose validation SROCC is closest to the NT model's."""
    tried = [runs.get(weight=0.0, seed=comparison.seeds[0], noise=std) for std in comparison.noise_stds]
    return min(tried, key=lambda run: abs(run.srocc - defended.srocc))


class _Runs:
    """Trains a model when it is first asked for; finished runs are read from their folders."""

    def __init__(self, comparison: Comparison, dataset: Dataset, folder: Path, options: RunOptions, tell: Tell) -> None:
        self._comparison = comparison
        self._dataset = dataset
        self._folder = folder
        self._options = options
        self._tell = tell
        self.seen: dict[str, list[float]] = {}

    def get(self, *, weight: float, seed: int, noise: float = 0.0) -> Trained:
        name = f"nt-{weight:g}" if weight else f"noise-{noise:g}" if noise else "baseline"
        name = f"{name}-seed-{seed}"
        spec = self._comparison.recipe.with_values(
            {"penalty.weight": float(weight), "seed": seed, "data.noise_std": float(noise)}
        )
        if name not in self.seen:
            self._tell(f"training {name}")
        weights = train(spec, self._dataset, self._folder / name, self._options)
        epochs = json.loads((weights.parent / HISTORY_FILE).read_text(encoding="utf-8"))["epochs"]
        validation = tuple(float(epoch["srocc"]) for epoch in epochs)
        self.seen[name] = list(validation)
        return Trained(weights, validation)


def comparison_info(labels: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The `comparison` entry that reports read, from (label, role) pairs."""
    pairs = list(labels)
    controls: dict[str, list[str]] = {}
    for label, role in pairs:
        if role not in ("baseline", "NT"):
            controls.setdefault(role, []).append(label)
    return {
        "base": [label for label, role in pairs if role == "baseline"],
        "defended": [label for label, role in pairs if role == "NT"],
        "controls": controls,
    }
