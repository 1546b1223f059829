"""A run's first epochs with the trunks held, and the border to the epochs in which everything learns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from robustiqa.core.errors import SpecError
from robustiqa.training.build import HEAD, build_head_optimizer, set_training_mode
from robustiqa.training.checkpoints import save_checkpoint
from robustiqa.training.crops import Crops, DecodedPhotos, EpochBatches
from robustiqa.training.spec import HeadStartSpec, TrainingSpec
from tests.training.tiny import TinyNet, history_of, tiny_photos, tiny_spec, train_tiny_net

BORDER = 4  # steps of a head start of one epoch


def two_phases(**values: Any) -> TrainingSpec:
    """Three epochs of four steps, the first with the backbone held."""
    return tiny_spec(**{"epochs": 3, "head_start__epochs": 1, "head_start__learning_rate": 1e-5, **values})


def net() -> TinyNet:
    return TinyNet(batch_norm=True, dropout=0.5)


def test_the_head_learns_alone_and_then_everything_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = two_phases(head_start__epochs=2, penalty__weight=1e-4)
    train_tiny_net(monkeypatch, tmp_path, spec, net=net, keep_epochs=True)
    states = [net().state_dict(), *(load_file(tmp_path / f"epoch-0{epoch}.safetensors") for epoch in (1, 2, 3))]
    for before, after, held in zip(states, states[1:], (True, True, False), strict=False):
        for name, value in after.items():
            stays = held and name.startswith("backbone.")  # running statistics and their counter included
            assert torch.equal(value, before[name]) == stays, name
    assert states[-1]["backbone.1.num_batches_tracked"] == 4


def test_the_head_starts_with_momentum_and_the_runs_weight_decay() -> None:
    model = net()
    spec = HeadStartSpec(epochs=1, learning_rate=0.2)
    optimizer = build_head_optimizer(model, spec, 0.01)
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.SGD
    assert (group["lr"], group["momentum"], group["weight_decay"], group["part"]) == (0.2, 0.9, 0.01, HEAD)
    assert {id(weight) for weight in group["params"]} == {id(weight) for weight in model.head.parameters()}


def test_held_weights_cost_no_gradients_until_they_learn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []

    class Noting(TinyNet):
        """Notes what could be given a gradient in each training step."""

        def raw_scores(self, normalized: Tensor) -> Tensor:
            if self.training:
                flags = [{weight.requires_grad for weight in part.parameters()} for part in (self.backbone, self.head)]
                seen.append((flags[0] == {True}, flags[1] == {True}))
            return super().raw_scores(normalized)

    train_tiny_net(monkeypatch, tmp_path, two_phases(), net=Noting)
    assert seen == BORDER * [(False, True)] + 2 * BORDER * [(True, True)]


def test_each_phase_begins_with_a_fresh_optimizer_and_schedule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = two_phases(
        epochs=2,
        batch_size=16,  # one step an epoch
        head_start__learning_rate=1e-4,
        optimizer__learning_rate=1e-3,
        optimizer__head_ratio=5.0,
        optimizer__weight_decay=0.01,
    )
    trained = load_file(train_tiny_net(monkeypatch, tmp_path, spec))
    model = TinyNet()
    for name, gradient in gradients(model, spec, 0, tmp_path).items():
        if name.startswith("head."):
            weight = model.get_parameter(name)
            weight.data -= 1e-4 * (gradient + 0.01 * weight.data)  # the first step with momentum has none yet
    for name, gradient in gradients(model, spec, 1, tmp_path).items():
        weight = model.get_parameter(name)
        decayed = gradient + 0.01 * weight.data
        rate = 1e-3 * (5.0 if name.startswith("head.") else 1.0)
        expected = weight.data - rate * decayed / (decayed.abs() + 1e-8)  # Adam's first step
        torch.testing.assert_close(trained[name], expected, rtol=0, atol=2e-6)


def gradients(model: TinyNet, spec: TrainingSpec, epoch: int, folder: Path) -> dict[str, Tensor]:
    """Of the mean absolute error on the one batch of an epoch."""
    model.zero_grad()
    part = tiny_photos().part("train")
    crops = Crops(part, DecodedPhotos(folder / "again"), 16, spec.data, spec.seed)
    (batch,) = EpochBatches(len(part), 1, batch_size=16, seed=spec.seed, epoch=epoch)
    images, mos = zip(*(crops[item] for item in batch), strict=True)
    (model(torch.stack(images)) - torch.tensor(mos)).abs().mean().backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def test_schedule_and_warm_up_are_gone_through_in_each_phase(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {"SGD": [], "Adam": []}
    for kind in (torch.optim.SGD, torch.optim.Adam):

        def noted(self: Any, *arguments: Any, step: Any = kind.step, **options: Any) -> Any:
            seen[type(self).__name__].append(self.param_groups[-1]["lr"])
            return step(self, *arguments, **options)

        monkeypatch.setattr(kind, "step", noted)
    spec = two_phases(head_start__learning_rate=0.5, optimizer__head_ratio=10.0, optimizer__warmup_steps=1)
    train_tiny_net(monkeypatch, tmp_path, spec)

    def rates(first: float, steps: int) -> list[float]:
        factors = [0.5 * (1 + np.cos(np.pi * step / steps)) for step in range(steps)]
        return [first * 0.5 * factors[0], *(first * factor for factor in factors[1:])]

    assert seen["SGD"] == pytest.approx(rates(0.5, BORDER))
    assert seen["Adam"] == pytest.approx(rates(1e-2, 2 * BORDER))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_stopped_after_every_step_gives_the_weights_of_an_undisturbed_one(
    optimizer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = two_phases(head_start__optimizer=optimizer, penalty__weight=1e-3, penalty__start_epoch=1)
    undisturbed = train_tiny_net(monkeypatch, tmp_path / "undisturbed", spec, net=net)
    stops: list[int] = []

    def save_and_stop(accelerator: Any, folder: Path, step: int, progress: dict[str, Any]) -> None:
        save_checkpoint(accelerator, folder, step, progress)
        stops.append(step)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("robustiqa.training.loop.save_checkpoint", save_and_stop)
        for _ in range(3 * BORDER):
            with pytest.raises(KeyboardInterrupt):
                train_tiny_net(monkeypatch, tmp_path / "stopped", spec, net=net, checkpoint_every=1)
    resumed = train_tiny_net(monkeypatch, tmp_path / "stopped", spec, net=net, checkpoint_every=1)
    assert stops == list(range(1, 3 * BORDER + 1))
    assert resumed.read_bytes() == undisturbed.read_bytes()
    assert history_of(resumed) == history_of(undisturbed)


def test_held_parts_run_as_at_test_and_nothing_else_does() -> None:
    class TwoTrunks(TinyNet):
        """Says itself what trains at the backbone's rate."""

        backbone_rate_parts = ("backbone.0.", "backbone.1.", "head.")

    model, spec = TwoTrunks(batch_norm=True), two_phases()
    for trained in (model, nn.DataParallel(model)):  # several processes train one that is wrapped likewise
        for epoch, held in ((0, {"backbone.0", "backbone.1", "head"}), (1, set())):
            set_training_mode(trained, spec, epoch)
            assert {name for name, part in model.named_modules() if not part.training} == held


def test_a_head_start_may_last_the_whole_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained = load_file(train_tiny_net(monkeypatch, tmp_path, two_phases(epochs=1)))
    moved = {name for name, value in TinyNet().state_dict().items() if not torch.equal(value, trained[name])}
    assert moved == {"head.weight", "head.bias"}


@pytest.mark.parametrize("epochs", [4, -1])
def test_a_head_start_beyond_the_run_is_refused_before_a_folder_is_made(
    epochs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    message = f"head_start.epochs must lie within the 3 epochs of the run, got {epochs}; set both to shorten a recipe."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        train_tiny_net(monkeypatch, tmp_path / "run", two_phases(head_start__epochs=epochs))
    with pytest.raises(SpecError, match=r"^head_start\.optimizer must be one of adam, adamw, sgd, got 'sdg'"):
        train_tiny_net(monkeypatch, tmp_path / "run", two_phases(head_start__optimizer="sdg"))
    assert not (tmp_path / "run").exists()
