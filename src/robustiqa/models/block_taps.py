"""Feature extractors from timm's vision transformers, by name, tapped behind given blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.models.backbones import Backbone
from robustiqa.models.weights import load_strictly, read_weights


def is_vision_transformer(name: str) -> bool:
    """Whether timm's name, with or without a weight tag, is that of a plain vision transformer."""
    import timm  # seconds to import

    return name.partition(".")[0] in timm.list_models(module="vision_transformer")


class BlockTaps(Backbone):
    """A vision transformer that returns the tokens behind given blocks as maps; parameter names are timm's.

    Blocks behind the last tap, the final norm and the classifier are neither kept nor computed.

    Args:
        name: A timm model name with its weight tag, such as `vit_base_patch8_224.augreg_in21k_ft_in1k`.
        blocks: Which blocks to tap, counted from 0, rising.
        side: Of the images in pixels.

    Attributes:
        widths: Channels of each tap.
    """

    def __init__(self, name: str, blocks: Sequence[int], side: int) -> None:
        nn.Module.__init__(self)  # the base looks for taps by stride, and here all have the same
        import timm

        tagged = list(timm.models.get_arch_pretrained_cfgs(name.partition(".")[0]))
        if "." in name and name not in tagged:
            raise InputError(f"timm knows no backbone {name!r}; it knows {', '.join(tagged)}.")
        self.name = name
        self.blocks = list(blocks)
        self.side = side
        network: Any = timm.create_model(name, pretrained=False, img_size=side)
        if len(network.blocks) <= max(blocks):
            raise InputError(
                f"backbone {name!r} has {len(network.blocks)} blocks, expected at least {max(blocks) + 1}."
            )
        network.prune_intermediate_layers(self.blocks, prune_norm=True, prune_head=True)
        self.network = network
        self.widths = [network.embed_dim] * len(blocks)

    def forward(self, normalized: Tensor) -> list[Tensor]:
        """Tokens of normalized images (N, 3, side, side) as maps, class token left out; one a tap, (N, width, H, W)."""
        network: Any = self.network
        maps: list[Tensor] = network.forward_intermediates(normalized, indices=self.blocks, intermediates_only=True)
        return maps

    def load_imagenet(self, source: str | Path) -> None:
        """Loads pretrained weights of the whole classifier; entries behind the last tap are discarded.

        Args:
            source: A weights file with timm's names, or `timm` to let timm fetch the ones its name stands for.

        Raises:
            WeightsError: if an entry of the tapped part is missing.
        """
        if str(source) == "timm":
            import timm

            state = timm.create_model(self.name, pretrained=True, img_size=self.side).state_dict()
        else:
            state = read_weights(Path(source)).state
        wanted = self.network.state_dict()
        load_strictly(self.network, {name: state[name] for name in wanted if name in state}, f"backbone {self.name!r}")
