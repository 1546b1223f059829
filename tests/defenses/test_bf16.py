"""The norm estimate in bfloat16, on the trained NT model that ships: head, scores and their difference are float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustiqa import FiniteDifference, create_dataset, create_model
from robustiqa.core.model import QualityModel

PHOTOS = 50
LARGEST = 0.05  # standard deviation and mean of the error, over the mean float32 estimate


@pytest.fixture(scope="module")
def crops() -> Tensor:
    pictures = create_dataset("builtin").part("test").photos[:PHOTOS]
    assert len(pictures) == PHOTOS
    return torch.stack([photo.read()[:, :224, :224] for photo in pictures])


@pytest.fixture(scope="module")
def model() -> QualityModel:
    return create_model("hyperiqa", weights="demo-nt")


@pytest.mark.parametrize("space", ["input", pytest.param("pixel", marks=pytest.mark.slow)])
def test_the_bf16_estimate_is_within_a_twentieth_of_the_float32_one(
    model: QualityModel, crops: Tensor, space: str
) -> None:
    estimator = FiniteDifference(h=0.01, space=space)  # type: ignore[arg-type]
    exact, rough = [], []
    for some in torch.split(crops, 10):
        exact.append(estimator(model, some)[1].detach())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores, norms = estimator(model, some)
        assert (scores.dtype, norms.dtype) == (torch.float32, torch.float32)
        rough.append(norms.detach())
    reference = torch.cat(exact)
    error = (torch.cat(rough) - reference) / reference.mean()
    assert error.std() > 0  # it was bfloat16
    assert error.std() < LARGEST
    assert abs(error.mean()) < LARGEST
