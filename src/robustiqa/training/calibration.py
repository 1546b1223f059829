"""Slope and offset from raw scores to opinion scores, fitted on training photographs; they are saved with the weights.

Its use: a network trained with norm-in-norm has scores on a scale of its own. Validation and files have them on 0..100;
training itself goes on with the raw ones, so that nothing of a fit gets into a gradient.
Cost: a forward pass over up to a thousand training photographs, each time scores are looked at or weights are saved.
Source: Li, Jiang and Jiang 2020, "Norm-in-Norm Loss with Faster Convergence and Better Performance for Image Quality
Assessment": least squares after training.
Deviations: of a larger training part, a thousand photographs, evenly spaced in its order, determine the two numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from robustiqa.core.calibration import Affine, Calibration
from robustiqa.core.dataset import Dataset
from robustiqa.core.model import QualityModel
from robustiqa.metrics.checks import Array, check_vectors, is_constant
from robustiqa.training.validation import photo_scores

MOST_PHOTOS = 1000


def fit_affine(scores: Array, mos: Array) -> Affine:
    """The slope and offset that bring scores nearest to opinion scores, in squares.

    Args:
        scores: Raw scores of training photographs, (n,).
        mos: Their opinion scores, (n,).

    Returns:
        The fit; slope 0 and the mean opinion if all scores are equal.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scores, mos = check_vectors(scores=scores, mos=mos)
    if is_constant(scores):
        return Affine(slope=0.0, offset=float(mos.mean()))
    centered = scores - scores.mean()
    slope = float(centered @ mos / (centered @ centered))
    return Affine(slope=slope, offset=float(mos.mean() - slope * scores.mean()))


class Calibrator:
    """Puts a model's scores on the scale of the opinions for a while; fits anew whenever the weights have moved.

    Args:
        model: In training; its own calibration is the one to train with.
        photos: The training part; None leaves scores as they are, for losses that teach the scale themselves.
        device: Where the model is.
    """

    def __init__(self, model: QualityModel, photos: Dataset | None, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._photos = None if photos is None else photos.select(_evenly(photos, MOST_PHOTOS))
        self._fitted: tuple[int, Calibration] | None = None  # after how many optimizer steps

    @contextmanager
    def __call__(self, step: int) -> Iterator[None]:
        """Within it, scores are on the scale of the opinions, as the weights after `step` optimizer steps have them."""
        if self._photos is None:
            yield
            return
        if self._fitted is None or self._fitted[0] != step:
            self._fitted = (step, fit_affine(*photo_scores(self._model, self._photos, self._device)))
        raw, self._model.calibration = self._model.calibration, self._fitted[1]
        try:
            yield
        finally:
            self._model.calibration = raw


def _evenly(photos: Dataset, most: int) -> list[str]:
    """Keys of at most that many photographs, evenly spaced."""
    places = np.unique(np.linspace(0, len(photos) - 1, min(most, len(photos))).round().astype(int))
    return [photos.photos[place].key for place in places]
