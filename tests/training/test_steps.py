from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from robustiqa.core.errors import SpecError, WorkFailedError
from robustiqa.training.crops import Crops, DecodedPhotos, EpochBatches
from robustiqa.training.spec import TrainingSpec
from tests.training.tiny import TinyNet, history_of, tiny_photos, tiny_spec, train_tiny_net


def test_one_adam_step_is_the_textbooks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = tiny_spec(
        epochs=1, batch_size=16, optimizer__learning_rate=1e-3, optimizer__head_ratio=5.0, optimizer__weight_decay=0.01
    )
    trained = load_file(train_tiny_net(monkeypatch, tmp_path, spec))
    before = TinyNet()
    gradients = _first_gradients(before, spec, tmp_path)
    for name, weight in before.named_parameters():
        rate = 1e-3 * (1.0 if name.startswith("backbone.") else 5.0)
        gradient = gradients[name] + 0.01 * weight.detach()
        expected = weight.detach() - rate * gradient / (gradient.abs() + 1e-8)  # Adam's first step
        torch.testing.assert_close(trained[name], expected, rtol=0, atol=1e-6)


def _first_gradients(net: TinyNet, spec: TrainingSpec, folder: Path) -> dict[str, Tensor]:
    """Of the mean absolute error on the first batch."""
    part = tiny_photos().part("train")
    crops = Crops(part, DecodedPhotos(folder / "again"), 16, spec.data, spec.seed)
    (batch,) = EpochBatches(len(part), 1, batch_size=16, seed=spec.seed, epoch=0)
    images, mos = zip(*(crops[item] for item in batch), strict=True)
    (net(torch.stack(images)) - torch.tensor(mos)).abs().mean().backward()
    return {name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("accumulation", [2, 3, 4, 16])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_accumulated_steps_equal_whole_ones(
    accumulation: int, batch_norm: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def trained(parts: int) -> tuple[dict[str, Tensor], list[float]]:
        spec = tiny_spec(batch_size=16, epochs=3, accumulation=parts, penalty__weight=1e-4, batch_norm="frozen")
        weights = train_tiny_net(monkeypatch, tmp_path / str(parts), spec, net=lambda: TinyNet(batch_norm=batch_norm))
        logged = [line[name] for line in history_of(weights)["steps"] for name in ("loss", "penalty")]
        return load_file(weights), logged

    (whole, logged), (in_parts, logged_in_parts) = trained(1), trained(accumulation)
    assert logged_in_parts == pytest.approx(logged, rel=1e-5)
    start = TinyNet(batch_norm=batch_norm).state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(in_parts[name], value, rtol=0, atol=1e-5)
    assert max((whole[name] - start[name]).abs().max().item() for name in whole) > 1e-3


@pytest.mark.parametrize("weight", [0.0, 1e-3])
def test_running_statistics_move_once_a_step_or_not_at_all(
    weight: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def buffers(batch_norm: str) -> dict[str, Tensor]:
        spec = tiny_spec(batch_norm=batch_norm, penalty__weight=weight)
        trained = load_file(
            train_tiny_net(monkeypatch, tmp_path / batch_norm, spec, net=lambda: TinyNet(batch_norm=True))
        )
        return {name: value for name, value in trained.items() if "running" in name or "tracked" in name}

    start = TinyNet(batch_norm=True).state_dict()
    frozen, moving = buffers("frozen"), buffers("train")
    assert moving["backbone.1.num_batches_tracked"] == 2 * 4  # epochs times steps
    assert not torch.equal(moving["backbone.1.running_mean"], start["backbone.1.running_mean"])
    for name, value in frozen.items():
        assert torch.equal(value, start[name]), name


def test_frozen_with_penalty_counts_the_batches_before_the_penalty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = tiny_spec(epochs=3, batch_norm="frozen_with_penalty", penalty__weight=1e-3, penalty__start_epoch=1)
    weights = train_tiny_net(monkeypatch, tmp_path, spec, net=lambda: TinyNet(batch_norm=True))
    assert load_file(weights)["backbone.1.num_batches_tracked"] == 4
    penalties = [line["penalty"] for line in history_of(weights)["steps"]]
    assert penalties[0] == 0
    assert min(penalties[1:]) > 0


def test_the_more_the_penalty_weighs_the_smaller_is_the_gradient(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def norm(weight: float) -> float:
        spec = tiny_spec(epochs=6, optimizer__learning_rate=0.01, penalty__weight=weight)
        net = TinyNet()
        net.load_state_dict(load_file(train_tiny_net(monkeypatch, tmp_path / str(weight), spec)))
        images = torch.stack([photo.read()[:, :16, :16] for photo in tiny_photos().part("validation")])
        (gradient,) = torch.autograd.grad(net(images.requires_grad_()).sum(), images)
        return gradient.abs().flatten(1).sum(1).mean().item()

    plain, light, heavy = norm(0.0), norm(1e-3), norm(1e-2)
    assert heavy < light < plain
    assert heavy < 0.5 * plain


def test_rates_follow_the_schedule_from_one_to_zero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, *arguments: Any, **options: Any) -> Any:
        seen.append((self.param_groups[0]["lr"], self.param_groups[1]["lr"]))
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    spec = tiny_spec(epochs=5, optimizer__head_ratio=10.0, optimizer__warmup_steps=1)
    train_tiny_net(monkeypatch, tmp_path, spec)
    factors = [0.5 * (1 + np.cos(np.pi * place / 20)) for place in range(20)]
    factors[0] *= 0.5
    assert [backbone for backbone, _ in seen] == pytest.approx([1e-3 * factor for factor in factors])
    assert [head for _, head in seen] == pytest.approx([1e-2 * factor for factor in factors])
    assert seen[-1][0] < 0.01 * 1e-3


def test_fp16_is_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^fp16 needs a GPU, got cpu; train with precision bf16 or no\.$"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(precision="fp16"))


def test_two_runs_in_one_process_may_differ_in_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(name: str, precision: str) -> tuple[dict[str, Tensor], list[float]]:
        weights = train_tiny_net(
            monkeypatch, tmp_path / name, tiny_spec(precision=precision, penalty__weight=1e-4), net=TinyNet
        )
        return load_file(weights), [line["loss"] for line in history_of(weights)["steps"]]

    (plain, losses), (half, half_losses), (again, _) = run("a", "no"), run("b", "bf16"), run("c", "no")
    assert all(torch.equal(value, again[name]) for name, value in plain.items())
    assert all(value.dtype == torch.float32 for value in half.values())
    assert half_losses != losses
    assert half_losses == pytest.approx(losses, rel=0.05)


@pytest.mark.parametrize("step", [2, 7])
def test_a_loss_that_is_not_finite_stops_the_run(step: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Exploding(TinyNet):
        """Returns NaN from one training step on."""

        steps = 0

        def raw_scores(self, normalized: Tensor) -> Tensor:
            self.steps += self.training
            return super().raw_scores(normalized) * (torch.nan if self.steps >= step else 1.0)

    seen_at = {2: 4, 7: 8}[step]  # the last step of the epoch, where losses are looked at
    message = (
        f"training stopped at step {seen_at}: the loss is not finite; lower the learning rate or the penalty weight."
    )
    with pytest.raises(WorkFailedError, match=f"^{re.escape(message)}$"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(), net=Exploding)
    assert not (tmp_path / "model.safetensors").exists()
