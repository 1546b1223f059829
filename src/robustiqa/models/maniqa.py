"""MANIQA: a transformer's tokens attend to one another across channels, then across places, and vote patch by patch.

Input: 224x224 crops, in the statistics the backbone was trained with (.5 and .5 for the paper's). Output: never
negative; 0..100 as built and trained here, 0..1 in the published weights.
Cost: 114.2 M parameters and 277 GFLOP a crop on ViT-B/8; 3.6 M and 2.0 GFLOP on MobileNetV2 (8.0 on the finer grid).
Source: Yang et al. 2022, "MANIQA: Multi-dimension Attention Network for No-Reference Image Quality Assessment": the
transposed attention block, the scale Swin transformer block, patch-weighted quality prediction.
Deviations: where paper and published code differ, the code, above all in the scramble of `TransposedAttention`. What
lies behind the last tap, and two convolutions that nothing called, are left out. Other backbones (see `MANIQA`). The
score branch starts on 0..100 around 50: this package's labels, and every patch's last ReLU open, which torch's own
start closes for whole networks under some seeds.
Not reproduced, of the published training: the learning rate that goes from 1e-5 to 0 and back every 100 steps (50
epochs of a cosine schedule, counted in steps); the horizontal flip that turns images upside down (it reverses the
rows of a channel, row, column array); labels brought to 0..1 by the extremes of each part of the split for itself,
so that equal labels mean unequal scores; the choice of the best epoch; a last incomplete validation batch left out.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.models.backbones import Backbone
from robustiqa.models.block_taps import BlockTaps, is_vision_transformer
from robustiqa.models.weights import KeyMap

CROP = 224
BLOCKS = (6, 7, 8, 9)  # tapped blocks of a vision transformer, counted from 0
PAPER_GRID, LIGHT_GRID = 28, 16  # side of the token grid on a vision transformer, and on any other backbone
PAPER_WIDTH, LIGHT_WIDTH = 768, 128  # channels of the first stage on a vision transformer, and on any other backbone
WINDOW = 4  # side of a Swin window in tokens
HEADS = 4
SWIN_LAYERS = 2  # a stage
RESIDUAL_SCALE = 0.8  # published KonIQ and KADID weights; those for PIPAL were trained with .13
DROPOUT = 0.1
DROP_PATHS = (0.0, 0.1 / 3, 0.2 / 3, 0.1)  # of a stage's Swin blocks, one after another
MIDDLE, SPAN = 50.0, 100.0  # of the scale that a new network starts on


class TransposedAttention(nn.Module):
    """Self-attention among channels: each is a query, a key and a value over all token places.

    The published code transposes the result to (places, channels) and reads that memory as (channels, places), which
    moves values between channels and places. The published weights were trained so.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.query = nn.Linear(tokens, tokens)
        self.key = nn.Linear(tokens, tokens)
        self.value = nn.Linear(tokens, tokens)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, channels: Tensor) -> Tensor:
        """(N, C, tokens) to the same shape."""
        query, key, value = self.query(channels), self.key(channels), self.value(channels)
        attended = F.scaled_dot_product_attention(query, key, value)  # softmax(q k' / sqrt(tokens)) v
        scrambled = attended.transpose(1, 2).reshape(channels.shape)
        moved: Tensor = channels + self.dropout(scrambled)
        return moved


class ScaleSwinLayer(nn.Module):
    """Two Swin blocks, the second with shifted windows, and a convolution; scaled before it is added."""

    def __init__(self, width: int, hidden: int, drop_paths: tuple[float, ...], grid: int = PAPER_GRID) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformerBlock  # seconds to import

        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(
                    width,
                    (grid, grid),
                    num_heads=HEADS,
                    window_size=WINDOW,
                    shift_size=shift,
                    mlp_ratio=hidden / width,
                    drop_path=drop_path,
                )
                for shift, drop_path in zip((0, WINDOW // 2), drop_paths, strict=True)
            )
        )
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, width, grid, grid) to the same shape."""
        mixed = self.blocks(maps.movedim(1, -1)).movedim(-1, 1)
        return maps + RESIDUAL_SCALE * F.relu(self.conv(mixed))


class Stage(nn.Module):
    """Attention across channels, fewer channels, attention across places.

    Args:
        channels: That come in.
        width: Channels that go out.
        hidden: Width of the Swin blocks' perceptrons.
        grid: Side of the token grid.
    """

    def __init__(self, channels: int, width: int, hidden: int, grid: int = PAPER_GRID) -> None:
        super().__init__()
        self.attention = nn.Sequential(TransposedAttention(grid**2), TransposedAttention(grid**2))
        self.reduce = nn.Conv2d(channels, width, 1)
        self.dropout = nn.Dropout(DROPOUT)
        self.layers = nn.Sequential(
            *(
                ScaleSwinLayer(width, hidden, DROP_PATHS[2 * place : 2 * place + 2], grid)
                for place in range(SWIN_LAYERS)
            )
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, grid, grid) to (N, width, grid, grid)."""
        attended = self.attention(maps.flatten(2)).view_as(maps)
        placed: Tensor = self.layers(self.dropout(self.reduce(attended)))
        return placed


class MANIQA(QualityModel):
    """The published network; its checkpoints' 316 entries load strictly under their published names.

    Args:
        backbone: timm name; `vit_base_patch8_224.augreg_in21k_ft_in1k` is the paper's. A vision transformer is tapped
            behind blocks 6 to 9, any other network at strides 4, 8, 16 and 32, as `mobilenetv2_100`, the light one.
        width: Channels of the first stage, a multiple of 8; the second has half. None for 768 on a vision transformer
            (the paper's) and 128 on any other backbone.
        grid: Side of the token grid, a multiple of 4; finer taps are averaged to it, coarser ones interpolated. None
            for 28 on a vision transformer (the paper's) and 16 on any other backbone.
    """

    published_scale: ClassVar[ScoreScale] = ScoreScale(0.0, 1.0)

    published_names: ClassVar[KeyMap] = KeyMap(
        renames=(
            ("vit.", "backbone.network."),
            *(
                (f"tablock{stage}.{place}.c_{letter}.", f"stages.{stage - 1}.attention.{place}.{name}.")
                for stage in (1, 2)
                for place in (0, 1)
                for letter, name in (("q", "query"), ("k", "key"), ("v", "value"))
            ),
            *((f"conv{stage}.", f"stages.{stage - 1}.reduce.") for stage in (1, 2)),
            *((f"swintransformer{stage}.layers.", f"stages.{stage - 1}.layers.") for stage in (1, 2)),
            ("fc_score.", "score_branch."),
            ("fc_weight.", "weight_branch."),
        ),
        discards=(
            *("vit.blocks.10.", "vit.blocks.11.", "vit.norm.", "vit.head."),  # behind the last tap
            *("swintransformer1.downsample.", "swintransformer2.downsample."),  # never called
            *(  # follow from the architecture
                f"swintransformer{stage}.layers.{layer}.blocks.{block}.{buffer}"
                for stage in (1, 2)
                for layer in range(SWIN_LAYERS)
                for block in (0, 1)
                for buffer in ("attn_mask", "attn.relative_position_index")
            ),
        ),
    )

    def __init__(
        self,
        *,
        backbone: str = "vit_base_patch8_224.augreg_in21k_ft_in1k",
        width: int | None = None,
        grid: int | None = None,
    ) -> None:
        transformer = is_vision_transformer(backbone)
        width = (PAPER_WIDTH if transformer else LIGHT_WIDTH) if width is None else width
        if width < 2 * HEADS or width % (2 * HEADS):
            raise InputError(f"width must be a positive multiple of {2 * HEADS}, got {width}.")
        grid = (PAPER_GRID if transformer else LIGHT_GRID) if grid is None else grid
        if grid < WINDOW or grid % WINDOW:
            raise InputError(f"grid must be a positive multiple of {WINDOW}, got {grid}.")
        taps = BlockTaps(backbone, BLOCKS, CROP) if transformer else Backbone(backbone)
        statistics: Any = taps.network.pretrained_cfg
        super().__init__(statistics["mean"], statistics["std"])
        self.crop_size = CROP
        self.grid = grid
        self.backbone = taps
        self.stages = nn.ModuleList(
            (Stage(sum(taps.widths), width, width, grid), Stage(width, width // 2, width, grid))
        )
        self.score_branch = _branch(width // 2)
        self.weight_branch = _branch(width // 2)
        with torch.no_grad():
            self.score_branch.get_parameter("3.weight").mul_(SPAN)
            self.score_branch.get_parameter("3.bias").fill_(MIDDLE)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """Normalized crops (N, 3, 224, 224) to scores (N,); the branches run in float32 also under autocast."""
        if normalized.shape[-2:] != (CROP, CROP):
            raise InputError(
                f"MANIQA takes {CROP}x{CROP} crops, got {tuple(normalized.shape[-2:])}; "
                "wrap it in CropAverage to score whole photographs."
            )
        maps = torch.cat([_on_grid(features, self.grid) for features in self.backbone(normalized)], 1)
        for stage in self.stages:
            maps = stage(maps)
        patches = maps.flatten(2).transpose(1, 2)  # (N, patches, width / 2)
        with torch.autocast(normalized.device.type, enabled=False):
            return self._vote(patches.to(self.score_branch.get_parameter("0.weight").dtype))

    def _vote(self, patches: Tensor) -> Tensor:
        """Mean of the patches' scores, by the patches' weights; (N, patches, width / 2) to (N,)."""
        scores = F.relu(self.score_branch(patches)).squeeze(-1)  # (N, patches)
        weights = torch.sigmoid(self.weight_branch(patches)).squeeze(-1)
        return (scores * weights).sum(1) / weights.sum(1)


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(width, 1))


def _on_grid(features: Tensor, grid: int) -> Tensor:
    """Feature maps (N, C, rows, columns) on the token grid: finer ones averaged, coarser ones interpolated."""
    side = features.shape[-1]
    if side == grid:
        return features
    if side > grid:
        return F.adaptive_avg_pool2d(features, grid)
    return F.interpolate(features, (grid, grid), mode="bilinear", align_corners=False)
