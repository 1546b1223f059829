from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustiqa.core.errors import InputError, WeightsError
from robustiqa.models.backbones import load_backbone_weights
from robustiqa.models.block_taps import BlockTaps, is_vision_transformer

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """A whole ImageNet classifier of twelve blocks, as weights files hold it."""
    torch.manual_seed(2)
    network: nn.Module = timm.create_model(TINY, pretrained=False).eval()
    return network


@pytest.fixture
def path(classifier: nn.Module, tmp_path: Path) -> Path:
    save_file(classifier.state_dict(), tmp_path / "imagenet.safetensors")
    return tmp_path / "imagenet.safetensors"


def tokens_behind(classifier: nn.Module, blocks: tuple[int, ...], images: Tensor) -> list[Tensor]:
    """What a forward pass of the whole classifier leaves behind some blocks, class token included."""
    found: dict[int, Tensor] = {}
    hooks = [
        classifier.get_submodule(f"blocks.{block}").register_forward_hook(
            lambda module, inputs, output, block=block: found.__setitem__(block, output)
        )
        for block in blocks
    ]
    classifier(images)
    for hook in hooks:
        hook.remove()
    return [found[block] for block in blocks]


def test_taps_are_the_tokens_behind_their_blocks_of_the_whole_classifier(classifier: nn.Module, path: Path) -> None:
    blocks = (6, 7, 8, 9)
    holder = nn.Module()
    holder.backbone = taps = BlockTaps(TINY, blocks, 224)
    load_backbone_weights(holder, path)
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        maps, expected = taps.eval()(images), tokens_behind(classifier, blocks, images)
    assert taps.widths == [192] * 4
    for features, tokens in zip(maps, expected, strict=True):
        for row, column in ((0, 0), (3, 11), (13, 13)):
            torch.testing.assert_close(features[:, :, row, column], tokens[:, 1 + 14 * row + column])


def test_nothing_behind_the_last_tap_is_kept_or_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    taps = BlockTaps(TINY, (2, 4), 224).eval()
    network: Any = taps.network
    computed: list[int] = []
    for place, block in enumerate(network.blocks):
        block.register_forward_hook(lambda module, inputs, output, place=place: computed.append(place))
    with torch.no_grad():
        taps(torch.rand(1, 3, 224, 224))
    assert computed == [0, 1, 2, 3, 4]
    kept = {name.split(".")[0] for name, _ in taps.network.named_parameters()}
    assert kept == {"cls_token", "pos_embed", "patch_embed", "blocks"}


def test_weights_that_lack_a_tapped_entry_are_refused(classifier: nn.Module, path: Path) -> None:
    state = {name: value for name, value in classifier.state_dict().items() if name != "blocks.3.norm1.bias"}
    save_file(state, path)
    with pytest.raises(WeightsError) as refused:
        BlockTaps(TINY, (6, 9), 224).load_imagenet(path)
    assert str(refused.value) == (
        f"weights for backbone '{TINY}' lack 'blocks.3.norm1.bias' (first of 1); "
        "the file is for another model, backbone or version."
    )


def test_weights_without_the_blocks_behind_the_last_tap_load(classifier: nn.Module, path: Path) -> None:
    state = {name: value for name, value in classifier.state_dict().items() if "blocks.11" not in name}
    save_file(state, path)
    taps = BlockTaps(TINY, (6, 9), 224)
    taps.load_imagenet(path)
    assert torch.equal(taps.network.get_parameter("pos_embed"), state["pos_embed"])


def test_too_few_blocks_and_unknown_tags_are_refused() -> None:
    with pytest.raises(InputError) as shallow:
        BlockTaps(TINY, (6, 12), 224)
    with pytest.raises(InputError) as tag:
        BlockTaps(f"{TINY}.tv_in1k", (6, 9), 224)
    assert str(shallow.value) == f"backbone '{TINY}' has 12 blocks, expected at least 13."
    assert str(tag.value).startswith(f"timm knows no backbone '{TINY}.tv_in1k'; it knows {TINY}.augreg_in21k_ft_in1k")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_base_patch8_224.augreg_in21k_ft_in1k", True),
        (TINY, True),
        ("mobilenetv2_100", False),
        ("swin_tiny_patch4_window7_224", False),
        ("resnet49", False),
    ],
)
def test_a_vision_transformer_is_told_by_its_name(name: str, expected: bool) -> None:
    assert is_vision_transformer(name) is expected
