"""LinearityIQA: two stages of a classifier, pooled over the whole photograph, through a few linear layers to a score.

Input: photographs of any size, ImageNet statistics; the published protocol resizes them to 664x498 (KonIQ) or trains on
498x498 crops. Output: any scale. The network is trained with the norm-in-norm loss, which a slope above 0 and an offset
leave as it is; the k and b that least squares finds on the training photographs belong to the weights and bring it to
0..100 (`robustiqa.training.calibration`).
Cost: 90.5 M parameters and 223 GFLOP for 664x498 on ResNeXt-101-32x8d; 12.5 M and 24 GFLOP on ResNet-18.
Source: Li, Jiang and Jiang 2020, "Norm-in-Norm Loss with Faster Convergence and Better Performance for Image Quality
Assessment": the network, the loss (`robustiqa.training.norm_in_norm`) and the mapping after training.
Deviations: any timm backbone with features at strides 16 and 32; spatial pyramids and statistics other than the
average, which the published code can pool with, are left out, for its released weights use neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustiqa.core.calibration import Affine, Calibration
from robustiqa.core.errors import WeightsError
from robustiqa.core.model import QualityModel
from robustiqa.models.backbones import Backbone
from robustiqa.models.weights import KeyMap

STRIDES = (16, 32)  # of the last two stages
WIDTHS = (1024, 256, 64)  # of the layers between a stage's pooled channels and its score


class ScoreHeads(nn.Module):
    """The photograph's score from both stages together, and one from each stage by itself, which only training uses.

    Args:
        channels: Of each stage.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.reductions = nn.ModuleList(_reduction(width) for width in channels)
        self.stage_scores = nn.ModuleList(nn.Linear(WIDTHS[-1], 1) for _ in channels)
        self.score = nn.Linear(len(channels) * WIDTHS[-1], 1)

    def forward(self, pooled: list[Tensor]) -> Tensor:
        """Pooled stages, each (N, channels), to (N, 3): the score, then those of stride 16 and of stride 32."""
        reduced = [reduction(features) for reduction, features in zip(self.reductions, pooled, strict=True)]
        by_stage = [score(features) for score, features in zip(self.stage_scores, reduced, strict=True)]
        return torch.cat([self.score(torch.cat(reduced, 1)), *by_stage], 1)


class LinearityIQA(QualityModel):
    """The published network; a checkpoint's 672 entries, its k and its b load strictly under their published names.

    Batch norm in its heads makes a training batch of one impossible. With batch statistics it also hides from a
    training penalty whatever a perturbation does to all photographs alike: freeze them when the penalty begins.

    Args:
        backbone: timm name; `resnext101_32x8d.tv_in1k` is the paper's, `resnet18.tv_in1k`, `resnet50.tv_in1k` and
            `mobilenetv2_100` are lighter.

    Attributes:
        score_heads: Gives (N, 3) raw scores, of which `raw_scores` returns the first; the loss wants all of them.
    """

    published_names: ClassVar[KeyMap] = KeyMap(
        renames=(
            ("features.0.", "backbone.network.conv1."),
            ("features.1.", "backbone.network.bn1."),
            *((f"features.{stage + 3}.", f"backbone.network.layer{stage}.") for stage in (1, 2, 3, 4)),
            *((f"dr{place + 6}.", f"score_heads.reductions.{place}.") for place in (0, 1)),
            *((f"regr{place + 6}.", f"score_heads.stage_scores.{place}.") for place in (0, 1)),
            ("regression.", "score_heads.score."),
        )
    )

    def __init__(self, *, backbone: str = "resnext101_32x8d.tv_in1k") -> None:
        super().__init__()
        self.backbone = Backbone(backbone, STRIDES)
        self.score_heads = ScoreHeads(self.backbone.widths)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """Normalized photographs (N, 3, H, W) to scores (N,); the heads run in float32 also under autocast."""
        maps = self.backbone(normalized)
        with torch.autocast(normalized.device.type, enabled=False):
            dtype = self.score_heads.score.weight.dtype
            scores: Tensor = self.score_heads([features.to(dtype).mean((2, 3)) for features in maps])  # (N, 3)
        return scores[:, 0]

    @staticmethod
    def published_calibration(beside: Mapping[str, Any]) -> Calibration:
        """`k[0] * score + b[0]` of what stands beside a published state dict; the identity if neither stands there.

        Raises:
            WeightsError: if only one does, or they are not lists of numbers.
        """
        if "k" not in beside and "b" not in beside:
            return Affine()
        try:
            return Affine(slope=float(beside["k"][0]), offset=float(beside["b"][0]))
        except (KeyError, IndexError, TypeError, ValueError):
            raise WeightsError(
                "weights for 'linearityiqa' have a score mapping that can't be read; expected lists of numbers k and b."
            ) from None


def _reduction(channels: int) -> nn.Sequential:
    """(N, channels) to (N, 64): linear layers, each with batch norm, nothing between them, rectified at the end."""
    layers: list[nn.Module] = []
    for width in WIDTHS:
        layers += [nn.Linear(channels, width), nn.BatchNorm1d(width)]
        channels = width
    return nn.Sequential(*layers, nn.ReLU())
