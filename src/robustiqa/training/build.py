"""From a training spec to the objects a run works with: model, optimizer, penalty, and the resolved spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.core.model import QualityModel
from robustiqa.core.penalty import Penalty
from robustiqa.core.seeds import derive_seed
from robustiqa.defenses import estimators, penalties
from robustiqa.models import create_model
from robustiqa.models.backbones import load_backbone_weights
from robustiqa.models.weights import file_hash
from robustiqa.training.spec import OptimizerSpec, PenaltySpec, TrainingSpec

BACKBONE, HEAD = 0, 1  # the "part" of an optimizer group


def resolve(spec: TrainingSpec, dataset: Dataset) -> dict[str, Any]:
    """The spec as plain values, with what it refers to by name replaced by what was found: data and weights by hash."""
    values = spec.to_dict()
    source = spec.model.backbone_weights
    if source not in ("", "timm"):
        values["model"]["backbone_weights"] = f"sha256:{file_hash(_existing(source))}"
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


def build_model(spec: TrainingSpec) -> QualityModel:
    """The untrained model: seeded head, backbone with the weights that the spec names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(spec.seed, "model"))
        model = create_model(spec.model.name, backbone=spec.model.backbone)
    if spec.model.backbone_weights:
        load_backbone_weights(model, spec.model.backbone_weights)
    placed: QualityModel = model.to(memory_format=torch.channels_last)
    return placed


def build_optimizer(model: nn.Module, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """One Adam for the whole run; its two groups are the parts that train at the backbone's rate, and the rest.

    A model may name those parts by prefix in `backbone_rate_parts`.
    """
    if spec.name not in ("adam", "adamw"):
        raise SpecError(f"the optimizer must be 'adam' or 'adamw', got {spec.name!r}.")
    slow: tuple[str, ...] = getattr(model, "backbone_rate_parts", ("backbone.",))
    backbone = [weight for name, weight in model.named_parameters() if name.startswith(slow)]
    head = [weight for name, weight in model.named_parameters() if not name.startswith(slow)]
    groups = [
        {"params": backbone, "lr": spec.learning_rate, "part": BACKBONE},
        {"params": head, "lr": spec.learning_rate * spec.head_ratio, "part": HEAD},
    ]
    kind = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=spec.weight_decay)


def build_penalty(spec: PenaltySpec, epoch: int) -> Penalty:
    """The penalty that a spec names, as it is in an epoch (from 0); at weight 0 it is a plain forward pass."""
    values = {"h": spec.h, "space": spec.space, "side": spec.side}
    taken = {
        "finite_difference": ("h", "space", "side"),
        "central_difference": ("h", "space"),
        "double_backward": ("space",),
    }
    estimator = estimators.create(spec.estimator, **{name: values[name] for name in taken.get(spec.estimator, ())})
    weight = spec.weight if epoch >= spec.start_epoch else 0.0
    return penalties.create(spec.name, estimator=estimator, weight=weight)


def set_training_mode(model: nn.Module, spec: TrainingSpec, epoch: int) -> None:
    """Training mode for an epoch (from 0), with batch norm as `spec.batch_norm` has it then."""
    model.train()
    late = spec.batch_norm == "frozen_with_penalty" and epoch >= spec.penalty.start_epoch
    if late or spec.batch_norm == "frozen":
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
