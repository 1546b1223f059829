"""DBCNN: one trunk knows content, another knows distortions; what a score is read from is how their features pair up.

Input: photographs of any size from 16x16 pixels on, ImageNet statistics. Output: MOS units (0..100), unclamped.
Cost: 15.3 M parameters and 33 GFLOP for 224x224 (132 for 448x448) on VGG-16; 1.1 M and 2.7 GFLOP on MobileNetV2.
Source: Zhang et al. 2020, "Blind Image Quality Assessment Using a Deep Bilinear Convolutional Neural Network": the
S-CNN, bilinear pooling, signed square root and L2 normalization, and training in two steps (`training.phases`).
Deviations: where paper and published code differ, the code: the mean over places instead of the sum, and the root of
B + 1e-8, see `signed_root`. Any timm backbone with features at stride 16. The last layer's bias starts at the middle of
the scale, which features of length 1 would take epochs to reach.
Not reproduced, of the published training: the S-CNN's running statistics, which move while its weights are frozen (here
frozen parts run as at test); the choice of the best epoch on test, in either phase.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustiqa.core.errors import InputError, WeightsError
from robustiqa.core.model import QualityModel
from robustiqa.models.backbones import Backbone
from robustiqa.models.precision import run_in_float32
from robustiqa.models.weights import KeyMap, load_strictly, read_weights

STRIDE = 16  # of both trunks
SCNN_LAYERS = (  # channels and stride of each convolution
    *((48, 1), (48, 2)),
    *((64, 1), (64, 2), (64, 1), (64, 2)),
    *((128, 1), (128, 1), (128, 2)),
)
SCNN_WIDTH = SCNN_LAYERS[-1][0]
SCNN_EXACT = 6  # modules up to stride 2, which autocast leaves in float32 as it does a backbone's
ROOT_OFFSET = 1e-8  # published code; keeps the slope of the root at 0 finite: 5000
MIDDLE = 50.0  # of the scale that a new network starts on

PUBLISHED_SCNN = KeyMap(  # a classifier of 39 distortions
    renames=(("features.", ""),),
    discards=("projection.", "classifier."),
)


class DBCNN(QualityModel):
    """The published network; a checkpoint's 91 entries load strictly under their published names.

    Args:
        backbone: timm name of the content trunk; `vgg16.tv_in1k` is the paper's, `mobilenetv2_100` a light one.
        root_offset: What is added under the square root. A larger one flattens the root near zero, and with it the
            steepest part of the score; see `docs/dbcnn.md` for what that does to gradients and to their estimates.
    """

    published_names: ClassVar[KeyMap] = KeyMap(
        renames=(
            ("features1.", "backbone.network.features_"),
            ("features2.", "scnn."),
        )
    )

    backbone_rate_parts: ClassVar[tuple[str, ...]] = ("backbone.", "scnn.")  # only the last layer is new

    def __init__(self, *, backbone: str = "vgg16.tv_in1k", root_offset: float = ROOT_OFFSET) -> None:
        super().__init__()
        if not root_offset > 0:
            raise InputError(f"root_offset must be greater than 0, got {root_offset}; the root has no slope at 0.")
        self.root_offset = root_offset
        self.backbone = Backbone(backbone, (STRIDE,))
        self.scnn = _distortion_trunk()
        for module in self.scnn[:SCNN_EXACT]:
            run_in_float32(module)
        self.fc = nn.Linear(self.backbone.widths[0] * SCNN_WIDTH, 1)
        nn.init.kaiming_normal_(self.fc.weight)
        nn.init.constant_(self.fc.bias, MIDDLE)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """Normalized photographs (N, 3, H, W) to scores (N,); what follows the trunks is float32 also under autocast.

        Raises:
            InputError: if a side is shorter than 16 pixels.
        """
        height, width = normalized.shape[-2:]
        if min(height, width) < STRIDE:
            raise InputError(f"DBCNN takes photographs of at least {STRIDE}x{STRIDE} pixels, got {width}x{height}.")
        (content,) = self.backbone(normalized)  # (N, C, rows, columns)
        distortion = self.scnn(normalized)  # (N, 128, rows or one more, columns or one more)
        with torch.autocast(normalized.device.type, enabled=False):
            dtype = self.fc.weight.dtype
            paired = bilinear_pool(content.to(dtype), distortion.to(dtype)).flatten(1)  # (N, C * 128)
            scores: Tensor = self.fc(F.normalize(signed_root(paired, self.root_offset)))
        return scores[:, 0]


def bilinear_pool(content: Tensor, distortion: Tensor) -> Tensor:
    """Mean over places of each product of a content and a distortion feature.

    Args:
        content: (N, C, H, W).
        distortion: (N, D, h, w), resized to H, W where the trunks round differently, corners onto corners.

    Returns:
        B of (N, C, D).

    Source: Zhang et al. 2020, bilinear pooling; the published code divides by the number of places.
    """
    if distortion.shape[-2:] != content.shape[-2:]:
        distortion = F.interpolate(distortion, content.shape[-2:], mode="bilinear", align_corners=True)
    return content.flatten(2) @ distortion.flatten(2).transpose(1, 2) / content[0, 0].numel()


def signed_root(values: Tensor, offset: float) -> Tensor:
    """sqrt(v + offset) where v is not negative, -sqrt(-v + offset) where it is; the same shape.

    Rectified trunks, as the paper's, make no negative values, and this is the published sqrt(B + 1e-8). A backbone that
    ends in a linear layer does; at 0 the root then steps by 2 sqrt(offset), what v itself moves it by within 4 offset.
    Its slope is at most 1 / (2 sqrt(offset)), reached at 0.
    """
    sign = torch.where(values < 0, -1.0, 1.0).to(values.dtype)
    return sign * (sign * values + offset).sqrt()


def _distortion_trunk() -> nn.Sequential:
    """The S-CNN without its classifier: nine 3x3 convolutions, each with batch norm and ReLU; strides round up."""
    modules: list[nn.Module] = []
    channels = 3
    for width, stride in SCNN_LAYERS:
        modules += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*modules)


def load_scnn_weights(model: nn.Module, source: str | Path) -> None:
    """Loads the published S-CNN into `model.scnn`; the end that tells distortions apart is discarded.

    Args:
        model: A DBCNN.
        source: The classifier's file: `scnn.pkl` of the authors' repository, or the same as safetensors.

    Raises:
        WeightsError: if the model has no S-CNN, or the file is not the one with batch norm.
    """
    if not isinstance(model, DBCNN):
        raise WeightsError(f"{type(model).__name__} has no S-CNN to load weights into.")
    state = PUBLISHED_SCNN.apply(read_weights(Path(source)).state)
    # the file is older than these counters, which batch norm with a fixed momentum does not read
    counters = {name: value for name, value in model.scnn.state_dict().items() if name.endswith("num_batches_tracked")}
    load_strictly(model.scnn, {**counters, **state}, "the S-CNN of 'dbcnn'")
