"""HyperIQA: a hyper-network reads an image's content and writes the weights of the small network that judges it.

Input: 224x224 crops, ImageNet statistics. Output: MOS units (0..100), unclamped.
Cost: 27.4 M parameters and 8.6 GFLOP a crop on ResNet-50; 2.7 M and 0.6 GFLOP on MobileNetV2.
Source: Su et al. 2020, "Blindly Assess Image Quality in the Wild Guided by a Self-Adaptive Hyper Network", 3.2-3.4.
Deviations: five target layers where the paper draws four, as in the published code; any timm backbone with features
at strides 4, 8, 16 and 32, the hidden widths of the hyper branch following its last tap (a half, a quarter: 1024 and
512 on ResNet-50); per-image weights are applied as batched matrix products.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.models.backbones import Backbone
from robustiqa.models.weights import KeyMap

CROP = 224
CELLS = CROP // 32  # side of the last feature map, and window of every average pool
LOCAL_WIDTHS = (16, 32, 64)  # channels of the first three local-distortion taps
LOCAL_OUTPUTS = (16, 16, 16, 176)  # what each tap adds to the content vector
CONTENT = sum(LOCAL_OUTPUTS)  # 224
HYPER = 112  # channels of the map that the target weights are read from
TARGET_WIDTHS = (CONTENT, 112, 56, 28, 14, 1)


class LocalTap(nn.Module):
    """Local distortion features of one backbone stage: 1x1 convolution, 7x7 average pooling, linear."""

    def __init__(self, channels: int, cells: int, width: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.pool = nn.AvgPool2d(CELLS)
        self.fc = nn.Linear(width * (cells // CELLS) ** 2, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, cells, cells) to (N, outputs)."""
        pooled: Tensor = self.pool(self.conv(features)).flatten(1)
        outputs: Tensor = self.fc(pooled)
        return outputs


class HyperIQA(QualityModel):
    """The published network; a checkpoint's 355 entries load strictly under their published names.

    Args:
        backbone: timm name; `resnet50.tv_in1k` is the paper's, `mobilenetv2_100` and `resnet18` are light.
    """

    published_names: ClassVar[KeyMap] = KeyMap(
        renames=(
            ("res.lda1_pool.0.", "local_taps.0.conv."),
            ("res.lda2_pool.0.", "local_taps.1.conv."),
            ("res.lda3_pool.0.", "local_taps.2.conv."),
            ("res.lda1_fc.", "local_taps.0.fc."),
            ("res.lda2_fc.", "local_taps.1.fc."),
            ("res.lda3_fc.", "local_taps.2.fc."),
            ("res.lda4_fc.", "global_tap."),
            ("res.", "backbone.network."),
            ("conv1.", "hyper."),
            *((f"fc{layer}w_conv.", f"weight_maps.{layer - 1}.") for layer in (1, 2, 3, 4)),
            ("fc5w_fc.", "last_weight."),
            *((f"fc{layer}b_fc.", f"biases.{layer - 1}.") for layer in (1, 2, 3, 4, 5)),
        )
    )

    # the published code keeps the taps inside the backbone, and trains them at its rate
    backbone_rate_parts: ClassVar[tuple[str, ...]] = ("backbone.", "local_taps.", "global_tap.")

    def __init__(self, *, backbone: str = "resnet50.tv_in1k") -> None:
        super().__init__()
        self.crop_size = CROP
        self.backbone = Backbone(backbone)
        *stages, last = self.backbone.widths
        self.local_taps = nn.ModuleList(
            LocalTap(channels, CROP // stride, width, outputs)
            for channels, stride, width, outputs in zip(
                stages, (4, 8, 16), LOCAL_WIDTHS, LOCAL_OUTPUTS[:-1], strict=True
            )
        )
        self.global_tap = nn.Linear(last, LOCAL_OUTPUTS[-1])
        self.hyper = nn.Sequential(
            nn.Conv2d(last, last // 2, 1),
            nn.ReLU(),
            nn.Conv2d(last // 2, last // 4, 1),
            nn.ReLU(),
            nn.Conv2d(last // 4, HYPER, 1),
            nn.ReLU(),
        )
        layers = list(pairwise(TARGET_WIDTHS))
        self.weight_maps = nn.ModuleList(
            nn.Conv2d(HYPER, inputs * outputs // CELLS**2, 3, padding=1) for inputs, outputs in layers[:-1]
        )
        self.last_weight = nn.Linear(HYPER, TARGET_WIDTHS[-2])
        self.biases = nn.ModuleList(nn.Linear(HYPER, outputs) for _, outputs in layers)
        for part in (self.local_taps, self.global_tap, self.weight_maps, self.last_weight, self.biases):
            for name, weight in part.named_parameters():
                if name.endswith("weight"):
                    nn.init.kaiming_normal_(weight)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """Normalized crops (N, 3, 224, 224) to scores (N,); the head runs in float32 also under autocast."""
        if normalized.shape[-2:] != (CROP, CROP):
            raise InputError(
                f"HyperIQA takes {CROP}x{CROP} crops, got {tuple(normalized.shape[-2:])}; "
                "wrap it in CropAverage to score whole photographs."
            )
        maps = self.backbone(normalized)
        with torch.autocast(normalized.device.type, enabled=False):
            return self._head([features.to(self.global_tap.weight.dtype) for features in maps])

    def _head(self, maps: list[Tensor]) -> Tensor:
        last = maps[-1]
        content = [tap(features) for tap, features in zip(self.local_taps, maps[:-1], strict=True)]
        content.append(self.global_tap(last.mean((2, 3))))
        hyper = self.hyper(last)  # (N, 112, 7, 7)
        return self._target(torch.cat(content, 1), hyper)

    def _target(self, content: Tensor, hyper: Tensor) -> Tensor:
        """Runs each image's content vector (N, 224) through the network that its hyper map (N, 112, 7, 7) describes."""
        pooled = hyper.mean((2, 3))
        signal = content[:, None, :]  # (N, 1, 224)
        for (inputs, outputs), weights_of, bias_of in zip(
            pairwise(TARGET_WIDTHS[:-1]), self.weight_maps, self.biases[:-1], strict=True
        ):
            weights = weights_of(hyper).reshape(-1, outputs, inputs)  # (N, out, in)
            biases = bias_of(pooled)[:, None, :]
            signal = torch.sigmoid(torch.baddbmm(biases, signal, weights.transpose(1, 2)))  # (N, 1, out)
        weights = self.last_weight(pooled)
        score: Tensor = (signal[:, 0] * weights).sum(1) + self.biases[-1](pooled)[:, 0]
        return score
