"""Blocks that are run again in the backward pass: the same gradients, statistics and draws, and less that is kept."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.core.penalty import Penalty
from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormEstimator,
    NormRegularization,
    Statistics,
)
from robustiqa.models.backbones import Backbone
from robustiqa.models.block_taps import BlockTaps
from robustiqa.published.norm_regularization import NormRegularization as PublishedNormRegularization
from robustiqa.training.gradient_checkpointing import checkpoint_gradients
from tests.toys import ConstantModel, ConvModel
from tests.training.tiny import TinyNet, history_of, tiny_spec, train_tiny_net

SIDE = 32


class Block(nn.Module):
    """Convolution, batch norm, dropout and convolution, added to what comes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            nn.Dropout(0.3),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        moved: Tensor = maps + self.layers(maps)
        return moved


class Tapped(QualityModel):
    """The mean of a trunk's last map, with random weights that do not depend on the global generator."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.trunk = build()
            self.head = nn.LazyLinear(1)
            self.eval()(torch.rand(2, 3, SIDE, SIDE))

    def raw_scores(self, normalized: Tensor) -> Tensor:
        maps = self.trunk(normalized)
        last = maps[-1] if isinstance(maps, list) else maps
        scores: Tensor = 50 + 20 * self.head(last.mean((2, 3)))[:, 0]
        return scores


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "blocks with dropout": lambda: nn.Sequential(nn.Conv2d(3, 8, 4, 4), Block(8), nn.Sequential(Block(8), Block(8))),
    "efficientnet": lambda: Backbone("test_efficientnet"),
    "resnet": lambda: Backbone("test_resnet"),
    "transformer": lambda: BlockTaps("test_vit", (0, 1), SIDE),
    "no rows of blocks": lambda: ConvModel().body,
}
ESTIMATORS: tuple[NormEstimator, ...] = (FiniteDifference(side="random"), CentralDifference(), DoubleBackward())
STATISTICS: tuple[Statistics, ...] = ("own", "clean")
PENALTIES: dict[str, Penalty] = {
    "plain": NormRegularization(weight=0.0),
    "published": PublishedNormRegularization(weight=1e-3),
    **{
        f"{type(estimator).__name__}, {statistics}": NormRegularization(estimator, 1e-3, statistics)
        for estimator, statistics in product(ESTIMATORS, STATISTICS)
    },
    "a part of the batch": NormRegularization(FiniteDifference(), 1e-3, "clean", 0.5),
}


def step(model: nn.Module, penalty_of: Penalty) -> dict[str, Tensor]:
    """Scores, penalty, weight gradients, buffers and the generator's state after a step."""
    model.train()
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(7)
    scores, penalty = penalty_of(model, images)
    torch.autograd.backward(scores.square().mean() / 100 + penalty)
    gradients = {f"gradient of {name}": weight.grad for name, weight in model.named_parameters()}
    found = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    return {
        "scores": scores.detach(),
        "penalty": penalty.detach(),
        **found,
        **{name: value.clone() for name, value in model.named_buffers()},
        "generator": torch.get_rng_state(),
    }


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_checkpointed_step_is_the_plain_one(network: str, penalty: str) -> None:
    plain, checkpointed = Tapped(NETWORKS[network]), Tapped(NETWORKS[network])
    blocks = checkpoint_gradients(checkpointed)
    passes = count_passes(blocks[0])
    expected, found = step(plain, PENALTIES[penalty]), step(checkpointed, PENALTIES[penalty])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    for name, value in found.items():
        if name.endswith("num_batches_tracked"):
            assert value == (3 if penalty == "published" else 1)  # as published
    alone = count_passes(plain.get_submodule(name_of(checkpointed, blocks[0])))
    step(plain, PENALTIES[penalty])
    assert len(passes) > len(alone) > 0


def name_of(model: nn.Module, part: nn.Module) -> str:
    names: dict[int, str] = {id(other): name for name, other in model.named_modules()}
    return names[id(part)]


def count_passes(part: nn.Module) -> list[int]:
    """Grows by one with each pass of the part's first layer."""
    layer = next(other for other in part.modules() if not list(other.children()))
    passes: list[int] = []
    layer.register_forward_pre_hook(lambda *_: passes.append(1))
    return passes


def test_blocks_are_the_innermost_modules_of_several_layers_that_stand_in_a_row() -> None:
    model = Tapped(NETWORKS["blocks with dropout"])
    assert [name_of(model, block) for block in checkpoint_gradients(model)] == ["trunk.1", "trunk.2.0", "trunk.2.1"]
    transformer = Tapped(NETWORKS["transformer"])
    names = [name_of(transformer, block) for block in checkpoint_gradients(transformer)]
    assert names == ["trunk.network.blocks.0", "trunk.network.blocks.1"]
    assert [name_of(model, block) for model in [ConvModel()] for block in checkpoint_gradients(model)] == ["body"]


def test_a_step_keeps_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the blocks hold inside, nothing: what is left is what stands between them."""

    def kept(checkpointed: bool) -> int:
        model = Tapped(lambda: nn.Sequential(nn.Conv2d(3, 8, 4, 4), *(Block(8) for _ in range(6)))).train()
        if checkpointed:
            checkpoint_gradients(model)
        sizes: dict[int, int] = {}

        def note(values: Tensor) -> Tensor:
            sizes[values.untyped_storage().data_ptr()] = values.untyped_storage().nbytes()
            return values

        with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values):
            scores = model(torch.rand(4, 3, SIDE, SIDE))
        del scores
        return sum(sizes.values())

    assert kept(checkpointed=True) < 0.5 * kept(checkpointed=False)


def test_without_gradients_and_after_a_copy_nothing_changes() -> None:
    model = Tapped(NETWORKS["blocks with dropout"])
    images = torch.rand(2, 3, SIDE, SIDE)
    before = model.score(images)
    (first, *_) = checkpoint_gradients(model)
    assert checkpoint_gradients(model)[0] is first  # once is enough
    assert torch.equal(model.score(images), before)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for weight in copied.trunk.parameters():
            weight.zero_()
    assert torch.equal(model.score(images), before)
    leaf = images.clone().requires_grad_()
    assert not torch.equal(copied(leaf), model(leaf))
    assert copied.state_dict().keys() == Tapped(NETWORKS["blocks with dropout"]).state_dict().keys()


def test_a_network_without_blocks_is_refused() -> None:
    message = "ConstantModel has no part of several layers to checkpoint; leave it out."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        checkpoint_gradients(ConstantModel())


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_training_with_it_ends_in_the_same_weights(
    precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"penalty__statistics": "clean", "penalty__fraction": 0.5, "precision": precision}
    spec = tiny_spec(penalty__weight=1e-3, accumulation=2, head_start__epochs=1, **values)

    def run(name: str, **options: Any) -> Path:
        net = lambda: TinyNet(batch_norm=True, dropout=0.5)  # noqa: E731
        return train_tiny_net(monkeypatch, tmp_path / name, spec, net=net, **options)

    plain, checkpointed = run("plain"), run("checkpointed", gradient_checkpointing=True)
    assert checkpointed.read_bytes() == plain.read_bytes()
    assert history_of(checkpointed) == history_of(plain)
