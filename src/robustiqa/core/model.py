"""What a quality model is: a module from images in [0, 1] to one score an image, higher is better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustiqa.core.calibration import Affine, Calibration
from robustiqa.core.checks import check_eval_mode, check_image_batch, check_pixels
from robustiqa.core.scale import ScoreScale as ScoreScale

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class QualityModel(nn.Module, ABC):
    """Base of every model: checks, normalizes, and puts the raw output on the scale of the weights.

    A subclass implements `raw_scores` on normalized input. Mean and standard deviation live here and nowhere
    else; they are buffers that follow the device and stay out of the state dict.

    Args:
        mean: Channel means subtracted from [0, 1] pixels.
        std: Channel standard deviations they are divided by; also what NT's `space="input"` step is measured in.

    Attributes:
        scale: The score scale of the weights that are loaded.
        calibration: Map from raw output to that scale; of the weights, too.
        crop_size: Side of the square input the network takes, or None if it takes any size.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("input_mean", torch.tensor(mean), persistent=False)
        self.register_buffer("input_std", torch.tensor(std), persistent=False)
        self.scale = ScoreScale()
        self.calibration: Calibration = Affine()
        self.crop_size: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Scores images, differentiably; checks shape and type but not values (see `score`).

        Args:
            images: (N, 3, H, W), RGB in [0, 1].

        Returns:
            Scores, (N,), on `scale`; higher is better.
        """
        check_image_batch(images)
        normalized = (images - self.input_mean[:, None, None]) / self.input_std[:, None, None]
        return self.calibration(self.raw_scores(normalized))

    @abstractmethod
    def raw_scores(self, normalized: Tensor) -> Tensor:
        """The network itself: normalized images (N, 3, H, W) to raw scores (N,)."""

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """Scores images with every check and without a gradient.

        Raises:
            InputError: if the images leave [0, 1] or the model is in training mode.
        """
        check_pixels(images)
        check_eval_mode(self)
        scores: Tensor = self(images)
        return scores


class ModelWrapper(QualityModel):
    """A quality model around another one (crop averaging, purification, smoothing): it can be attacked end to end.

    Scale and input statistics are the inner model's. A subclass overrides `forward`.
    """

    def __init__(self, model: QualityModel) -> None:
        super().__init__(model.input_mean.tolist(), model.input_std.tolist())
        self.model = model
        self.scale = model.scale
        self.train(model.training)

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Scores images (N, 3, H, W) in [0, 1] through the inner model; (N,)."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """The inner model's raw scores; wrappers work on pixels instead."""
        return self.model.raw_scores(normalized)
