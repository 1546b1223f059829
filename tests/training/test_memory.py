"""A step is counted as it will be, refused where it can't fit, and explained where memory runs out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.core.errors import SpecError, WorkFailedError
from robustiqa.core.memory import PeakMemory
from robustiqa.training import memory
from robustiqa.training.build import build_penalty
from robustiqa.training.gradient_checkpointing import checkpoint_gradients
from robustiqa.training.memory import StepMemory
from tests.training.tiny import SIDE, TinyNet, tiny_spec, train_tiny_net

CPU = torch.device("cpu")
NT: dict[str, Any] = {"penalty__weight": 1e-3}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "finite difference": NT,
    "central difference": {**NT, "penalty__estimator": "central_difference"},
    "double backward": {**NT, "penalty__estimator": "double_backward"},
    "statistics of the clean pass": {**NT, "penalty__statistics": "clean", "penalty__fraction": 0.5},
    "frozen batch norm": {**NT, "batch_norm": "frozen"},
    "in parts": {**NT, "accumulation": 2},
}


def net() -> TinyNet:
    return TinyNet(batch_norm=True, dropout=0.5)


def needed(checkpointed: bool = False, processes: int = 1, **values: Any) -> int:
    model = net()
    if checkpointed:
        checkpoint_gradients(model)
    found = StepMemory(tiny_spec(**values), SIDE, CPU, processes, checkpointed).needed(model)
    assert found is not None
    return found


def held(checkpointed: bool, values: dict[str, Any]) -> int:
    """What a second optimizer step really holds, beside the weights."""
    spec, model = tiny_spec(**values), net()
    if checkpointed:
        checkpoint_gradients(model)
    model.train()
    if spec.batch_norm == "frozen":
        model.backbone[1].eval()
    optimizer, peak = torch.optim.Adam(model.parameters()), PeakMemory()
    with peak:
        for _ in range(2):
            images, mos = torch.rand(4, 3, SIDE, SIDE), torch.rand(4)
            for some, targets in zip(images.chunk(spec.accumulation), mos.chunk(spec.accumulation), strict=True):
                scores, penalty = build_penalty(spec.penalty, 0)(model, some)
                torch.autograd.backward((scores - targets).abs().mean() + penalty)
            del images, mos, some, targets, scores, penalty
            optimizer.step()
            optimizer.zero_grad()
    return peak.peak


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_counted_is_what_a_step_holds(recipe: str, checkpointed: bool) -> None:
    values = RECIPES[recipe]
    assert needed(checkpointed, **values) == pytest.approx(held(checkpointed, values), rel=0.02)


def test_what_spares_memory_is_seen_to() -> None:
    whole = needed(**NT)
    assert needed(checkpointed=True, **NT) < 0.8 * whole
    assert needed(accumulation=2, **NT) < 0.6 * whole
    assert needed(processes=2, **NT) < 0.6 * whole
    assert needed(precision="bf16", **NT) < whole
    assert needed() < needed(**NT)


def test_counting_changes_nothing_of_the_network() -> None:
    model, state = net(), torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    StepMemory(tiny_spec(**NT), SIDE, CPU).needed(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training == net().training


@pytest.mark.parametrize(
    ("values", "options", "ways"),
    [
        ({}, {}, "--gradient-checkpointing, --set accumulation=2 or --set precision=bf16"),
        ({"accumulation": 2, "precision": "bf16"}, {}, "--gradient-checkpointing or --set accumulation=4"),
        ({"accumulation": 4}, {"gradient_checkpointing": True}, "--set precision=bf16"),
    ],
)
def test_a_recipe_whose_step_can_not_fit_is_refused_with_the_ways_left_and_makes_no_folder(
    values: dict[str, Any], options: dict[str, Any], ways: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 1000)
    parts = f" in {values['accumulation']} parts" if values else ""
    message = (
        f"a step of 4 crops of 16x16 pixels{parts} takes about 0.0 GiB, and 0.0 GiB are available; train with {ways}."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        train_tiny_net(monkeypatch, tmp_path / "run", tiny_spec(**values), **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("there", [1000, None])
def test_what_can_not_be_counted_is_not_refused(
    there: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Choosing(TinyNet):
        def raw_scores(self, normalized: Tensor) -> Tensor:
            return super().raw_scores(2 * normalized if normalized.mean().item() > 1e6 else normalized)

    def network() -> TinyNet:
        return Choosing() if there else TinyNet()

    monkeypatch.setattr(memory, "available_memory", lambda device: there)
    assert train_tiny_net(monkeypatch, tmp_path / "run", tiny_spec(epochs=1), net=network).is_file()


class Failing(TinyNet):
    """Raises an error in its third pass."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.passes = error, 0

    def raw_scores(self, normalized: Tensor) -> Tensor:
        self.passes += 1
        if self.passes > 2:
            raise self.error
        return super().raw_scores(normalized)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory."),
            WorkFailedError,
            "the memory of cpu ran out in a step of 4 crops of 16x16 pixels; go on with --gradient-checkpointing or "
            "start anew with --set accumulation=2 or --set precision=bf16.",
        ),
        (RuntimeError("shapes cannot be multiplied"), RuntimeError, "shapes cannot be multiplied"),
    ],
)
def test_memory_that_runs_out_ends_a_run_with_the_ways_left(
    error: Exception, raised: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network: Callable[[], TinyNet] = lambda: Failing(error)  # noqa: E731
    with pytest.raises(raised, match=f"^{re.escape(message)}$"):
        train_tiny_net(monkeypatch, tmp_path / "run", tiny_spec(), net=network)
