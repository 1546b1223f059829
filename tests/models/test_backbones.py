from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robustiqa.core.errors import InputError, WeightsError
from robustiqa.models import create_model
from robustiqa.models.backbones import Backbone, load_backbone_weights


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """A whole ImageNet classifier, as weights files hold it."""
    torch.manual_seed(2)
    network: nn.Module = timm.create_model("mobilenetv2_100", pretrained=False).eval()
    return network


def tapped(classifier: nn.Module, images: Tensor) -> list[Tensor]:
    """What the classifier's blocks give that end at strides 4, 8, 16 and 32."""
    features = classifier.bn1(classifier.conv_stem(images))  # type: ignore[operator]
    found = []
    for place, block in enumerate(classifier.blocks):  # type: ignore[arg-type]
        features = block(features)
        if place in (1, 2, 4, 6):
            found.append(features)
    return found


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("mobilenetv2_100", [24, 32, 96, 320]),
        ("resnet18.tv_in1k", [64, 128, 256, 512]),
        ("swin_tiny_patch4_window7_224", [96, 192, 384, 768]),  # keeps channels last inside
    ],
)
def test_taps_have_the_said_widths_at_strides_4_8_16_and_32(name: str, widths: list[int]) -> None:
    with torch.no_grad():
        backbone = Backbone(name).eval()
        maps = backbone(torch.rand(1, 3, 224, 224))
    assert backbone.widths == widths
    assert [tuple(features.shape[1:]) for features in maps] == [
        (width, side, side) for width, side in zip(widths, (56, 28, 14, 7), strict=True)
    ]


@pytest.mark.parametrize("name", ["mobilenetv2_100", "mobilenetv3_small_100", "resnet18"])
@pytest.mark.parametrize("strides", [(16,), (4, 8)])
def test_what_lies_behind_the_last_tap_is_neither_kept_nor_run(name: str, strides: tuple[int, ...]) -> None:
    torch.manual_seed(6)
    backbone = Backbone(name, strides).eval()
    torch.manual_seed(6)
    whole = timm.create_model(name, features_only=True, pretrained=False).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps, every = backbone(images), whole(images)
    for features, stride in zip(maps, strides, strict=True):
        (expected,) = [other for other in every if other.shape == features.shape]
        assert features.shape[-1] == 64 // stride
        torch.testing.assert_close(features, expected)
    backbone(images)[-1].sum().backward()
    assert [entry for entry, weight in backbone.named_parameters() if weight.grad is None] == []


def test_a_classifiers_weights_load_and_what_lies_behind_the_last_tap_is_discarded(
    classifier: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "imagenet.safetensors"
    save_file(classifier.state_dict(), path)
    model = create_model("hyperiqa", backbone="mobilenetv2_100")
    load_backbone_weights(model, path)
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        found = model.get_submodule("backbone")(images)
        for features, expected in zip(found, tapped(classifier, images), strict=True):
            torch.testing.assert_close(features, expected)


def test_the_imagenet_weights_of_the_shared_folder_load(shared: Path) -> None:
    path = shared / "weights" / "mobilenetv2_100-imagenet.safetensors"
    backbone = Backbone("mobilenetv2_100")
    backbone.load_imagenet(path)
    stem = backbone.network.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, load_file(path)["conv_stem.weight"])


def test_weights_that_lack_a_tapped_entry_are_refused(classifier: nn.Module, tmp_path: Path) -> None:
    state = classifier.state_dict()
    del state["bn1.weight"], state["conv_stem.weight"]
    path = tmp_path / "imagenet.safetensors"
    save_file(state, path)
    with pytest.raises(WeightsError) as refused:
        Backbone("mobilenetv2_100").load_imagenet(path)
    assert str(refused.value) == (
        "weights for backbone 'mobilenetv2_100' lack 'bn1.weight' (first of 2); "
        "the file is for another model, backbone or version."
    )


def test_models_without_a_timm_backbone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        load_backbone_weights(nn.Linear(2, 2), tmp_path / "imagenet.safetensors")
    assert str(refused.value) == "Linear has no timm backbone to load ImageNet weights into."


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError) as refused:
        Backbone("resnet49")
    assert str(refused.value) == "timm knows no backbone 'resnet49'; `timm.list_models()` names them all."


def test_unknown_weight_tags_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError) as refused:
        Backbone("resnet18.tv_in2k")
    sentence = str(refused.value)
    assert sentence.startswith("timm knows no backbone 'resnet18.tv_in2k'; it knows resnet18.")
    assert "resnet18.tv_in1k" in sentence


def test_networks_without_the_strides_are_refused() -> None:
    with pytest.raises(InputError) as refused:
        Backbone("vit_tiny_patch16_224")
    sentence = str(refused.value)
    assert sentence.startswith("backbone 'vit_tiny_patch16_224' has features at strides [16, ")
    assert sentence.endswith("], 4 is not among them.")


def test_construction_leaves_the_global_generator_where_the_network_itself_leaves_it() -> None:
    torch.manual_seed(4)
    timm.create_model("resnet18", features_only=True, pretrained=False)
    expected = torch.rand(3)
    torch.manual_seed(4)
    Backbone("resnet18")
    assert torch.equal(torch.rand(3), expected)
