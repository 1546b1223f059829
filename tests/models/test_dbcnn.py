from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustiqa.core.errors import InputError, WeightsError
from robustiqa.defenses.norm_regularization import DoubleBackward, FiniteDifference
from robustiqa.models import create_model
from robustiqa.models.dbcnn import DBCNN, bilinear_pool, load_scnn_weights, signed_root
from robustiqa.models.weights import read_weights

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def model() -> DBCNN:
    torch.manual_seed(1)
    return DBCNN(backbone="test_efficientnet").eval()


def photos(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(count, 3, height, width)


def array(values: Tensor) -> Array:
    return values.detach().double().numpy()


def paired_by_hand(content: Array, distortion: Array) -> Array:
    """Mean over places of the outer product of two features, place by place; (C, H, W) and (D, H, W) to (C, D)."""
    total = np.zeros((content.shape[0], distortion.shape[0]))
    for row in range(content.shape[1]):
        for column in range(content.shape[2]):
            total += np.outer(content[:, row, column], distortion[:, row, column])
    mean: Array = total / content[0].size
    return mean


def test_features_pair_up_place_by_place_in_the_mean() -> None:
    content, distortion = torch.randn(2, 3, 4, 5), torch.rand(2, 6, 4, 5)
    found = bilinear_pool(content, distortion)
    for image in range(2):
        np.testing.assert_allclose(
            array(found[image]), paired_by_hand(array(content[image]), array(distortion[image])), 1e-5
        )


def test_a_larger_distortion_map_is_resized_corners_onto_corners() -> None:
    ramp = torch.linspace(0, 8, 5).expand(1, 1, 3, 5)  # 0 2 4 6 8
    places = torch.eye(12).reshape(1, 12, 3, 4)  # picks out one place each
    picked = bilinear_pool(places, ramp)[0, :, 0].reshape(3, 4) * 12
    torch.testing.assert_close(picked, torch.linspace(0, 8, 4).expand(3, 4))


def test_a_score_is_read_from_signed_roots_of_length_one(model: DBCNN) -> None:
    images = photos(height=70, width=50)  # the trunks differ by nothing here, and by one cell with VGG (golden tests)
    normalized = (images - model.input_mean[:, None, None]) / model.input_std[:, None, None]
    with torch.no_grad():
        scores, (content,), distortion = model(images), model.backbone(normalized), model.scnn(normalized)
    weights, bias = array(model.fc.weight)[0], array(model.fc.bias)[0]
    for image, score in enumerate(scores.tolist()):
        paired = paired_by_hand(array(content[image]), array(distortion[image])).ravel()
        assert paired.min() < 0 < paired.max()  # this backbone's last layer is linear
        rooted = np.array([math.copysign(math.sqrt(abs(value) + 1e-8), value) for value in paired])
        assert score == pytest.approx(weights @ (rooted / np.linalg.norm(rooted)) + bias, rel=1e-6)


def test_the_root_has_its_published_slope_at_zero_and_is_mirrored_below() -> None:
    values = torch.tensor([0.0, 1e-8, 3e-8, 1.0, -3e-8, -1.0], dtype=torch.float64, requires_grad=True)
    roots = signed_root(values, 1e-8)
    (slopes,) = torch.autograd.grad(roots.sum(), values)
    expected = torch.tensor([1e-4, 2**0.5 * 1e-4, 2e-4, 1 + 5e-9, -2e-4, -1 - 5e-9], dtype=torch.float64)
    torch.testing.assert_close(roots.detach(), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(slopes, 0.5 / expected.abs(), rtol=1e-8, atol=0)
    assert slopes.max().item() == pytest.approx(5000)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_photograph_without_any_feature_has_a_finite_gradient(kind: torch.dtype) -> None:
    content = torch.zeros(1, 4, 3, 3, dtype=kind, requires_grad=True)
    distortion = torch.rand(1, 5, 3, 3, dtype=kind)
    length = nn.functional.normalize(signed_root(bilinear_pool(content, distortion).flatten(1), 1e-8))
    (gradient,) = torch.autograd.grad((length * torch.linspace(-1, 1, 20, dtype=kind)).sum(), content)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_a_larger_offset_lowers_the_gradient_norm_and_a_finite_difference_sees_more_of_it() -> None:
    """The same measured with trained trunks on photographs: docs/dbcnn.md."""
    images = photos(8)
    norms, seen, state = [], [], settled(images)
    for offset in (1e-8, 1e-4, 1e-2):
        model = DBCNN(backbone="test_efficientnet", root_offset=offset).eval()
        model.load_state_dict(state)
        exact = DoubleBackward()(model, images)[1].detach()
        norms.append(exact.mean().item())
        seen.append((FiniteDifference(h=0.01)(model, images)[1].detach() / exact).mean().item())
    assert norms[0] > 1.15 * norms[1] > 1.15**2 * norms[2]
    assert seen[0] < 0.9 * seen[1] < 0.9**2 * seen[2]


def settled(images: Tensor) -> dict[str, Tensor]:
    """Weights whose batch norm has seen the images, so that features are neither huge nor nothing."""
    torch.manual_seed(3)
    model = DBCNN(backbone="test_efficientnet").train()
    with torch.no_grad():
        for _ in range(20):
            model(images)
    return model.state_dict()


def test_the_papers_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = DBCNN()
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (model.backbone, model.scnn, model.fc)]
    assert counts == [14_714_688, 531_120, 65_537]
    strides = [layer.stride[0] for layer in model.scnn if isinstance(layer, nn.Conv2d)]
    assert strides == [1, 2, 1, 2, 1, 2, 1, 1, 2]
    assert sum(weight.numel() for weight in model.parameters()) == 15_311_345


def test_the_trunks_round_differently_and_a_score_comes_of_it() -> None:
    model = DBCNN().eval()
    for side, vgg, scnn in [(224, 14, 14), (500, 31, 32), (16, 1, 1), (17, 1, 2)]:
        images = photos(1, side, 16)
        with torch.no_grad():
            (content,), distortion = model.backbone(images), model.scnn(images)
            assert model(images).isfinite().all()
        assert (content.shape[2:], distortion.shape[2:]) == ((vgg, 1), (scnn, 1))


@pytest.mark.parametrize("backbone", ["mobilenetv2_100", "resnet18", "test_efficientnet"])
def test_light_backbones_score_and_every_weight_of_theirs_is_reached(backbone: str) -> None:
    model = create_model("dbcnn", backbone=backbone).train()
    scores = model(photos(2, 40, 56))
    scores.sum().backward()
    unreached = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert scores.shape == (2,)
    assert unreached == []


@pytest.mark.parametrize(("height", "width"), [(15, 64), (64, 15), (1, 1)])
def test_photographs_that_leave_no_cell_are_refused(model: DBCNN, height: int, width: int) -> None:
    with pytest.raises(InputError) as refused:
        model(photos(1, height, width))
    assert str(refused.value) == f"DBCNN takes photographs of at least 16x16 pixels, got {width}x{height}."


@pytest.mark.parametrize("offset", [0.0, -1e-8, math.nan])
def test_a_root_without_a_slope_at_zero_is_refused(offset: float) -> None:
    with pytest.raises(InputError) as refused:
        DBCNN(backbone="test_efficientnet", root_offset=offset)
    assert str(refused.value) == f"root_offset must be greater than 0, got {offset}; the root has no slope at 0."


def test_double_precision_scores_agree_with_single(model: DBCNN) -> None:
    images = photos()
    with torch.no_grad():
        single = model(images)
        double = model.double()(images.double())
        model.float()
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-6)


def test_first_maps_pooling_and_root_stay_in_float32_under_autocast(model: DBCNN) -> None:
    images = photos()
    seen: dict[str, torch.dtype] = {}
    places = {"scnn, stride 2": model.scnn[5], "scnn, stride 4": model.scnn[11]}
    hooks = [
        part.register_forward_hook(lambda module, inputs, output, place=place: seen.update({place: output.dtype}))
        for place, part in places.items()
    ]
    hooks.append(model.fc.register_forward_hook(lambda module, inputs, output: seen.update({"fc": inputs[0].dtype})))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(images)
    for hook in hooks:
        hook.remove()
    assert seen == {"scnn, stride 2": torch.float32, "scnn, stride 4": torch.bfloat16, "fc": torch.float32}
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, model(images).detach(), rtol=0, atol=1e-3)


def test_a_new_network_scores_in_the_middle_of_the_scale(model: DBCNN) -> None:
    assert model.score(photos(4)).tolist() == pytest.approx(4 * [50], abs=0.1)


def test_construction_draws_from_the_global_generator_alone_and_equal_seeds_give_equal_weights() -> None:
    built = []
    for _ in range(2):
        torch.manual_seed(5)
        built.append(DBCNN(backbone="test_efficientnet").state_dict())
    assert all(torch.equal(value, built[1][name]) for name, value in built[0].items())


def test_a_vgg_classifiers_file_loads_into_the_content_trunk(tmp_path: Path) -> None:
    with torch.device("meta"):
        classifier = timm.create_model("vgg11", num_classes=2)
    trunk: nn.Sequential = classifier.get_submodule("features").to_empty(device="cpu")  # type: ignore[assignment]
    for weight in trunk.parameters():
        nn.init.normal_(weight, std=0.05)
    state = {f"features.{name}": value for name, value in trunk.state_dict().items()}
    path = tmp_path / "imagenet.safetensors"
    save_file({**state, "head.fc.bias": torch.zeros(2)}, path)
    backbone = DBCNN(backbone="vgg11").backbone
    backbone.load_imagenet(path)
    images = photos(1, 32, 48)
    with torch.no_grad():
        (content,) = backbone(images)
        expected = trunk[:20](images)  # all but the last pooling
    torch.testing.assert_close(content, expected)


@pytest.fixture
def published_scnn(model: DBCNN) -> dict[str, Tensor]:
    """A classifier's state as it is published: no counters of batches, and an end that tells distortions apart."""
    trunk = {
        f"features.{name}": value
        for name, value in model.scnn.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    return {**trunk, "projection.0.weight": torch.zeros(256, 128, 1, 1), "classifier.bias": torch.zeros(39)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_published_scnn_loads_with_its_classifier_discarded(
    prefix: str, model: DBCNN, published_scnn: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "scnn.pkl"
    torch.save({prefix + name: value for name, value in published_scnn.items()}, path)
    torch.manual_seed(9)
    other = DBCNN(backbone="test_efficientnet")
    load_scnn_weights(other, path)
    for name, value in other.scnn.state_dict().items():
        assert torch.equal(value, model.scnn.state_dict()[name]), name


def test_the_scnn_of_the_shared_folder_loads(shared: Path) -> None:
    path = shared / "weights" / "dbcnn-scnn.safetensors"
    published = read_weights(path).state
    model = DBCNN(backbone="test_efficientnet")
    load_scnn_weights(model, path)
    loaded = model.scnn.state_dict()
    used = {name for name in published if name.startswith("features.")}
    assert len(published) == 68
    assert len(used) == 54
    assert all(torch.equal(loaded[name.removeprefix("features.")], published[name]) for name in used)
    assert {name.split(".")[0] for name in set(published) - used} == {"projection", "classifier"}


def _without_batch_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the authors' second file: the same convolutions, one after the other."""
    places = {f"features.{3 * place}": f"features.{2 * place}" for place in range(9)}
    trunk = {name: value for name, value in state.items() if name.rpartition(".")[0] in places}
    return {f"{places[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value for name, value in trunk.items()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: {k: v for k, v in state.items() if k != "features.4.bias"}, "lack '4.bias' (first of 1)"),
        (_without_batch_norm, "lack '1.bias' (first of 42)"),
        (lambda state: {**state, "features.27.weight": torch.zeros(1)}, "hold unknown '27.weight' (first of 1)"),
    ],
)
def test_other_and_partial_scnn_files_are_refused(
    change: Any, sentence: str, published_scnn: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "scnn.pkl"
    torch.save(change(published_scnn), path)
    with pytest.raises(WeightsError) as refused:
        load_scnn_weights(DBCNN(backbone="test_efficientnet"), path)
    assert str(refused.value).startswith(f"weights for the S-CNN of 'dbcnn' {sentence}")
    assert str(refused.value).endswith("; the file is for another model, backbone or version.")


def test_models_without_an_scnn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        load_scnn_weights(nn.Linear(2, 2), tmp_path / "scnn.pkl")
    assert str(refused.value) == "Linear has no S-CNN to load weights into."
