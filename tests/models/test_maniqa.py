from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.defenses.norm_regularization import DoubleBackward, FiniteDifference
from robustiqa.defenses.repeated_pass import Replay
from robustiqa.models import create_model, models
from robustiqa.models.maniqa import MANIQA, ScaleSwinLayer, TransposedAttention, _on_grid

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def built() -> MANIQA:
    torch.manual_seed(1)
    return MANIQA(backbone="test_efficientnet", width=16)


@pytest.fixture
def model(built: MANIQA) -> Iterator[MANIQA]:
    yield built.eval()
    built.zero_grad()
    built.float().eval()


def crops(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 224, 224)


def array(values: Tensor) -> Array:
    return values.detach().double().numpy()


def linear(layer: nn.Module, vector: Array) -> Array:
    result: Array = array(layer.get_parameter("weight")) @ vector + array(layer.get_parameter("bias"))
    return result


def test_channels_attend_to_channels_and_the_result_is_read_in_the_published_scrambled_order() -> None:
    places, channels = 6, 4
    block = TransposedAttention(places).eval()
    features = torch.randn(1, channels, places)
    rows = array(features[0])
    query, key, value = (
        np.stack([linear(layer, row) for row in rows]) for layer in (block.query, block.key, block.value)
    )
    attended = np.zeros((channels, places))
    for one in range(channels):
        weights = np.exp([query[one] @ key[other] / math.sqrt(places) for other in range(channels)])
        attended[one] = sum(weights[other] / weights.sum() * value[other] for other in range(channels))
    expected = rows.copy()
    for position in range(channels * places):  # written place by place, read channel by channel
        expected[position // places, position % places] += attended[position % channels, position // channels]
    np.testing.assert_allclose(array(block(features)[0]), expected, rtol=1e-5, atol=1e-6)


def reached_from(layer: nn.Module, row: int, column: int) -> set[tuple[int, int]]:
    """Token places whose output depends on the token at one place of a 28x28 grid."""
    tokens = torch.randn(1, 28, 28, 16)
    changed = tokens.clone()
    changed[0, row, column] = torch.randn(16)
    with torch.no_grad():
        moved = (layer(tokens) - layer(changed)).abs().amax(-1)[0] > 1e-7
    return {(int(place[0]), int(place[1])) for place in moved.nonzero()}


def square(top: int, left: int, height: int = 4, width: int = 4) -> set[tuple[int, int]]:
    return {(row, column) for row in range(top, top + height) for column in range(left, left + width)}


@pytest.mark.parametrize(
    ("row", "column", "own_window", "shifted_window"),
    [
        (9, 14, square(8, 12), square(6, 14)),
        (27, 13, square(24, 12), square(26, 10, height=2)),  # the shifted window is cut by the border
        (0, 0, square(0, 0), square(0, 0, height=2, width=2)),
    ],
)
def test_tokens_attend_within_windows_of_four_and_then_within_windows_shifted_by_two(
    row: int, column: int, own_window: set[tuple[int, int]], shifted_window: set[tuple[int, int]]
) -> None:
    first, second = ScaleSwinLayer(16, 16, (0.0, 0.0)).eval().blocks
    assert reached_from(first, row, column) == own_window
    assert reached_from(second, row, column) == shifted_window


def test_what_a_swin_layer_adds_is_four_fifths_of_its_rectified_convolution() -> None:
    layer = ScaleSwinLayer(16, 16, (0.0, 0.0)).eval()
    maps = torch.randn(2, 16, 28, 28)
    with torch.no_grad():
        nn.init.zeros_(layer.conv.weight)
        layer.conv.get_parameter("bias").copy_(torch.linspace(-1, 1, 16))
        added = layer(maps) - maps
    expected = 0.8 * torch.linspace(-1, 1, 16).clamp(min=0)[None, :, None, None].expand_as(maps)
    torch.testing.assert_close(added, expected)


def test_a_score_is_the_mean_of_the_patches_scores_by_their_weights(model: MANIQA) -> None:
    patches = torch.randn(2, 784, 8)
    with torch.no_grad():
        model.score_branch.get_parameter("3.bias").fill_(5.0)  # so that some patches are rectified and others not
        found = model._vote(patches)
        model.score_branch.get_parameter("3.bias").fill_(50.0)
    bias = 5.0 - 50.0
    for image in range(2):
        total = weight_sum = 0.0
        rectified = 0
        for patch in array(patches[image]):
            raw, weight = (
                linear(branch[3], np.maximum(linear(branch[0], patch), 0))[0]
                for branch in (model.score_branch, model.weight_branch)
            )
            weight = 1 / (1 + math.exp(-weight))
            rectified += raw + bias < 0
            total += weight * max(raw + bias, 0)
            weight_sum += weight
        assert 50 < rectified < 734
        assert found[image].item() == pytest.approx(total / weight_sum, rel=1e-4)


def test_taps_off_the_token_grid_are_resized_to_it() -> None:
    fine, equal, coarse = torch.rand(1, 2, 56, 56), torch.rand(1, 2, 28, 28), torch.rand(1, 2, 7, 7)
    halved = fine.reshape(1, 2, 28, 2, 28, 2).mean((3, 5))
    torch.testing.assert_close(_on_grid(fine, 28), halved)
    assert torch.equal(_on_grid(equal, 28), equal)
    corners = _on_grid(coarse, 28)[..., ::27, ::27]  # nothing to interpolate with beyond the outermost cells
    torch.testing.assert_close(corners, coarse[..., ::6, ::6])
    flat = torch.full((1, 1, 14, 14), 3.0)
    torch.testing.assert_close(_on_grid(flat, 28), torch.full((1, 1, 28, 28), 3.0))
    uneven = _on_grid(fine, 16)  # every value counts: 3.5 of a row's meet a token
    torch.testing.assert_close(uneven.mean((2, 3)), fine.mean((2, 3)), rtol=0.02, atol=0.0)
    torch.testing.assert_close(uneven[0, 0, 0, 1], fine[0, 0, :4, 3:7].mean())


def test_the_papers_network_has_the_published_number_of_parameters_less_the_unused() -> None:
    with torch.device("meta"):
        model = MANIQA()
    unused_blocks, norm_and_classifier = 2 * 7_087_872, 2 * 768 + 769_000
    downsampling = (768 * 768 * 9 + 768) + (384 * 384 * 9 + 384)
    found = sum(weight.numel() for weight in model.parameters())
    assert found == 135_747_530 - unused_blocks - norm_and_classifier - downsampling


@pytest.mark.parametrize(
    ("backbone", "width", "stages"),
    [
        ("vit_base_patch8_224.augreg_in21k_ft_in1k", None, [(3072, 768), (768, 384)]),
        ("vit_tiny_patch16_224", 32, [(768, 32), (32, 16)]),
        ("mobilenetv2_100", None, [(472, 128), (128, 64)]),
        ("mobilenetv2_100", 256, [(472, 256), (256, 128)]),
    ],
)
def test_widths_follow_the_backbone_unless_given(
    backbone: str, width: int | None, stages: list[tuple[int, int]]
) -> None:
    with torch.device("meta"):
        model = MANIQA(backbone=backbone, width=width)
    kernels = [stage.get_parameter("reduce.weight").shape for stage in model.stages]
    assert [(inputs, outputs) for outputs, inputs, _, _ in kernels] == stages
    perceptrons = {
        layer.get_parameter("weight").shape[0] for name, layer in model.stages.named_modules() if name.endswith("fc1")
    }
    assert perceptrons == {stages[0][1]}  # the same in both stages


@pytest.mark.parametrize(
    ("backbone", "grid", "tokens"),
    [
        ("vit_tiny_patch16_224", None, 784),
        ("vit_tiny_patch16_224", 8, 64),
        ("mobilenetv2_100", None, 256),
        ("mobilenetv2_100", 28, 784),
    ],
)
def test_the_token_grid_follows_the_backbone_unless_given(backbone: str, grid: int | None, tokens: int) -> None:
    model = MANIQA(backbone=backbone, width=16, grid=grid)
    patches: list[Tensor] = []
    model.score_branch.register_forward_hook(lambda module, inputs, output: patches.append(output))
    with torch.no_grad():
        model(torch.rand(1, 3, 224, 224))
    assert patches[0].shape == (1, tokens, 1)
    assert model.get_parameter("stages.0.attention.0.query.weight").shape == (tokens, tokens)


@pytest.mark.parametrize(
    ("backbone", "mean", "std"),
    [
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 3 * [0.5], 3 * [0.5]),
        ("mobilenetv2_100", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ],
)
def test_pixels_are_normalized_as_the_backbones_weights_were_trained(
    backbone: str, mean: list[float], std: list[float]
) -> None:
    model = MANIQA(backbone=backbone, width=8)
    assert model.input_mean.tolist() == pytest.approx(mean)
    assert model.input_std.tolist() == pytest.approx(std)


@pytest.mark.parametrize("backbone", ["mobilenetv2_100", "resnet18", "vit_tiny_patch16_224"])
def test_light_backbones_score_and_every_weight_of_theirs_is_reached(backbone: str) -> None:
    model = create_model("maniqa", backbone=backbone, width=16).train()
    scores = model(crops())
    scores.sum().backward()
    unreached = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert scores.shape == (2,)
    assert unreached == []


@pytest.mark.parametrize("seed", range(4))
def test_a_new_network_scores_around_the_middle_of_the_scale_with_no_patch_rectified(seed: int) -> None:
    torch.manual_seed(seed)
    model = MANIQA(backbone="test_efficientnet", width=16).eval()
    patches: list[Tensor] = []
    model.score_branch.register_forward_hook(lambda module, inputs, output: patches.append(output))
    with torch.no_grad():
        scores = model(crops())
    assert ((scores > 20) & (scores < 80)).all()
    assert patches[0].min() > 0


@pytest.mark.parametrize("size", [(224, 225), (223, 224), (448, 448), (8, 8)])
def test_crops_of_another_size_are_refused(model: MANIQA, size: tuple[int, int]) -> None:
    with pytest.raises(InputError) as refused:
        model(torch.rand(1, 3, *size))
    assert str(refused.value) == (
        f"MANIQA takes 224x224 crops, got {size}; wrap it in CropAverage to score whole photographs."
    )


@pytest.mark.parametrize(
    ("option", "value", "least"),
    [("width", 0, 8), ("width", -8, 8), ("width", 12, 8), ("width", 4, 8), ("grid", 14, 4)],
)
def test_sizes_that_heads_and_windows_do_not_divide_are_refused(option: str, value: int, least: int) -> None:
    with pytest.raises(InputError) as refused:
        models.create("maniqa", backbone="test_efficientnet", **{option: value})
    assert str(refused.value) == f"{option} must be a positive multiple of {least}, got {value}."


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(InputError) as refused:
        create_model("maniqa", backbone="vit_bass_patch8_224")
    assert str(refused.value) == "timm knows no backbone 'vit_bass_patch8_224'; `timm.list_models()` names them all."


def test_double_precision_scores_agree_with_single(model: MANIQA) -> None:
    images = crops()
    with torch.no_grad():
        single = model(images)
        double = model.double()(images.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-4)


def test_the_branches_stay_in_float32_under_autocast(model: MANIQA) -> None:
    images = crops()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(images)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, model(images).detach(), rtol=0.02, atol=0.1)


def test_construction_draws_from_the_global_generator_alone_and_equal_seeds_give_equal_weights() -> None:
    built = []
    for _ in range(2):
        torch.manual_seed(5)
        built.append(MANIQA(backbone="test_efficientnet", width=16).state_dict())
    assert all(torch.equal(value, built[1][name]) for name, value in built[0].items())


def test_a_repeated_pass_in_training_mode_draws_the_same_dropout_and_drop_path_masks(model: MANIQA) -> None:
    model.train()
    images = crops(4)
    replay = Replay(images.device)
    first, another = model(images), model(images)
    with replay():
        assert torch.equal(model(images), first)
    assert (another - first).abs().min() > 1e-3
    kinds = {type(part).__name__ for part in model.modules() if getattr(part, "drop_prob", getattr(part, "p", 0)) > 0}
    assert kinds == {"Dropout", "DropPath"}


def test_the_norm_in_training_mode_is_that_of_one_network_thinned_alike_in_both_passes(model: MANIQA) -> None:
    model.train().double()
    model.backbone.eval()  # batch statistics would couple the images
    images = crops(3).double()
    torch.manual_seed(8)
    _, exact = DoubleBackward()(model, images)
    torch.manual_seed(8)
    _, norms = FiniteDifference(h=1e-6)(model, images)
    torch.testing.assert_close(norms, exact, rtol=1e-3, atol=0)
