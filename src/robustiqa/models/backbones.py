"""Feature extractors from timm, by name, tapped at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError, WeightsError
from robustiqa.models.precision import keep_first_maps_exact
from robustiqa.models.weights import load_strictly, read_weights

STRIDES = (4, 8, 16, 32)


class Backbone(nn.Module):
    """A timm network that returns its feature maps at given strides; parameter names are timm's.

    Args:
        name: A timm model name with its weight tag, such as `resnet50.tv_in1k`.
        strides: Input pixels a feature-map cell stands for, one a tap.

    Attributes:
        widths: Channels of each tap.
    """

    def __init__(self, name: str, strides: Sequence[int] = STRIDES) -> None:
        super().__init__()
        import timm  # seconds to import

        base = name.partition(".")[0]
        if base not in timm.list_models():
            raise InputError(f"timm knows no backbone {name!r}; `timm.list_models()` names them all.")
        tagged = list(timm.models.get_arch_pretrained_cfgs(base))
        if name != base and name not in tagged:
            raise InputError(f"timm knows no backbone {name!r}; it knows {', '.join(tagged)}.")
        with _without_memory():
            every_tap = _feature_info(timm.create_model(name, features_only=True))
            reductions = every_tap.reduction()
            missing = [stride for stride in strides if stride not in reductions]
            if missing:
                raise InputError(
                    f"backbone {name!r} has features at strides {reductions}, {missing[0]} is not among them."
                )
            taps = tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in strides)
        self.name = name
        self.network = timm.create_model(name, features_only=True, pretrained=False, out_indices=taps)
        _cut_behind_last_tap(self.network)
        keep_first_maps_exact(self.network, every_tap.get_dicts())
        self.widths: list[int] = _feature_info(self.network).channels()
        self._channels_come_last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"  # Swin and its kin

    def forward(self, normalized: Tensor) -> list[Tensor]:
        """Feature maps of normalized images (N, 3, H, W), one a stride, each (N, width, H / stride, W / stride)."""
        maps: list[Tensor] = self.network(normalized)
        return [features.movedim(-1, 1) for features in maps] if self._channels_come_last else maps

    def load_imagenet(self, source: str | Path) -> None:
        """Loads pretrained weights of the whole classifier; entries behind the last tap are discarded.

        Args:
            source: A weights file with timm's names, or `timm` to let timm fetch the ones its name stands for.

        Raises:
            WeightsError: if an entry of the tapped part is missing.
        """
        if str(source) == "timm":
            import timm

            state = timm.create_model(self.name, features_only=True, pretrained=True).state_dict()
        else:
            state = read_weights(Path(source)).state
        # timm flattens a list of layers when it taps it: the classifier's features.0.weight is called features_0.weight
        named = state | {name.replace(".", "_", 1): value for name, value in state.items()}
        wanted = self.network.state_dict()
        load_strictly(self.network, {name: named[name] for name in wanted if name in named}, f"backbone {self.name!r}")


def _feature_info(network: nn.Module) -> Any:
    """What timm says of the taps; nn.Module's own types hide it."""
    return network.feature_info


def _cut_behind_last_tap(network: nn.Module) -> None:
    """Drops the blocks behind the last tap, which timm's EfficientNet and MobileNet families keep and run."""
    parent, _, place = _feature_info(network).get_dicts()[-1]["module"].rpartition(".")
    blocks = getattr(network, parent, None)
    if isinstance(blocks, nn.Sequential) and place.isdigit():
        setattr(network, parent, blocks[: int(place) + 1])


@contextmanager
def _without_memory() -> Iterator[None]:
    """Builds a throw-away network without memory and without drawing from the global generator."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        yield


def load_backbone_weights(model: nn.Module, source: str | Path) -> None:
    """Loads ImageNet weights into `model.backbone`; see `Backbone.load_imagenet`.

    Raises:
        WeightsError: if the model has no timm backbone.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, Backbone):
        raise WeightsError(f"{type(model).__name__} has no timm backbone to load ImageNet weights into.")
    backbone.load_imagenet(source)
