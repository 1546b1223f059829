"""Fits from raw scores to opinion scores, to go into a weights file: a known or seen range, a line, or a logistic.

Its use: a published checkpoint, a loss that knows no scale, or a model trained on other opinions has scores on a
scale of its own. A fit brings them to 0..100 of a dataset, and from then on belongs to the weights.
Fit on photographs that no result is reported on: the validation part. What is degenerate is refused: equal scores,
fewer photographs than it takes to determine the fit, scores that run against the stated direction.
Cost: a forward pass over the photographs.
Source: Li, Jiang and Jiang 2020 (LinearityIQA) for the line by least squares; Video Quality Experts Group 2000 for the
logistic; the range of clean scores is what the MSU robustness benchmark and others scale by.
Deviations: a photograph's score is the mean over its crops of the calibrated crop scores, so that is what the logistic
is fitted through; for one score a photograph this is the usual fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from robustiqa.core.calibration import Affine, Calibration, Logistic, Rescale
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError, InputError, UnknownNameError, WorkFailedError
from robustiqa.core.model import QualityModel
from robustiqa.core.registry import did_you_mean
from robustiqa.metrics.checks import Array, check_vectors, is_constant
from robustiqa.metrics.mapping import FEWEST_SCORES, crop_means, fit_logistic
from robustiqa.models.crop_average import CropAverage
from robustiqa.training.calibration import fit_affine

FEWEST = {"affine": 3, "logistic": FEWEST_SCORES, "scale": 3}  # one more than the parameters
FLAT = 0.1  # of a logistic's largest slope among the photographs; below it, a gradient tells of the map first


@dataclass(frozen=True)
class RawScores:
    """What a network says of labeled photographs before any calibration.

    Attributes:
        scores: Of every crop, photograph after photograph, (sum(crops),).
        crops: How many each photograph has, (n,).
        mos: Opinion scores on 0..100, (n,).
    """

    scores: Array
    crops: tuple[int, ...]
    mos: Array

    @property
    def means(self) -> Array:
        """Each photograph's mean raw score, (n,)."""
        return crop_means(self.scores, self.crops)

    def calibrated(self, calibration: Calibration) -> Array:
        """The photographs' scores as a model with this calibration gives them, (n,)."""
        return crop_means(calibration(torch.tensor(self.scores)).numpy(), self.crops)


def raw_scores(
    model: QualityModel,
    photos: Dataset,
    *,
    small: str = "refuse",
    progress: Callable[[int, int], None] | None = None,
) -> RawScores:
    """Scores photographs without the model's calibration; crop by crop where it takes crops, on the covering grid.

    Args:
        model: In eval mode, unwrapped; comes back as it was.
        photos: With opinion scores.
        small: What to do with photographs smaller than a crop: `refuse` or `pad`.
        progress: Called with (done, total) after each photograph.

    Raises:
        DataError: if a photograph has no opinion score.
        InputError: if one is smaller than a crop and `small` is `refuse`.
    """
    if not photos.has_mos:
        raise DataError(f"dataset {photos.name!r} has photographs without opinion scores; a calibration needs them.")
    whole = None if model.crop_size is None else CropAverage(model, small=small)
    device = model.input_mean.device
    own, model.calibration = model.calibration, Affine()
    found = []
    try:
        for place, photo in enumerate(photos):
            image = photo.read()[None].to(device)
            found.append(model.score(image if whole is None else whole.crops(image)[0]).double().cpu().numpy())
            if progress is not None:
                progress(place + 1, len(photos))
    finally:
        model.calibration = own
    mos = np.array([photo.mos for photo in photos], dtype=np.float64)
    return RawScores(np.concatenate(found), tuple(len(scores) for scores in found), mos)


def fit_calibration(kind: str, raw: RawScores, *, lower_is_better: bool = False) -> Calibration:
    """Fits a map from raw scores to opinion scores.

    Args:
        kind: `scale` (the lowest and highest score of a photograph become 0 and 100), `affine` (least squares) or
            `logistic` (four parameters, least squares; see `robustiqa.core.calibration.Logistic` on what it hides).
        raw: Of photographs that no result is reported on.
        lower_is_better: The direction of the raw scores; calibrated ones are always higher-is-better.

    Raises:
        UnknownNameError: if there is no such kind.
        InputError: if scores or opinions are not finite or all equal, the photographs are too few, or the
            scores run against the stated direction.
        WorkFailedError: if no logistic can be fitted.
    """
    if kind not in FEWEST:
        raise UnknownNameError(f"unknown fit {kind!r}{did_you_mean(kind, list(FEWEST))} Known: {', '.join(FEWEST)}.")
    means, mos = check_vectors(scores=raw.means, mos=raw.mos)
    if len(means) < FEWEST[kind]:
        raise InputError(f"fit {kind!r} takes at least {FEWEST[kind]} photographs, got {len(means)}.")
    for what, values in (("raw scores", means), ("opinion scores", mos)):
        if is_constant(values):
            raise InputError(f"the {len(values)} {what} are all equal ({values[0]:g}); nothing can be fitted to them.")
    line = fit_affine(means, mos)
    _check_direction(line.slope, lower_is_better)
    if kind == "affine":
        return line
    if kind == "scale":
        return Rescale(float(means.min()), float(means.max()), lower_is_better)
    return _logistic(raw, lower_is_better)


def flat_share(calibration: Calibration, raw: RawScores) -> float:
    """Share of photographs, in [0, 1], where the map has less than a tenth of its largest slope among them.

    There, gradient norms and changes under attack are small because of the map; 0 for maps that do not saturate.
    """
    if not isinstance(calibration, Logistic):
        return 0.0
    slopes = crop_means(calibration.slope_share(torch.tensor(raw.scores)).numpy(), raw.crops)
    return float((slopes < FLAT * slopes.max()).mean())


def _check_direction(slope: float, lower_is_better: bool) -> None:
    if slope < 0 and not lower_is_better:
        raise InputError(
            "raw scores fall as opinions rise; if low ones mean good photographs, say so with lower_is_better "
            "(--lower-is-better), else check labels and weights."
        )
    if slope >= 0 and lower_is_better:
        raise InputError(
            "raw scores rise with opinions, against lower_is_better; leave it out, or check labels and weights."
        )


def _logistic(raw: RawScores, lower_is_better: bool) -> Logistic:
    sign = -1 if lower_is_better else 1
    found = fit_logistic(sign * raw.scores, raw.mos, crops=raw.crops)
    if found is None:
        raise WorkFailedError(
            "no logistic fits: the search did not converge, or the curve falls or is a step between fewer than "
            f"{FEWEST_SCORES} photographs; take fit 'affine'."
        )
    return replace(found, center=sign * found.center, width=sign * found.width)
