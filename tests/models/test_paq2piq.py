from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from robustiqa.core.errors import WeightsError
from robustiqa.defenses.norm_regularization import DoubleBackward, FiniteDifference
from robustiqa.models import create_model
from robustiqa.models.paq2piq import PaQ2PiQ, whole_photo_roi

Array = npt.NDArray[np.float64]
LIGHT = "test_efficientnet"


@pytest.fixture(params=[True, False], ids=["region", "all places"])
def roi_pooling(request: pytest.FixtureRequest) -> bool:
    asked: bool = request.param
    return asked


@pytest.fixture(scope="module")
def built() -> PaQ2PiQ:
    torch.manual_seed(1)
    return PaQ2PiQ(backbone=LIGHT)


@pytest.fixture
def model(built: PaQ2PiQ, roi_pooling: bool) -> Iterator[PaQ2PiQ]:
    built.roi_pooling = roi_pooling
    yield built.eval()
    built.zero_grad()
    built.float().eval()


def photos(count: int = 2, height: int = 96, width: int = 160) -> Tensor:
    return torch.rand(count, 3, height, width)


def largest_of_quarters(features: Array, height: int, width: int) -> Array:
    """RoI pooling of the whole photograph as it is defined: the region rounds to cells, and its last cell counts.

    (C, rows, columns) to (C, 2, 2); a quarter without a cell is 0.
    """
    sides = [math.floor(length / 32 + 0.5) + 1 for length in (height, width)]
    pooled = np.zeros((len(features), 2, 2))
    for row in range(2):
        for column in range(2):
            rows, columns = (
                slice(int(np.floor(place * side / 2)), min(int(np.ceil((place + 1) * side / 2)), cells))
                for place, side, cells in zip((row, column), sides, features.shape[1:], strict=True)
            )
            quarter = features[:, rows, columns].reshape(len(features), -1)
            if quarter.size:
                pooled[:, row, column] = quarter.max(1)
    return pooled


@pytest.mark.parametrize("size", [(224, 224), (480, 640), (340, 97), (31, 32), (1, 1), (48, 80)])
def test_a_photograph_is_pooled_to_the_largest_features_of_its_quarters(size: tuple[int, int]) -> None:
    height, width = size
    features = torch.randn(2, 5, -(-height // 32), -(-width // 32))
    found = whole_photo_roi(features, height, width)
    for image in range(2):
        expected = largest_of_quarters(features[image].double().numpy(), height, width)
        np.testing.assert_allclose(found[image].numpy(), expected, rtol=1e-6)


def oracle(model: PaQ2PiQ, images: Tensor) -> list[float]:
    """Scores by NumPy from the backbone's features and the weights, in eval mode; plain pixels go in."""
    weights = {name: value.double().numpy() for name, value in model.regression.state_dict().items()}

    def batch_norm(values: Array, layer: int) -> Array:
        mean, var = weights[f"{layer}.running_mean"], weights[f"{layer}.running_var"]
        normed: Array = (values - mean) / np.sqrt(var + 1e-5) * weights[f"{layer}.weight"] + weights[f"{layer}.bias"]
        return normed

    with torch.no_grad():
        (maps,) = model.backbone(images)
    scores = []
    for features in maps.double().numpy():
        pooled = largest_of_quarters(features, *images.shape[2:]) if model.roi_pooling else features
        both = np.concatenate([pooled.max((1, 2)), pooled.mean((1, 2))])
        hidden = np.maximum(weights["2.weight"] @ batch_norm(both, 0) + weights["2.bias"], 0)
        scores.append(float((weights["6.weight"] @ batch_norm(hidden, 4) + weights["6.bias"])[0]))
    return scores


def test_a_score_is_read_from_the_maximum_and_the_mean_of_pooled_features(model: PaQ2PiQ) -> None:
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(photos(4))  # so that batch norm's statistics say something
    images = photos(3)
    assert model.eval().score(images).tolist() == pytest.approx(oracle(model, images), rel=1e-5)


def test_pixels_are_taken_as_they_are(model: PaQ2PiQ) -> None:
    assert model.input_mean.tolist() == [0, 0, 0]
    assert model.input_std.tolist() == [1, 1, 1]


def test_pooling_as_a_region_makes_another_score() -> None:
    torch.manual_seed(1)
    with_region, without = PaQ2PiQ(backbone=LIGHT).eval(), PaQ2PiQ(backbone=LIGHT, roi_pooling=False).eval()
    without.load_state_dict(with_region.state_dict())
    images = photos()
    assert (with_region.score(images) - without.score(images)).abs().min() > 1e-4


class Published(nn.Module):
    """The network as it was published: the children of torchvision's ResNet-18, then a head with pooling inside."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*list(resnet18(weights=None).children())[:-2])
        self.head = nn.Sequential(
            nn.Identity(),  # maximum and mean, side by side
            nn.Flatten(),
            nn.BatchNorm1d(1024),
            nn.Dropout(0.25),
            nn.Linear(1024, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Dropout(0.5),
            nn.Linear(512, 1),
        )

    def forward(self, images: Tensor, *, region: bool) -> Tensor:
        features = self.body(images)
        if region:
            features = whole_photo_roi(features, *images.shape[2:])
        both = [nn.functional.adaptive_max_pool2d(features, 1), nn.functional.adaptive_avg_pool2d(features, 1)]
        scores: Tensor = self.head(torch.cat(both, 1))[:, 0]
        return scores


@pytest.fixture(scope="module")
def published() -> Published:
    torch.manual_seed(4)
    network = Published().train()
    with torch.no_grad():
        for _ in range(3):
            network(photos(4, 64, 64), region=False)
    return network.eval()


def test_a_published_checkpoint_loads_strictly_and_scores_as_the_published_network(
    published: Published, roi_pooling: bool, tmp_path: Path
) -> None:
    path = tmp_path / "RoIPoolModel-fit.10.bs.120.pth"
    torch.save({"model": published.state_dict(), "opt": None}, path)
    model = create_model("paq2piq", weights=path, roi_pooling=roi_pooling)
    images = photos(2, 70, 100)
    with torch.no_grad():
        expected = published(images, region=roi_pooling)
    assert len(published.state_dict()) == len(model.state_dict()) == 134
    torch.testing.assert_close(model.score(images), expected, rtol=1e-5, atol=1e-5)
    assert (model.scale.low, model.scale.high) == (0, 100)


def test_a_published_checkpoint_that_lacks_entries_is_refused(published: Published, tmp_path: Path) -> None:
    path = tmp_path / "RoIPoolModel.pth"
    state = {name: value for name, value in published.state_dict().items() if not name.startswith("body.7.1.")}
    torch.save({"model": state}, path)
    with pytest.raises(WeightsError) as refused:
        create_model("paq2piq", weights=path)
    assert str(refused.value) == (
        "weights for 'paq2piq' lack 'backbone.network.layer4.1.bn1.bias' (first of 12); "
        "the file is for another model, backbone or version."
    )


def test_the_papers_network_has_its_number_of_parameters() -> None:
    with torch.device("meta"):
        model = PaQ2PiQ()
    classifier = 512 * 1000 + 1000
    assert sum(weight.numel() for weight in model.backbone.parameters()) == 11_689_512 - classifier
    assert [layer.p for layer in model.regression if isinstance(layer, nn.Dropout)] == [0.25, 0.5]
    assert sum(weight.numel() for weight in model.regression.parameters()) == 2 * (1024 + 512) + 1025 * 512 + 513


@pytest.mark.parametrize("backbone", ["mobilenetv2_100", "resnet18"])
def test_every_weight_is_reached(backbone: str, roi_pooling: bool) -> None:
    model = create_model("paq2piq", backbone=backbone, roi_pooling=roi_pooling).train()
    scores = model(photos())
    scores.sum().backward()
    unreached = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert scores.shape == (2,)
    assert unreached == []


@pytest.mark.parametrize("size", [(1, 1), (20, 300)])
def test_small_photographs_have_a_score(size: tuple[int, int], model: PaQ2PiQ) -> None:
    assert model.score(photos(2, *size)).isfinite().all()


def test_what_follows_the_backbone_stays_in_float32_under_autocast(model: PaQ2PiQ) -> None:
    images = photos()
    seen: list[torch.dtype] = []
    hook = model.regression.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(images)
    hook.remove()
    assert seen == [torch.float32]
    torch.testing.assert_close(scores, model(images).detach(), rtol=0, atol=0.05)


def test_double_precision_scores_agree_with_single(model: PaQ2PiQ) -> None:
    images = photos()
    with torch.no_grad():
        single = model(images)
        double = model.double()(images.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-6)


def test_dropout_does_not_hide_the_norm_in_training_mode(built: PaQ2PiQ) -> None:
    built.train().double()
    built.backbone.eval()
    built.roi_pooling = False  # region pooling can't be differentiated twice
    for layer in built.regression:
        layer.train(isinstance(layer, nn.Dropout))  # batch statistics would couple the photographs
    images = photos(3).double()
    torch.manual_seed(8)
    _, exact = DoubleBackward()(built, images)
    torch.manual_seed(8)
    _, norms = FiniteDifference(h=1e-7)(built, images)
    built.float().eval()
    torch.testing.assert_close(norms, exact, rtol=1e-3, atol=0)


def test_a_new_network_scores_in_the_middle_of_the_scale(model: PaQ2PiQ) -> None:
    assert model.score(photos(4)).tolist() == pytest.approx(4 * [50], abs=10)


def test_construction_draws_from_the_global_generator_alone_and_equal_seeds_give_equal_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(PaQ2PiQ(backbone=LIGHT).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
