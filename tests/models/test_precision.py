from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from robustiqa.models.backbones import Backbone
from robustiqa.models.precision import run_in_float32


class Watched(nn.Module):
    """Multiplies by a matrix, which autocast would do in bfloat16, and can be told to fail."""

    fails = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1), 1 / 3))

    def forward(self, values: Tensor) -> Tensor:
        if self.fails:
            raise ValueError("told to")
        return values @ self.weight


@pytest.mark.parametrize(
    ("name", "depthwise"),
    [("mobilenetv2_100", True), ("test_efficientnet", True), ("resnet18", False), ("test_resnet", False)],
)
def test_under_autocast_the_first_maps_are_exact_and_later_ones_are_not(name: str, depthwise: bool) -> None:
    network = Backbone(name, strides=(8, 16)).eval()
    seen: dict[str, Tensor] = {}
    inner = network.network
    for label, part in inner.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda _, __, out, label=label: seen.setdefault(label, out.detach()))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        exact_maps = network(images)
        exact = dict(seen)
        seen.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = network(images)
            assert torch.is_autocast_enabled("cpu")
    first, *_, last = exact
    assert torch.equal(seen[first], exact[first])
    assert seen[first].dtype == torch.float32
    assert seen[last].dtype == torch.bfloat16
    assert torch.equal(maps[0], exact_maps[0]) == depthwise  # of stride 8
    assert maps[-1].dtype in (torch.bfloat16, torch.float32)


def test_a_part_kept_in_float32_leaves_autocast_only_while_it_runs() -> None:
    part = Watched()
    run_in_float32(part)
    values = torch.full((1, 1), 0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(part(values.bfloat16()), values.bfloat16().float() * part.weight)
        assert torch.is_autocast_enabled("cpu")
        assert (values @ part.weight).dtype == torch.bfloat16
    assert torch.equal(part(values), values * part.weight)
    assert not torch.is_autocast_enabled("cpu")


def test_autocast_comes_back_after_an_error() -> None:
    part = Watched()
    run_in_float32(part)
    part.fails = True
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(ValueError, match=r"^told to$"):
            part(torch.ones(1, 1))
        assert torch.is_autocast_enabled("cpu")


def test_a_copy_of_a_part_is_kept_in_float32_too() -> None:
    part = Watched()
    run_in_float32(part)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert copy.deepcopy(part)(torch.ones(1, 1)).dtype == torch.float32
