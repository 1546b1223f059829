"""Training specs: what a run is, read from a TOML recipe, overridden by name, and identified by a hash."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean

T = TypeVar("T")
COUNTS = ("epochs", "batch_size", "accumulation")
LATER = {"later": True}  # of fields that came when runs existed: left out of files at their default, so hashes hold
CHOICES = {"batch_norm": ("train", "frozen", "frozen_with_penalty"), "precision": ("no", "bf16", "fp16")}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network, and where its backbone's weights come from.

    Attributes:
        name: Registry name.
        backbone: timm name.
        backbone_weights: `timm` (fetched by name), a file, or empty for random weights.
        scnn_weights: File of DBCNN's other trunk, the S-CNN, or empty for random weights.
        grid: Side of MANIQA's token grid; 0 for what goes with the backbone.
    """

    name: str = "hyperiqa"
    backbone: str = "resnet50.tv_in1k"
    backbone_weights: str = "timm"
    scnn_weights: str = field(default="", metadata=LATER)
    grid: int = field(default=0, metadata=LATER)

    @property
    def options(self) -> dict[str, Any]:
        """What the network is built with."""
        return {"backbone": self.backbone, **({"grid": self.grid} if self.grid else {})}


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a training item is.

    Attributes:
        crops_per_photo: Random crops of each photo an epoch.
        flip: Whether half of them are mirrored.
        noise_std: Gaussian noise is added to pixels, of a standard deviation drawn for each crop between 0 and this, in
            [0, 1] units (the *noise* control). With one level for all, a model meets no clean picture to learn from.
        crop_size: Side of the crops, for networks that take any size; 0 for the side that the network takes.
        part: Part of the split to train on.
        validation: Part to watch.
    """

    crops_per_photo: int = 1
    flip: bool = True
    noise_std: float = 0.0
    crop_size: int = field(default=0, metadata=LATER)
    part: str = "train"
    validation: str = "validation"


@dataclass(frozen=True, kw_only=True)
class PenaltySpec:
    """Norm regularization; weight 0 trains the baseline.

    Attributes:
        name: Registry name of the penalty.
        weight: lambda.
        estimator: Registry name of the norm estimator.
        h: Its step, where it takes one.
        space: What h is measured in: `input` (normalized) or `pixel`.
        side: Which side a `finite_difference` steps to: `up` (the paper) or `random`.
        start_epoch: Epochs of plain training before the penalty begins.
        statistics: What batch norm in training mode uses in the penalty's passes: each pass's `own`, or those of the
            loss's `clean` pass (not `nt-published`).
        fraction: Part of each batch that the norm is measured on (with `clean` only).
        every: The penalty is measured on one step in so many, the run's first and every `every`-th after it, with
            `every` times the weight; the steps between are plain.
    """

    name: str = "nt"
    weight: float = 0.0
    estimator: str = "finite_difference"
    h: float = 0.01
    space: str = "input"
    side: str = "up"
    start_epoch: int = 0
    statistics: str = field(default="own", metadata=LATER)
    fraction: float = field(default=1.0, metadata=LATER)
    every: int = field(default=1, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """The optimizer of everything, Adam as a rule, and its schedule.

    Attributes:
        learning_rate: Of the backbone.
        head_ratio: The head's learning rate over the backbone's.
        weight_decay: L2 in the gradient, as the published code has it; `adamw` decouples it. Of a head start, too.
        name: `adam`, `adamw` or `sgd` (momentum .9).
        schedule: `cosine` (ends at zero) or `hyperiqa` (the steps its authors intended for the head).
        warmup_steps: Linear warm-up.
    """

    learning_rate: float = 2e-5
    head_ratio: float = 10.0
    weight_decay: float = 5e-4
    name: str = "adam"
    schedule: str = "cosine"
    warmup_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class HeadStartSpec:
    """Epochs at the start in which only the head learns: what does not train at the backbone's rate.

    All else is held and runs as at test. Then everything learns, with the run's optimizer; the schedule and warm-up are
    gone through in each of the two phases.

    Attributes:
        epochs: How many of the run's epochs; 0 for none.
        learning_rate: Of the head in them.
        optimizer: `sgd` (momentum .9), `adam` or `adamw`.
    """

    epochs: int = 0
    learning_rate: float = 1e-3
    optimizer: str = "sgd"


@dataclass(frozen=True, kw_only=True)
class NormInNormSpec:
    """What the loss of that name takes; see `NormInNorm`.

    Attributes:
        p: Of the norm that compares.
        q: Of the norm that normalizes.
        variant: Weight of its variant.
    """

    p: float = 1.0
    q: float = 2.0
    variant: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """One training run, whole. Two runs of equal specs on equal data give equal weights at equal thread counts.

    Attributes:
        epochs: How many; the last one is the result.
        batch_size: Items an optimizer step, over all processes.
        accumulation: Parts that a step's items are run in, to save memory.
        loss: `l1`, `mse` or `huber`, on the 0..100 scale, or `norm-in-norm`, which knows none: it takes a batch of 3
            or more, and weights are then saved with the slope and offset that fit the training photographs.
        norm_in_norm: Its options.
        head_weights: Of the losses of the network's heads, the score's first; a network with one head has one loss.
        batch_norm: `train` (batch statistics), `frozen` (those of the loaded weights), or `frozen_with_penalty`
            (`train` until the penalty begins, then frozen as they are). With batch statistics, what a perturbation
            does to all images alike is normalized away in the perturbed pass, and the penalty does not see it;
            `penalty.statistics` is the other remedy.
        precision: `no` (float32), `bf16` or `fp16`.
        seed: Of initial head weights, order, crops, flips, noise and dropout.
    """

    model: ModelSpec = field(default_factory=ModelSpec)
    data: DataSpec = field(default_factory=DataSpec)
    penalty: PenaltySpec = field(default_factory=PenaltySpec)
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    head_start: HeadStartSpec = field(default_factory=HeadStartSpec, metadata=LATER)
    epochs: int = 16
    batch_size: int = 16
    accumulation: int = 1
    loss: str = "l1"
    norm_in_norm: NormInNormSpec = field(default_factory=NormInNormSpec, metadata=LATER)
    head_weights: tuple[float, ...] = field(default=(1.0, 0.1, 0.1), metadata=LATER)  # Li et al. 2020, published code
    batch_norm: str = "train"
    precision: str = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in COUNTS}
        parts = {"data.crops_per_photo": self.data.crops_per_photo, "penalty.every": self.penalty.every}
        for name, count in {**counts, **parts}.items():
            if count < 1:
                raise SpecError(f"{name} must be at least 1, got {count}.")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise SpecError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")

    def with_values(self, values: Mapping[str, Any]) -> TrainingSpec:
        """The spec with dotted overrides such as `{"penalty.weight": 1e-3, "seed": 1}` applied.

        Raises:
            SpecError: naming the first field that does not exist, or has a value of another type.
        """
        spec = self
        for path, value in values.items():
            spec = _with_value(spec, path.split("."), value, path)
        return spec

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, for files; what came later is left out where it has its default."""
        return _plain(self)


def _plain(spec: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for f in fields(spec):
        value = getattr(spec, f.name)
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if not f.metadata.get("later") or value != default:
            values[f.name] = _plain(value) if is_dataclass(value) else value
    return values


def _with_value(spec: T, path: list[str], value: Any, whole: str) -> T:
    assert is_dataclass(spec) and not isinstance(spec, type)
    name, *deeper = path
    known = [f.name for f in fields(spec)]
    if name not in known:
        raise SpecError(f"a training spec has no {whole!r}{did_you_mean(name, known)} Known: {', '.join(known)}.")
    old = getattr(spec, name)
    if is_dataclass(old) != bool(deeper):
        raise SpecError(f"{whole} does not name a single value of a training spec, such as penalty.weight or seed.")
    return replace(
        spec, **{name: _with_value(old, deeper, value, whole) if deeper else _typed(value, type(old), whole)}
    )


def _typed(value: Any, wanted: Any, where: str) -> Any:
    if get_origin(wanted) is tuple or wanted is tuple:  # of numbers, the only tuples in a spec
        if not isinstance(value, list | tuple):
            raise SpecError(f"{where} must be a list of numbers, got {value!r}.")
        return tuple(_typed(number, float, where) for number in value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        raise SpecError(f"{where} must be {wanted.__name__}, got {value!r}.")
    return value


def spec_from_dict(values: Mapping[str, Any]) -> TrainingSpec:
    """The spec that nested plain values stand for; what is left out keeps its default.

    Raises:
        SpecError: naming the first unknown field or wrong type.
    """
    return _from_dict(TrainingSpec, values, "")


def _from_dict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    hints = get_type_hints(kind)
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise SpecError(f"a training spec has no {where + name!r}{did_you_mean(name, list(hints))}")
        if is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise SpecError(f"{where + name} must be a table, got {value!r}.")
            made[name] = _from_dict(hints[name], value, f"{where}{name}.")
        else:
            made[name] = _typed(value, hints[name], where + name)
    return kind(**made)


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("robustiqa.training") / "recipes"
    return sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))


def load_recipe(recipe: str | Path) -> TrainingSpec:
    """Reads a recipe by name, or a TOML file.

    Raises:
        SpecError: if there is no such recipe, or it holds unknown fields.
    """
    if Path(recipe).suffix == ".toml":
        path = Path(recipe)
        if not path.is_file():
            raise SpecError(f"there is no recipe file {path}.")
        text = path.read_text(encoding="utf-8")
    else:
        if str(recipe) not in recipe_names():
            hint = did_you_mean(str(recipe), recipe_names())
            raise SpecError(f"unknown recipe {str(recipe)!r}{hint} Known: {', '.join(recipe_names())}.")
        text = (resources.files("robustiqa.training") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
    try:
        return spec_from_dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"recipe {recipe} is not valid TOML: {error}.") from None
