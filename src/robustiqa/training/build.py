"""From a training spec to the objects a run works with: model, optimizer, penalty, and the resolved spec."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.core.model import QualityModel
from robustiqa.core.penalty import Penalty
from robustiqa.core.registry import did_you_mean
from robustiqa.core.seeds import derive_seed
from robustiqa.defenses import estimators, penalties
from robustiqa.models import create_model
from robustiqa.models.backbones import load_backbone_weights
from robustiqa.models.dbcnn import load_scnn_weights
from robustiqa.models.weights import file_hash
from robustiqa.training.losses import SCALE_FREE, Loss, find_loss
from robustiqa.training.norm_in_norm import NormInNorm
from robustiqa.training.spec import HeadStartSpec, OptimizerSpec, PenaltySpec, TrainingSpec

BACKBONE, HEAD = 0, 1  # the "part" of an optimizer group
OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


def resolve(spec: TrainingSpec, dataset: Dataset) -> dict[str, Any]:
    """The spec as plain values, with what it refers to by name replaced by what was found: data and weights by hash."""
    values = spec.to_dict()
    source = spec.model.backbone_weights
    if source not in ("", "timm"):
        values["model"]["backbone_weights"] = f"sha256:{file_hash(_existing(source))}"
    if spec.model.scnn_weights:
        values["model"]["scnn_weights"] = f"sha256:{file_hash(_existing_scnn(spec.model.scnn_weights))}"
    values["dataset"] = {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint(),
        "split": dataset.split_fingerprint(),
    }
    return values


def _existing(source: str) -> Path:
    path = Path(source)
    if not path.is_file():
        raise SpecError(f"there is no backbone weights file {path}; give a file, or 'timm' to fetch weights by name.")
    return path


def _existing_scnn(source: str) -> Path:
    path = Path(source)
    if not path.is_file():
        raise SpecError(
            f"there is no S-CNN weights file {path}; set model.scnn_weights to scnn.pkl of DBCNN's authors."
        )
    return path


def build_model(spec: TrainingSpec) -> QualityModel:
    """The untrained model: seeded head, backbone and S-CNN with the weights that the spec names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(spec.seed, "model"))
        model = create_model(spec.model.name, **spec.model.options)
    if spec.model.backbone_weights:
        load_backbone_weights(model, spec.model.backbone_weights)
    if spec.model.scnn_weights:
        load_scnn_weights(model, spec.model.scnn_weights)
    placed: QualityModel = model.to(memory_format=torch.channels_last)
    return placed


def build_optimizer(model: nn.Module, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """The optimizer of all weights; its two groups are the parts that train at the backbone's rate, and the rest."""
    backbone, head = split_weights(model)
    groups = [
        {"params": backbone, "lr": spec.learning_rate, "part": BACKBONE},
        {"params": head, "lr": spec.learning_rate * spec.head_ratio, "part": HEAD},
    ]
    return _optimizer(spec.name, "optimizer.name", groups, spec.weight_decay)


def build_head_optimizer(model: nn.Module, spec: HeadStartSpec, weight_decay: float) -> torch.optim.Optimizer:
    """The optimizer of a head start: only of what does not train at the backbone's rate."""
    _, head = split_weights(model)
    groups = [{"params": head, "lr": spec.learning_rate, "part": HEAD}]
    return _optimizer(spec.optimizer, "head_start.optimizer", groups, weight_decay)


def _optimizer(name: str, where: str, groups: list[dict[str, Any]], weight_decay: float) -> torch.optim.Optimizer:
    if name not in OPTIMIZERS:
        hint = did_you_mean(name, list(OPTIMIZERS))
        raise SpecError(f"{where} must be one of {', '.join(OPTIMIZERS)}, got {name!r}{hint}")
    optimizer: torch.optim.Optimizer = OPTIMIZERS[name](groups, weight_decay=weight_decay)
    return optimizer


def split_weights(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Weights of the parts that train at the backbone's rate, and the others."""
    parts, named = _backbone_parts(model), list(model.named_parameters())
    backbone = [weight for name, weight in named if name.startswith(parts)]
    return backbone, [weight for name, weight in named if not name.startswith(parts)]


def _backbone_parts(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of those parts; a model may name them in `backbone_rate_parts`."""
    parts: tuple[str, ...] = getattr(model, "backbone_rate_parts", ("backbone.",))
    return parts


def build_penalty(spec: PenaltySpec, epoch: int, step: int = 0) -> Penalty:
    """The penalty that a spec names, as it is in a step of the run; at weight 0 it is a plain forward pass.

    Args:
        spec: Its fields.
        epoch: From 0.
        step: From 0, of the whole run. Which steps have a penalty follows from it alone, so a run that was stopped goes
            on as if it had not been, and all processes agree.
    """
    values = {"h": spec.h, "space": spec.space, "side": spec.side}
    taken = {
        "finite_difference": ("h", "space", "side"),
        "central_difference": ("h", "space"),
        "double_backward": ("space",),
    }
    estimator = estimators.create(spec.estimator, **{name: values[name] for name in taken.get(spec.estimator, ())})
    due = epoch >= spec.start_epoch and step % spec.every == 0
    weight = spec.every * spec.weight if due else 0.0
    later = {"statistics": spec.statistics, "fraction": spec.fraction}
    asked = {name: value for name, value in later.items() if value != getattr(PenaltySpec(), name)}
    return penalties.create(spec.name, estimator=estimator, weight=weight, **asked)


def build_loss(spec: TrainingSpec) -> Loss:
    """The loss that a spec names, with its options.

    Raises:
        SpecError: if there is none, or the spec's penalty or parts of a batch do not go with it.
    """
    if spec.loss not in SCALE_FREE:
        return find_loss(spec.loss)
    if spec.penalty.weight > 0 and spec.penalty.name == "nt":
        raise SpecError(
            f"loss {spec.loss!r} knows no scale, so that penalty 'nt' is met by shrinking the scores; "
            "take penalty.name 'nt-standardized', or 'nt-published' to see that happen."
        )
    if spec.batch_size // spec.accumulation < 3:  # two normalized scores are what they are, without a gradient
        raise SpecError(
            f"loss {spec.loss!r} compares photographs with one another; expected parts of 3 or more, got a batch_size "
            f"of {spec.batch_size} in {spec.accumulation} parts."
        )
    options = spec.norm_in_norm
    return NormInNorm(p=options.p, q=options.q, variant=options.variant)


def crop_side(model: QualityModel, spec: TrainingSpec) -> int:
    """Side of the training crops: the network's, or the spec's for one that takes any size.

    Raises:
        SpecError: if neither has one, or both have and differ.
    """
    asked = spec.data.crop_size
    if model.crop_size is None and asked < 1:
        raise SpecError(
            f"{spec.model.name} takes photographs of any size; set data.crop_size, such as 224, to train it."
        )
    if model.crop_size is not None and asked not in (0, model.crop_size):
        raise SpecError(f"{spec.model.name} takes crops of {model.crop_size}, data.crop_size is {asked}; leave it out.")
    return model.crop_size or asked


def set_training_mode(model: nn.Module, spec: TrainingSpec, epoch: int) -> None:
    """Training mode for an epoch (from 0), with batch norm as `spec.batch_norm` has it; held parts run as at test."""
    model.train()
    late = spec.batch_norm == "frozen_with_penalty" and epoch >= spec.penalty.start_epoch
    if late or spec.batch_norm == "frozen":
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
    if epoch < spec.head_start.epochs:
        inner = getattr(model, "module", model)  # DistributedDataParallel keeps the model there
        for name, part in inner.named_modules():
            if f"{name}.".startswith(_backbone_parts(inner)):
                part.eval()
