"""Trainings that two processes share, and the same in one: `train_all(FOLDER)` in each."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormRegularization,
)
from robustiqa.published.norm_regularization import NormRegularization as PublishedNormRegularization
from robustiqa.training import loop
from robustiqa.training.spec import TrainingSpec
from tests.training.tiny import TinyNet, tiny_photos, tiny_spec


def sgd(**values: Any) -> TrainingSpec:
    """Five steps of SGD on 16 crops each."""
    values = {"penalty__weight": 1e-4, "optimizer__name": "sgd", "optimizer__learning_rate": 1e-5, **values}
    return tiny_spec(epochs=5, batch_size=16, **values)


NETWORKS: dict[str, dict[str, Any]] = {"no batch norm": {}, "frozen batch norm": {"batch_norm": "frozen"}}
ESTIMATORS = ("finite_difference", "double_backward")
SPECS = {
    **{
        f"{network}, {estimator}": sgd(penalty__estimator=estimator, **values)
        for network, values in NETWORKS.items()
        for estimator in ESTIMATORS
    },
    "a part of the batch": sgd(penalty__statistics="clean", penalty__fraction=0.25, accumulation=2),
    "every second step": sgd(penalty__every=2, penalty__statistics="clean", penalty__fraction=0.25),
    "the published penalty": sgd(penalty__name="nt-published", batch_norm="frozen"),
    "adam": tiny_spec(penalty__weight=1e-3, accumulation=2),
    "a head start": tiny_spec(
        epochs=4, penalty__weight=1e-3, accumulation=2, head_start__epochs=2, head_start__learning_rate=1e-5
    ),
}
PENALTIES: dict[str, Any] = {
    **{
        f"{type(estimator).__name__}, {statistics}": NormRegularization(estimator, 1e-4, statistics)
        for estimator in (FiniteDifference(), CentralDifference(), DoubleBackward())
        for statistics in ("own", "clean")
    },
    "published": PublishedNormRegularization(weight=1e-4),
}


def tiny_net(spec: TrainingSpec) -> TinyNet:
    """The network of a spec: with batch norm where it is to be frozen."""
    return TinyNet(batch_norm=spec.batch_norm == "frozen")


def train_all(folder: str) -> None:
    """Trains by each spec into a folder of its name, stops one on the way, takes a step of `own_loop` a penalty.

    One is trained once more with gradient checkpointing.
    """
    vars(loop).update(build_model=tiny_net)
    for name, spec in SPECS.items():
        options = loop.RunOptions(device="cpu", checkpoint_every=2, validate_every=9)
        loop.train(spec, tiny_photos(), Path(folder) / name, options)
    options = loop.RunOptions(device="cpu", validate_every=9, gradient_checkpointing=True)
    loop.train(SPECS["adam"], tiny_photos(), Path(folder) / "checkpointed", options)
    with suppress(KeyboardInterrupt):
        options = loop.RunOptions(device="cpu", checkpoint_every=2, validate_every=9, progress=_stop)
        loop.train(SPECS["adam"], tiny_photos(), Path(folder) / "stopped", options)
    rank = torch.distributed.get_rank()
    counts = {}
    for name in PENALTIES:
        net = own_net()
        parallel = DistributedDataParallel(net)
        counted: list[int] = []
        passes: list[int] = []
        parallel.register_comm_hook(counted, lambda counted, bucket: _count_and_average(counted, bucket))
        parallel.register_forward_pre_hook(lambda module, inputs, passes=passes: passes.append(1))
        gradients = own_loop(name, parallel, own_images()[8 * rank : 8 * rank + 8])
        counts[name] = {"passes": len(passes), "reductions": len(counted)}
        if not rank:
            torch.save(gradients, Path(folder) / f"{name}.pt")
    if not rank:
        (Path(folder) / "counts.json").write_text(json.dumps(counts))


def _stop(now: loop.TrainingProgress) -> None:
    raise KeyboardInterrupt


def own_net() -> nn.Module:
    """A network with batch norm that runs as at test."""
    return TinyNet(batch_norm=True).eval()


def own_images() -> Tensor:
    """Crops for two processes, (16, 3, 16, 16)."""
    return torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def own_loop(name: str, model: nn.Module, images: Tensor) -> list[Tensor]:
    """Weight gradients of one step of a loop of one's own."""
    scores, penalty = PENALTIES[name](model, images)
    (scores.square().mean() / 100 + penalty).backward()
    found = [weight.grad for weight in model.parameters()]
    return [gradient for gradient in found if gradient is not None]


def _count_and_average(counted: list[int], bucket: Any) -> torch.futures.Future[Tensor]:
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    counted.append(1)
    everyone = torch.distributed.group.WORLD
    assert everyone is not None
    return allreduce_hook(everyone, bucket)
