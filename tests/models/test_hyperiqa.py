from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from robustiqa.core.errors import InputError, UnknownNameError
from robustiqa.models import create_model
from robustiqa.models.hyperiqa import TARGET_WIDTHS, HyperIQA

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def model() -> HyperIQA:
    torch.manual_seed(1)
    return HyperIQA(backbone="resnet18").eval()


def crops(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 224, 224)


def array(values: Tensor) -> Array:
    return values.detach().double().numpy()


def linear(layer: torch.nn.Module, vector: Array) -> Array:
    weight, bias = array(layer.get_parameter("weight")), array(layer.get_parameter("bias"))
    result: Array = weight @ vector + bias
    return result


def content_vector(model: HyperIQA, maps: list[Tensor]) -> Array:
    """The 224 local-distortion features of one image from its four feature maps (C, cells, cells), window by window."""
    parts = []
    for tap, features in zip(model.local_taps, maps[:-1], strict=True):
        kernel = array(tap.get_parameter("conv.weight"))[:, :, 0, 0]
        mixed = np.einsum("oc,cij->oij", kernel, array(features))
        windows = mixed.shape[1] // 7
        pooled = [
            channel[7 * row : 7 * row + 7, 7 * column : 7 * column + 7].mean()
            for channel in mixed
            for row in range(windows)
            for column in range(windows)
        ]
        parts.append(linear(tap.get_submodule("fc"), np.array(pooled)))
    parts.append(linear(model.global_tap, array(maps[-1]).mean((1, 2))))
    return np.concatenate(parts)


def hyper_map(model: HyperIQA, last: Tensor) -> Array:
    """What the target weights are read from, (112, 7, 7), of one image's last feature map."""
    features = array(last)
    for place in (0, 2, 4):
        layer = model.hyper[place]
        kernel, bias = array(layer.get_parameter("weight"))[:, :, 0, 0], array(layer.get_parameter("bias"))
        features = np.maximum(np.einsum("oc,cij->oij", kernel, features) + bias[:, None, None], 0)
    return features


def score_by_its_own_network(model: HyperIQA, content: Array, hyper: Array) -> float:
    """Builds one image's target network, layer by layer, and runs it on that image's content vector."""
    pooled, signal = hyper.mean((1, 2)), content
    for layer in range(4):
        inputs, outputs = TARGET_WIDTHS[layer], TARGET_WIDTHS[layer + 1]
        maker = model.weight_maps[layer]
        made = F.conv2d(
            torch.from_numpy(hyper)[None],
            maker.get_parameter("weight").double(),
            maker.get_parameter("bias").double(),
            padding=1,
        )
        flat = array(made).ravel()  # channel, row, column: the order the published code reshapes
        biases = linear(model.biases[layer], pooled)
        signal = np.array(
            [flat[inputs * unit : inputs * (unit + 1)] @ signal + biases[unit] for unit in range(outputs)]
        )
        signal = 1 / (1 + np.exp(-signal))
    last = linear(model.last_weight, pooled) @ signal
    return float(last + linear(model.biases[4], pooled)[0])


def test_each_image_is_judged_by_the_network_that_its_own_hyper_map_describes(model: HyperIQA) -> None:
    images = crops(3)
    with torch.no_grad():
        scores = model(images)
        maps = model.backbone((images - model.input_mean[:, None, None]) / model.input_std[:, None, None])
    for place, score in enumerate(scores.tolist()):
        own = [features[place] for features in maps]
        oracle = score_by_its_own_network(model, content_vector(model, own), hyper_map(model, own[-1]))
        assert score == pytest.approx(oracle, rel=1e-4)


@pytest.mark.parametrize(
    ("backbone", "widths"),
    [("resnet50.tv_in1k", (1024, 512)), ("resnet18", (256, 128)), ("mobilenetv2_100", (160, 80))],
)
def test_hidden_widths_of_the_hyper_branch_follow_the_backbone(backbone: str, widths: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = HyperIQA(backbone=backbone)
    outputs = [model.hyper[place].get_parameter("weight").shape[0] for place in (0, 2, 4)]
    assert outputs == [*widths, 112]


def test_the_papers_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = HyperIQA()
    backbone_and_taps = [model.backbone, model.local_taps, model.global_tap]
    assert sum(weight.numel() for weight in model.parameters()) == 27_375_369
    assert sum(weight.numel() for part in backbone_and_taps for weight in part.parameters()) == 23_983_392


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2_100"])
def test_light_backbones_score_and_every_weight_of_theirs_is_reached(backbone: str) -> None:
    model = create_model("hyperiqa", backbone=backbone).train()
    scores = model(crops())
    scores.sum().backward()
    unreached = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert scores.shape == (2,)
    assert unreached == []


@pytest.mark.parametrize("size", [(224, 225), (223, 224), (448, 448), (7, 7)])
def test_crops_of_another_size_are_refused(model: HyperIQA, size: tuple[int, int]) -> None:
    with pytest.raises(InputError) as refused:
        model(torch.rand(1, 3, *size))
    assert str(refused.value) == (
        f"HyperIQA takes 224x224 crops, got {size}; wrap it in CropAverage to score whole photographs."
    )


def test_unknown_models_and_options_are_refused_with_the_closest_name() -> None:
    with pytest.raises(UnknownNameError) as unknown:
        create_model("hyperiq")
    with pytest.raises(InputError) as option:
        create_model("hyperiqa", backbones="resnet18")
    assert str(unknown.value).startswith("unknown model 'hyperiq'; did you mean 'hyperiqa'? Known: ")
    assert str(option.value) == (
        "model 'hyperiqa' has no option 'backbones'; did you mean 'backbone'? Options: backbone."
    )


def test_double_precision_scores_agree_with_single(model: HyperIQA) -> None:
    images = crops()
    with torch.no_grad():
        single = model(images)
        double = model.double()(images.double())
        model.float()
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_the_head_stays_in_float32_under_autocast(model: HyperIQA) -> None:
    images = crops()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(images)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, model(images).detach(), rtol=0.02, atol=0.02)


def test_construction_draws_from_the_global_generator_alone_and_equal_seeds_give_equal_weights() -> None:
    built = []
    for _ in range(2):
        torch.manual_seed(5)
        built.append(HyperIQA(backbone="mobilenetv2_100").state_dict())
    assert all(torch.equal(value, built[1][name]) for name, value in built[0].items())
