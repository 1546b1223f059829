from __future__ import annotations

from pathlib import Path

import torch

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.training.validation import validate
from tests.photos import Scene
from tests.training.tiny import TinyNet, tiny_photos

FEW_CORES = "ignore:This DataLoader will create 2 worker processes:UserWarning"
THREADED_FORK = "ignore:This process .* is multi-threaded:DeprecationWarning"


def test_validation_leaves_every_part_in_the_mode_it_came_in(tmp_path: Path) -> None:

    net = TinyNet(batch_norm=True, dropout=0.5).train()
    net.backbone[1].eval()
    modes = [part.training for part in net.modules()]
    dataset = tiny_photos().part("validation")
    found = validate(net, dataset, torch.device("cpu"))
    assert [part.training for part in net.modules()] == modes
    assert validate(net, dataset, torch.device("cpu")) == found  # no dropout, no batch statistics


def test_validation_pads_photos_smaller_than_the_crop() -> None:

    photos = tuple(Photo(f"{place}.png", Scene(place, 12, 10 + place, 0.1), 10.0 * place) for place in range(3))
    assert set(validate(TinyNet(), Dataset("small", photos), torch.device("cpu"))) == {"srocc", "plcc", "rmse"}
