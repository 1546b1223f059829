"""Baseline against NT, with the controls that a claim of robustness has to beat: what is trained, and what is chosen.

The rule is written down before the test part is touched: of the candidate weights, the largest whose mean validation
SROCC loss against the baseline of the same seeds is at most `allowed_loss`. Controls meet NT at equal validation
accuracy: the baseline stopped early, and training on Gaussian noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from robustiqa.core.errors import SpecError, WorkFailedError
from robustiqa.core.registry import did_you_mean
from robustiqa.experiments.spec_files import read_spec
from robustiqa.experiments.trainings import Trained, Trainings, Variant
from robustiqa.training.spec import TrainingSpec, load_recipe

QUICK_PHOTOS = {"train": 256, "validation": 32, "test": 32}
QUICK_LOSS = 2.0  # any
ROLES = ("baseline", "NT", "matched accuracy", "noise")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared.

    Attributes:
        recipe: The training of every model; its penalty weight and seed are varied.
        weights: Candidate weights of the penalty.
        seeds: Of baseline and chosen weight alike.
        allowed_loss: Largest mean validation SROCC loss of the chosen weight.
        noise_stds: Candidate noise levels of the *noise* control, in [0, 1] pixel units; none skips it.
        ifgsm_photos: How many test photographs meet the attack of many steps; 0 for all.
        photos: Part to how many of its photographs are used, the first in the order of their keys' hashes.
        controls: Name to fields of the recipe, each trained so with the first seed: what else might explain a gain,
            such as another form of the penalty.
        quick: Whether this is a small version that shows nothing but that it runs.
    """

    recipe: TrainingSpec
    weights: tuple[float, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    allowed_loss: float = 0.03
    noise_stds: tuple[float, ...] = ()
    ifgsm_photos: int = 0
    photos: Mapping[str, int] = field(default_factory=dict)
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quick: bool = False

    def __post_init__(self) -> None:
        if not self.weights or min(self.weights) <= 0 or not self.seeds:
            raise SpecError("a comparison needs penalty weights above 0 and at least one seed.")
        taken = [name for name in self.controls if name in ROLES]
        if taken:
            raise SpecError(f"a control can't be called {taken[0]!r}; every comparison has models of that name.")
        for values in self.controls.values():
            self.recipe.with_values(values)  # refuses unknown fields

    def with_recipe(self, values: Mapping[str, Any]) -> Comparison:
        """The comparison with fields of its recipe replaced."""
        return replace(self, recipe=self.recipe.with_values(values))

    def made_quick(self) -> Comparison:
        """A small version, of one epoch and one seed, that passes through everything and shows nothing."""
        shorter = {"epochs": 1, "penalty.start_epoch": 0, "optimizer.warmup_steps": 0, "head_start.epochs": 0}
        return replace(
            self.with_recipe(shorter),
            weights=(min(self.weights),),
            seeds=self.seeds[:1],
            allowed_loss=QUICK_LOSS,
            noise_stds=self.noise_stds[:1],
            ifgsm_photos=QUICK_PHOTOS["test"] // 4,
            photos=QUICK_PHOTOS,
            quick=True,
        )


@dataclass(frozen=True)
class Choice:
    """The models that the test part will see, seed by seed, and why.

    Attributes:
        weight: The chosen penalty weight.
        base: Baselines.
        defended: NT models of the chosen weight.
        matched: Each baseline stopped at its NT model's validation SROCC.
        noise: Noise-trained models at the NT models' validation SROCC, for the first seed.
        controls: The comparison's own controls, for the first seed.
        reasons: The rule, the seeds and the weight, as plain values.
    """

    weight: float
    base: tuple[Path, ...]
    defended: tuple[Path, ...]
    matched: tuple[Path, ...]
    noise: tuple[Path, ...]
    controls: Mapping[str, tuple[Path, ...]]
    reasons: dict[str, Any]

    def labeled(self) -> dict[str, tuple[str, Path]]:
        """Label to (role, weights) of every model to evaluate, in the order of a table."""
        roles = {**dict(zip(ROLES, (self.base, self.defended, self.matched, self.noise), strict=True)), **self.controls}
        seeds = self.reasons["seeds"]
        return {
            label_of(role, seed): (role, path)
            for role, paths in roles.items()
            for seed, path in zip(seeds, paths, strict=False)
        }


def load_comparison(name: str | Path) -> Comparison:
    """Reads a comparison by name, or a TOML file: a recipe's name, overrides, and what to vary.

    Raises:
        SpecError: if there is none, or it holds unknown fields.
    """
    return comparison_from_dict(read_spec(name))


def comparison_from_dict(values: Mapping[str, Any]) -> Comparison:
    """The comparison that plain values stand for.

    Raises:
        SpecError: naming the first unknown field.
    """
    lists = ("weights", "seeds", "noise_stds")
    single = ("allowed_loss", "ifgsm_photos")
    known = ("recipe", "overrides", "controls", *single, *lists)
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SpecError(f"a comparison has no {unknown[0]!r}{did_you_mean(unknown[0], list(known))}")
    missing = [name for name in ("recipe", "weights") if name not in values]
    if missing:
        raise SpecError(f"a comparison needs {missing[0]!r}, a recipe's name and candidate weights at least.")
    scalars = [name for name in lists if not isinstance(values.get(name, []), list)]
    if scalars:
        raise SpecError(f"{scalars[0]} of a comparison must be a list, got {values[scalars[0]]!r}.")
    named = values.get("controls", {})
    if not isinstance(named, Mapping) or not all(isinstance(fields, Mapping) for fields in named.values()):
        raise SpecError(f"controls of a comparison must be tables of a recipe's fields, got {named!r}.")
    recipe = load_recipe(values["recipe"]).with_values(values.get("overrides", {}))
    made: dict[str, Any] = {name: tuple(values[name]) for name in lists if name in values}
    made |= {name: values[name] for name in single if name in values}
    return Comparison(recipe=recipe, controls=named, **made)


def train_and_choose(comparison: Comparison, trainings: Trainings) -> Choice:
    """Trains baselines, candidate weights and controls, and applies the rule; goes on where it was stopped.

    Args:
        comparison: What to train.
        trainings: Where models come from; of a model that was trained before, only its validation SROCC is read.

    Raises:
        WorkFailedError: if no candidate weight keeps the validation SROCC.
    """
    base = trainings.get(*baselines(comparison))
    weight, defended = _choose_weight(comparison, base, trainings)
    noise = [_choose_noise(comparison, defended[0], trainings)] if comparison.noise_stds else []
    return Choice(
        weight,
        tuple(run.weights for run in base),
        tuple(run.weights for run in defended),
        tuple(plain.stopped_at(robust.srocc) for plain, robust in zip(base, defended, strict=True)),
        tuple(run.weights for run in noise),
        {
            name: tuple(run.weights for run in trainings.get(Variant(seed=comparison.seeds[0], control=name)))
            for name in comparison.controls
        },
        {**plan_notes(comparison), "weight": weight},
    )


def label_of(role: str, seed: int) -> str:
    """What a model is called in records and tables."""
    return f"{role}, seed {seed}"


def plan_notes(comparison: Comparison) -> dict[str, Any]:
    """The rule and the seeds, as plain values, known before anything is trained."""
    return {
        "rule": f"largest weight with a mean validation SROCC loss of at most {comparison.allowed_loss}",
        "seeds": list(comparison.seeds),
    }


def baselines(comparison: Comparison) -> tuple[Variant, ...]:
    """One a seed."""
    return tuple(Variant(seed=seed) for seed in comparison.seeds)


def candidates(comparison: Comparison) -> tuple[Variant, ...]:
    """What is chosen from, each weight and each noise level, and the comparison's own controls; with the first seed."""
    first = comparison.seeds[0]
    return (
        *(Variant(seed=first, weight=weight) for weight in sorted(comparison.weights)),
        *(Variant(seed=first, noise=std) for std in comparison.noise_stds),
        *(Variant(seed=first, control=name) for name in comparison.controls),
    )


def _choose_weight(comparison: Comparison, base: list[Trained], trainings: Trainings) -> tuple[float, list[Trained]]:
    """Every weight is tried with the first seed; the largest that holds is run with all, and must hold again."""
    weights = sorted(comparison.weights)
    tried = trainings.get(*(Variant(seed=comparison.seeds[0], weight=weight) for weight in weights))
    lost = {weight: base[0].srocc - run.srocc for weight, run in zip(weights, tried, strict=True)}
    for weight in sorted(lost, reverse=True):
        if not lost[weight] <= comparison.allowed_loss:
            continue
        defended = trainings.get(*(Variant(seed=seed, weight=weight) for seed in comparison.seeds))
        lost[weight] = fmean(plain.srocc - robust.srocc for plain, robust in zip(base, defended, strict=True))
        if lost[weight] <= comparison.allowed_loss:
            return weight, defended
    listed = ", ".join(f"{weight:g}: {loss:.3f}" for weight, loss in lost.items())
    raise WorkFailedError(
        f"no penalty weight keeps the validation SROCC within {comparison.allowed_loss} of the baseline "
        f"(lost at {listed}); try smaller weights."
    )


def _choose_noise(comparison: Comparison, defended: Trained, trainings: Trainings) -> Trained:
    """The noise level whose validation SROCC is closest to the NT model's."""
    tried = trainings.get(*(Variant(seed=comparison.seeds[0], noise=std) for std in comparison.noise_stds))
    return min(tried, key=lambda run: abs(run.srocc - defended.srocc))


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
