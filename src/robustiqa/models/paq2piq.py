"""PaQ-2-PiQ: a classifier's last features, pooled over the whole photograph, through two linear layers to a score.

What the universal perturbation of the NT paper was made against. Without the published weights, a network trained here
on any backbone (`mobilenetv2_100`) stands in for it.
Input: photographs of any size, plain [0, 1] pixels: nothing is subtracted or divided. Output: MOS units (0..100),
unclamped; the published weights give natural photographs about 58 to 84.
Cost: 11.7 M parameters and 3.6 GFLOP for 224x224 on ResNet-18; 2.1 M and 0.6 GFLOP on MobileNetV2.
Source: Ying et al. 2020, "From Patches to Pictures (PaQ-2-PiQ): Mapping the Perceptual Space of Picture Quality": the
RoIPool model. Shumitskaya et al. 2022, "Universal Perturbation Attack on Differentiable No-Reference Image- and
Video-Quality Metrics": attacked without RoI pooling.
Deviations: the only region is the whole photograph, no patches; any timm backbone with features at stride 32. The last
layer's bias starts at the middle of the scale.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from robustiqa.core.model import QualityModel
from robustiqa.models.backbones import Backbone
from robustiqa.models.weights import KeyMap

STRIDE = 32
REGION_CELLS = 2  # a region is pooled to 2x2
HIDDEN = 512
DROPOUTS = (0.25, 0.5)
MIDDLE = 50.0  # of the scale that a new network starts on


class PaQ2PiQ(QualityModel):
    """The published network; a checkpoint's 134 entries load strictly under their published names.

    Args:
        backbone: timm name; `resnet18.tv_in1k` is the paper's.
        roi_pooling: Whether the photograph is pooled as a region, to the largest features of its four quarters, before
            their mean and maximum are taken, as published scores are; without, mean and maximum are those of all
            places. RoI pooling can be differentiated once only (torchvision), so the `double_backward` estimator
            needs a model without it.
    """

    published_names: ClassVar[KeyMap] = KeyMap(
        renames=(
            ("body.0.", "backbone.network.conv1."),
            ("body.1.", "backbone.network.bn1."),
            *((f"body.{stage + 3}.", f"backbone.network.layer{stage}.") for stage in (1, 2, 3, 4)),
            *((f"head.{place + 2}.", f"regression.{place}.") for place in (0, 2, 4, 6)),  # pooling, flattening: 0, 1
        )
    )

    def __init__(self, *, backbone: str = "resnet18.tv_in1k", roi_pooling: bool = True) -> None:
        super().__init__(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.roi_pooling = roi_pooling
        self.backbone = Backbone(backbone, (STRIDE,))
        pooled = 2 * self.backbone.widths[0]
        last = nn.Linear(HIDDEN, 1)
        nn.init.constant_(last.bias, MIDDLE)
        self.regression = nn.Sequential(
            nn.BatchNorm1d(pooled),
            nn.Dropout(DROPOUTS[0]),
            nn.Linear(pooled, HIDDEN),
            nn.ReLU(),
            nn.BatchNorm1d(HIDDEN),
            nn.Dropout(DROPOUTS[1]),
            last,
        )

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """Photographs (N, 3, H, W) to scores (N,); what follows the backbone is float32 also under autocast."""
        (features,) = self.backbone(normalized)  # (N, C, H / 32, W / 32)
        with torch.autocast(normalized.device.type, enabled=False):
            features = features.to(self.regression.get_parameter("2.weight").dtype)
            if self.roi_pooling:
                features = whole_photo_roi(features, *normalized.shape[-2:])
            pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)  # (N, 2 C)
            scores: Tensor = self.regression(pooled)
        return scores[:, 0]


def whole_photo_roi(features: Tensor, height: int, width: int) -> Tensor:
    """RoI pooling of the region that is the whole photograph; (N, C, H / 32, W / 32) to (N, C, 2, 2).

    Args:
        features: At stride 32.
        height: Of the photographs, in pixels.
        width: Likewise.
    """
    from torchvision.ops import roi_pool  # seconds to import

    place = torch.arange(len(features), dtype=features.dtype, device=features.device)
    corners = features.new_tensor([0, 0, width, height]).expand(len(features), 4)
    regions = torch.cat([place[:, None], corners], 1)  # (N, 5)
    pooled: Tensor = roi_pool(features, regions, REGION_CELLS, spatial_scale=1 / STRIDE)
    return pooled
