from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.calibration import Affine
from robustiqa.core.errors import InputError, WeightsError
from robustiqa.models import create_model
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.linearityiqa import LinearityIQA

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def model() -> LinearityIQA:
    """With batch-norm statistics that are not 0 and 1."""
    torch.manual_seed(1)
    model = LinearityIQA(backbone="resnet18").eval()
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.bias, -0.1, 0.1)
    return model


def array(values: Tensor) -> Array:
    return values.detach().double().numpy()


def linear(layer: nn.Module, vector: Array) -> Array:
    result: Array = array(layer.get_parameter("weight")) @ vector + array(layer.get_parameter("bias"))
    return result


def batch_norm(layer: nn.Module, vector: Array) -> Array:
    mean, variance = array(layer.get_buffer("running_mean")), array(layer.get_buffer("running_var"))
    weight, bias = array(layer.get_parameter("weight")), array(layer.get_parameter("bias"))
    result: Array = (vector - mean) / np.sqrt(variance + 1e-5) * weight + bias
    return result


def reduced(layers: nn.Module, features: Array) -> Array:
    """One stage's map (C, rows, columns) as 64 numbers, step by step."""
    vector: Array = np.array([channel.sum() / channel.size for channel in features])
    for place in (0, 2, 4):
        vector = batch_norm(layers.get_submodule(str(place + 1)), linear(layers.get_submodule(str(place)), vector))
    return np.maximum(vector, 0)


def test_scores_are_those_of_the_papers_heads_on_averages_of_the_last_two_stages(model: LinearityIQA) -> None:
    images = torch.rand(3, 3, 96, 72)
    with torch.no_grad():
        scores = model(images)
        normalized = (images - model.input_mean[:, None, None]) / model.input_std[:, None, None]
        stages = model.backbone(normalized)
        heads = model.score_heads([features.mean((2, 3)) for features in stages])
    assert [tuple(features.shape) for features in stages] == [(3, 256, 6, 5), (3, 512, 3, 3)]
    assert torch.equal(heads[:, 0], scores)
    for place in range(3):
        vectors = [
            reduced(layers, array(features[place]))
            for layers, features in zip(model.score_heads.reductions, stages, strict=True)
        ]
        oracle = [linear(model.score_heads.score, np.concatenate(vectors))[0]]
        for layer, vector in zip(model.score_heads.stage_scores, vectors, strict=True):
            oracle.append(linear(layer, vector)[0])
        assert heads[place].tolist() == pytest.approx(oracle, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("backbone", "widths", "parameters"),
    [
        ("resnext101_32x8d.tv_in1k", [1024, 2048], 90_453_443),
        ("resnet50.tv_in1k", [1024, 2048], None),
        ("resnet18.tv_in1k", [256, 512], 12_528_323),
        ("mobilenetv2_100", [96, 320], None),
    ],
)
def test_every_backbone_is_tapped_at_its_last_two_strides(
    backbone: str, widths: list[int], parameters: int | None
) -> None:
    with torch.device("meta"):
        model = LinearityIQA(backbone=backbone)
    assert model.backbone.widths == widths
    first = [reduction.get_parameter("0.weight").shape[1] for reduction in model.score_heads.reductions]
    assert first == widths
    if parameters is not None:
        assert sum(weight.numel() for weight in model.parameters()) == parameters


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2_100"])
def test_the_heads_together_reach_every_weight_and_the_score_all_but_two_layers(backbone: str) -> None:
    model = LinearityIQA(backbone=backbone).eval()
    for name, weight in model.backbone.named_parameters():
        if name.endswith("bn2.weight"):
            nn.init.ones_(weight)  # timm starts residual branches at zero, which would hide what lies before it
    kept: list[Tensor] = []
    model.score_heads.register_forward_hook(lambda part, inputs, scores: kept.append(scores))
    scores = model(torch.rand(2, 3, 64, 80))
    assert kept[0].shape == (2, 3)
    assert torch.equal(kept[0][:, 0], scores)
    named = dict(model.named_parameters())
    by_score, by_heads = (
        torch.autograd.grad(outputs.sum(), list(named.values()), retain_graph=True) for outputs in (scores, kept[0])
    )
    unreached = {name for name, gradient in zip(named, by_score, strict=True) if gradient.abs().sum() == 0}
    assert unreached == {f"score_heads.stage_scores.{place}.{leaf}" for place in (0, 1) for leaf in ("weight", "bias")}
    assert all(gradient.abs().sum() > 0 for gradient in by_heads)


def test_photographs_of_any_size_are_scored_whole(model: LinearityIQA) -> None:
    assert model.crop_size is None
    for size in ((33, 200), (224, 224), (8, 8)):
        assert model.score(torch.rand(2, 3, *size)).shape == (2,)
    with pytest.raises(InputError, match="LinearityIQA takes photographs of any size; it needs no crop averaging"):
        CropAverage(model)


def test_the_heads_stay_in_float32_under_autocast(model: LinearityIQA) -> None:
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(images)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, model(images).detach(), rtol=0.05, atol=0.02)


def test_double_precision_scores_agree_with_single(model: LinearityIQA) -> None:
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        single, double = model(images), model.double()(images.double())
        model.float()
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ({}, Affine()),
        ({"optimizer": {}}, Affine()),
        ({"k": [12.5, 1, 1], "b": [50, 0, 0]}, Affine(slope=12.5, offset=50.0)),
        ({"k": [np.float64(12.5)], "b": torch.tensor([50.0, 0.0])}, Affine(slope=12.5, offset=50.0)),
    ],
)
def test_the_published_mapping_is_the_first_of_its_slopes_and_offsets(beside: dict[str, Any], expected: Affine) -> None:
    assert LinearityIQA.published_calibration(beside) == expected


@pytest.mark.parametrize("beside", [{"k": [1.0]}, {"k": [], "b": [1.0]}, {"k": 3, "b": 4}, {"k": ["?"], "b": [1]}])
def test_a_mapping_that_cannot_be_read_is_refused(beside: dict[str, Any]) -> None:
    with pytest.raises(WeightsError) as refused:
        LinearityIQA.published_calibration(beside)
    assert str(refused.value) == (
        "weights for 'linearityiqa' have a score mapping that can't be read; expected lists of numbers k and b."
    )


def test_options_are_the_registrys(model: LinearityIQA) -> None:
    with pytest.raises(InputError, match=r"model 'linearityiqa' has no option 'backbones'; did you mean 'backbone'\?"):
        create_model("linearityiqa", backbones="resnet18")
