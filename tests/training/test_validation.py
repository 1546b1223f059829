from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.models.crop_average import CropAverage
from robustiqa.training.validation import validate
from tests.photos import Scene
from tests.training.tiny import TinyNet, tiny_photos


def test_validation_leaves_every_part_in_the_mode_it_came_in() -> None:
    net = TinyNet(batch_norm=True, dropout=0.5).train()
    net.backbone[1].eval()
    modes = [part.training for part in net.modules()]
    dataset = tiny_photos().part("validation")
    found = validate(net, dataset, torch.device("cpu"))
    assert [part.training for part in net.modules()] == modes
    assert validate(net, dataset, torch.device("cpu")) == found  # no dropout, no batch statistics


def test_validation_measures_whole_photo_scores_and_pads_photos_smaller_than_the_crop() -> None:
    sides = [(12, 30), (20, 14), (16, 16), (40, 33), (10, 10)]
    photos = tuple(Photo(f"{place}.png", Scene(place, *side, 0.1), 9.0 * place) for place, side in enumerate(sides))
    net = TinyNet().eval()
    scores = [CropAverage(net, small="pad")(photo.read()[None]).item() for photo in photos]
    mos = [9.0 * place for place in range(5)]
    found = validate(net, Dataset("small", photos), torch.device("cpu"))
    assert found == {
        "srocc": pytest.approx(stats.spearmanr(scores, mos)[0]),
        "plcc": pytest.approx(stats.pearsonr(scores, mos)[0]),
        "rmse": pytest.approx(np.sqrt(np.mean(np.square(np.subtract(scores, mos))))),
    }
