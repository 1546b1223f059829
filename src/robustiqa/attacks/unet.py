"""The generator of FACPA and of generative UAP: a U-Net from images to perturbations.

Source: Isola et al. 2017 (pix2pix), the generator; its widths and depth as Shumitskaya et al. 2023 have it: 8 levels of
width 64, 128, 256, 512, 512, ...
Deviations: depth and width can be chosen, for small machines. Dropout acts in training only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustiqa.attacks.learned import tiled
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.errors import InputError

LEVELS, WIDTH = 8, 64
WIDEST = 8  # times the first level's width
LEAK = 0.2
DROPOUT, DROPOUT_LEVELS = 0.5, 3  # the first of the way up


class UNet(nn.Module):
    """Images (N, 3, H, W) to changes in [-1, 1] of the same shape; H and W are multiples of 2^levels.

    Args:
        levels: Halvings of the image.
        width: Channels of the first level; each next one has twice as many, up to 8 times.

    Raises:
        InputError: unless both are whole numbers of at least 1, levels at least 2.
    """

    def __init__(self, levels: int = LEVELS, width: int = WIDTH) -> None:
        super().__init__()
        check_positive_integer(levels, "levels")
        check_positive_integer(width, "width")
        if levels < 2:
            raise InputError(f"levels must be at least 2, got {levels}.")
        widths = [width * min(2**level, WIDEST) for level in range(levels)]
        ways_down = zip([3, *widths], widths, strict=False)
        ways_up = zip([widths[-1], *(2 * wide for wide in widths[-2::-1])], [*widths[-2::-1], 3], strict=True)
        self.down = nn.ModuleList(nn.Conv2d(old, new, 4, stride=2, padding=1) for old, new in ways_down)
        self.up = nn.ModuleList(nn.ConvTranspose2d(old, new, 4, stride=2, padding=1) for old, new in ways_up)

    @property
    def multiple(self) -> int:
        """What height and width must be multiples of."""
        return 1 << len(self.down)

    def forward(self, images: Tensor) -> Tensor:
        """Way down, way up with what each level saw on the way down, tanh."""
        last = len(self.down) - 1
        features, seen = images, []
        for level, conv in enumerate(self.down):
            features = conv(F.leaky_relu(features, LEAK) if level else features)
            if 0 < level < last:
                features = F.instance_norm(features)
            seen.append(features)
        for place, conv in enumerate(self.up):
            if place:
                features = torch.cat([features, seen[last - place]], 1)
            features = conv(F.relu(features))
            if place < last:
                features = F.instance_norm(features)
                if place < DROPOUT_LEVELS:
                    features = F.dropout(features, DROPOUT, self.training)
        return features.tanh()

    def change(self, images: Tensor) -> Tensor:
        """As `forward` for images of any size: they are cut to multiples, and what comes out is tiled to their size.

        A side shorter than one multiple is tiled up to it first.
        """
        height, width = images.shape[-2:]
        inside = (max(side // self.multiple, 1) * self.multiple for side in (height, width))
        return tiled(self(tiled(images, *inside)), height, width)

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> UNet:
        """The network that a state dict is of, without weights in it yet: depth and width are read off the shapes.

        Raises:
            InputError: if it is of no U-Net.
        """
        levels = len({name for name in state if name.startswith("down.") and name.endswith(".weight")})
        first = state.get("down.0.weight")
        if levels < 2 or first is None:
            raise InputError("a state dict of another network")
        with torch.random.fork_rng(devices=[]):
            return UNet(levels, len(first))
