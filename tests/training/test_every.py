"""A penalty on one step in so many: which steps have it, with what weight, and that stops do not move them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from robustiqa.defenses.norm_regularization import NormRegularization
from robustiqa.training.build import build_optimizer, build_penalty
from robustiqa.training.checkpoints import save_checkpoint
from robustiqa.training.crops import Crops, DecodedPhotos, EpochBatches
from robustiqa.training.spec import PenaltySpec, TrainingSpec
from tests.toys import LinearModel
from tests.training.tiny import SIDE, TinyNet, history_of, tiny_photos, tiny_spec, train_tiny_net

STEPS = 4  # an epoch of `tiny_spec`


def test_steps_between_are_plain_and_the_others_weigh_as_much_more() -> None:
    spec = PenaltySpec(weight=0.5, every=3, start_epoch=1)
    weights = [vars(build_penalty(spec, step // STEPS, step))["weight"] for step in range(3 * STEPS)]
    assert weights == [0, 0, 0, 0, 0, 0, 1.5, 0, 0, 1.5, 0, 0]


def linear_net() -> LinearModel:
    model = LinearModel.random(SIDE)
    model.crop_size = SIDE
    return model


@pytest.mark.parametrize(("every", "penalized"), [(1, [4, 4]), (2, [2, 2]), (3, [2, 1]), (5, [1, 1]), (9, [1, 0])])
def test_the_logged_penalty_of_a_linear_network_is_the_share_of_its_steps(
    every: int, penalized: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {"optimizer__name": "sgd", "optimizer__learning_rate": 0.0}
    spec = tiny_spec(penalty__weight=1e-3, penalty__every=every, **values)
    weights = train_tiny_net(monkeypatch, tmp_path, spec, net=linear_net)
    norm = linear_net().slopes.detach().abs().sum().item()
    expected = [1e-3 * every * norm**2 * steps / STEPS for steps in penalized]
    assert [line["penalty"] for line in history_of(weights)["steps"]] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_steps_are_those_of_a_loop_written_out(
    accumulation: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"optimizer__name": "sgd", "optimizer__learning_rate": 1e-3, "penalty__weight": 1e-3}
    spec = tiny_spec(epochs=1, penalty__every=2, accumulation=accumulation, **values)
    trained = load_file(train_tiny_net(monkeypatch, tmp_path / "run", spec))
    expected = by_hand(spec, tmp_path, [2e-3, 0.0, 2e-3, 0.0])
    shifted = by_hand(spec, tmp_path, [0.0, 2e-3, 0.0, 2e-3])
    for name, value in expected.items():
        torch.testing.assert_close(trained[name], value, rtol=0, atol=1e-5)
    assert max((shifted[name] - value).abs().max().item() for name, value in expected.items()) > 1e-3


def by_hand(spec: TrainingSpec, folder: Path, weights: list[float]) -> dict[str, Tensor]:
    """The weights after an epoch of plain SGD, one step a penalty weight."""
    net, part = TinyNet().train(), tiny_photos().part("train")
    optimizer = build_optimizer(net, spec.optimizer)
    crops = Crops(part, DecodedPhotos(folder / "again"), SIDE, spec.data, spec.seed)
    batches = EpochBatches(len(part), 1, batch_size=spec.batch_size, seed=spec.seed, epoch=0)
    for step, (batch, weight) in enumerate(zip(batches, weights, strict=True)):
        for group in optimizer.param_groups:
            group["lr"] = spec.optimizer.learning_rate * 0.5 * (1 + np.cos(np.pi * step / len(weights)))
        images, mos = zip(*(crops[item] for item in batch), strict=True)
        scores, penalty = NormRegularization(weight=weight)(net, torch.stack(images))
        optimizer.zero_grad()
        torch.autograd.backward((scores - torch.tensor(mos)).abs().mean() + penalty)
        optimizer.step()
    return {name: weight.detach() for name, weight in net.named_parameters()}


def test_a_run_stopped_between_penalized_steps_gives_the_weights_of_an_undisturbed_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"penalty__statistics": "clean", "penalty__fraction": 0.5, "penalty__side": "random"}
    spec = tiny_spec(penalty__weight=1e-3, penalty__every=3, accumulation=2, **values)

    def net() -> TinyNet:
        return TinyNet(batch_norm=True, dropout=0.5)

    undisturbed = train_tiny_net(monkeypatch, tmp_path / "undisturbed", spec, net=net)

    def save_and_stop(accelerator: Any, folder: Path, step: int, progress: dict[str, Any]) -> None:
        save_checkpoint(accelerator, folder, step, progress)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("robustiqa.training.loop.save_checkpoint", save_and_stop)
        for _ in range(2 * STEPS):
            with pytest.raises(KeyboardInterrupt):
                train_tiny_net(monkeypatch, tmp_path / "stopped", spec, net=net, checkpoint_every=1)
    resumed = train_tiny_net(monkeypatch, tmp_path / "stopped", spec, net=net, checkpoint_every=1)
    assert resumed.read_bytes() == undisturbed.read_bytes()
    assert history_of(resumed) == history_of(undisturbed)
