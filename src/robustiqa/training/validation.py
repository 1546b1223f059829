"""Clean accuracy on the validation part, with the score protocol that the test part will meet."""

from __future__ import annotations

import numpy as np
import torch

from robustiqa.core.dataset import Dataset
from robustiqa.core.model import QualityModel
from robustiqa.metrics.checks import Array
from robustiqa.metrics.correlation import plcc, rmse, srocc
from robustiqa.models.crop_average import CropAverage


def validate(model: QualityModel, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """SROCC, PLCC and RMSE of whole-photo scores against MOS; leaves the model in the mode it came in."""
    scores, mos = photo_scores(model, dataset, device)
    return {"srocc": srocc(scores, mos), "plcc": plcc(scores, mos), "rmse": rmse(scores, mos)}


@torch.no_grad()
def photo_scores(model: QualityModel, dataset: Dataset, device: torch.device) -> tuple[Array, Array]:
    """Whole-photo scores in eval mode and MOS, (n,) each; leaves the model in the mode it came in."""
    training = {part: part.training for part in model.modules()}
    model.eval()
    whole = model if model.crop_size is None else CropAverage(model, small="pad")
    scores = np.array([whole(photo.read()[None].to(device)).item() for photo in dataset])
    mos = np.array([photo.mos for photo in dataset], dtype=float)
    for part, mode in training.items():
        part.training = mode
    return scores, mos
