"""FACPA and its network: shapes, bounds, sizes, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from robustiqa.attacks import create_attack
from robustiqa.attacks.unet import UNet
from robustiqa.core.errors import InputError, WeightsError
from robustiqa.core.tensor_files import read_tensors, write_tensors
from tests.learned import LearnedState
from tests.toys import ConvModel, toy_photos


def small(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    return UNet(levels=3, width=4).eval()


def test_the_published_network_has_its_widths_and_54_million_weights() -> None:
    with torch.device("meta"):
        network = UNet()
    assert [conv.out_channels for conv in network.down] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [conv.in_channels for conv in network.up] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert [conv.out_channels for conv in network.up] == [512, 512, 512, 512, 256, 128, 64, 3]
    assert network.multiple == 256
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e6, 1) == 54.4


def by_recursion(network: UNet, images: Tensor, level: int = 0) -> Tensor:
    """What a level makes of what it is given: each holds the next one, as pix2pix writes it."""
    last = len(network.down) - 1
    down = network.down[level](F.leaky_relu(images, 0.2) if level else images)
    if 0 < level < last:
        down = F.instance_norm(down)
    inner = down if level == last else torch.cat([by_recursion(network, down, level + 1), down], 1)
    up: Tensor = network.up[last - level](F.relu(inner))
    return F.instance_norm(up) if level else up.tanh()


def test_levels_see_what_the_way_down_saw_as_in_the_recursive_form() -> None:
    network, photos = small(), toy_photos(2)
    torch.testing.assert_close(network(photos), by_recursion(network, photos))


def test_the_output_lies_within_one_and_has_the_shape_of_the_images() -> None:
    photos = toy_photos(2)[..., :16]
    change = small()(photos)
    assert change.shape == photos.shape
    assert change.abs().max() < 1
    assert change.std() > 1e-3


def test_dropout_acts_in_training_only() -> None:
    network, photos = small(), toy_photos(1)
    assert torch.equal(network(photos), network(photos))
    network.train()
    assert not torch.equal(network(photos), network(photos))


@pytest.mark.parametrize("size", [(24, 24), (17, 30), (5, 24), (9, 3), (8, 8)])
def test_images_are_cut_or_tiled_to_multiples_and_the_change_is_tiled_back(size: tuple[int, int]) -> None:
    network = small()
    image = toy_photos(1, 30)[..., : size[0], : size[1]]
    inside = [max(side // 8 * 8, 8) for side in size]
    pixels = image[0].numpy()
    seen = np.stack([[pixels[:, r % size[0], c % size[1]] for c in range(inside[1])] for r in range(inside[0])])
    with torch.no_grad():
        made = network(torch.from_numpy(seen.transpose(2, 0, 1))[None])[0].numpy()
        change = network.change(image)[0].numpy()
    for row in range(size[0]):
        for column in range(size[1]):
            expected = made[:, row % inside[0], column % inside[1]]
            np.testing.assert_allclose(change[:, row, column], expected, atol=1e-6)


@pytest.mark.parametrize(("levels", "width"), [(1, 4), (3, 0), (0, 4)])
def test_a_network_too_small_is_refused(levels: int, width: int) -> None:
    with pytest.raises(InputError, match="must be"):
        UNet(levels, width)


def test_the_change_is_eps_times_the_output_of_the_directions_network(learned: LearnedState) -> None:
    model, photos = ConvModel(1).eval(), toy_photos(3)
    attack = learned(create_attack("facpa", eps="6/255"), model)
    file = Path(str(getattr(attack, "weights")))  # noqa: B009
    state = read_tensors(file).tensors
    for objective in ("lower", "raise"):
        own = {name.removeprefix(f"{objective}."): v for name, v in state.items() if name.startswith(objective)}
        network = UNet(3, 4).eval()
        network.load_state_dict(own)
        directed = create_attack("facpa", eps="6/255", weights=file, objective=objective)
        result = directed(model, photos)
        with torch.no_grad():
            expected = photos + 6 / 255 * network(photos)
        torch.testing.assert_close(result.images, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lost", ["raise.down.0.weight", "raise.up.1.bias", "raise.up.2.weight"])
def test_a_part_of_a_network_is_refused(learned: LearnedState, tmp_path: Path, lost: str) -> None:
    model = ConvModel(1).eval()
    whole = read_tensors(Path(str(getattr(learned(create_attack("facpa"), model), "weights"))))  # noqa: B009
    path = tmp_path / "part.safetensors"
    write_tensors(path, {name: value for name, value in whole.tensors.items() if name != lost}, whole.metadata)
    with pytest.raises(WeightsError) as caught:
        create_attack("facpa", weights=path, objective="raise")(model, toy_photos(1))
    assert str(caught.value) == f"{path} does not hold a whole generator to raise scores; fit it again."
