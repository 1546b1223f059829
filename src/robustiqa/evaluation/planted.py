"""Planted defects: toy defenses that are known to be hollow, for an evaluation to prove itself on.

Each defense here defeats an attack without withstanding it. The self-test wraps a small honest model in each and
asks whether the diagnostics call the defect by its name; the honest model and random linear ones must raise nothing.

Source: Zimmermann et al. 2022, "Increasing confidence in adversarial robustness evaluations": of 13 evaluations, 11
missed a weakness that was planted for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustiqa.core.attack import clean_pass
from robustiqa.core.calibration import Affine
from robustiqa.core.model import ModelWrapper, QualityModel
from robustiqa.core.seeds import generator
from robustiqa.evaluation.probe import examine

SIDE = 16
PHOTOS = 12
REACH = 10.0  # score points of 100 that the first-order estimate gives 4/255 on the toys
LINEAR_MODELS = 20
PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
HONEST = "honest"


class ToyLinear(QualityModel):
    """The sum of the pixels times random slopes.

    Args:
        seed: Of the slopes.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(*PLAIN)
        slopes = torch.randn(3, SIDE, SIDE, generator=generator(seed, "slopes"))
        self.slopes = nn.Parameter(slopes)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """One weighted sum an image."""
        return (self.slopes * normalized).flatten(1).sum(1)


class ToySmooth(QualityModel):
    """A layer of small filters and a soft bend, averaged with random weights over the image.

    Args:
        seed: Of the weights.
    """

    def __init__(self, seed: int, width: int = 8) -> None:
        super().__init__(*PLAIN)
        draw = generator(seed, "smooth")
        self.filters = nn.Parameter(torch.randn(width, 3, 3, 3, generator=draw) / 5)
        self.weights = nn.Parameter(torch.randn(width, SIDE - 2, SIDE - 2, generator=draw))

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """Bent filter responses, weighted."""
        bent = torch.tanh(nn.functional.conv2d(normalized - 0.5, self.filters))  # (N, width, H - 2, W - 2)
        return (self.weights * bent).flatten(1).sum(1)


class MaskedGradient(ModelWrapper):
    """Scores as the model, but the gradient is another model's: steps lead nowhere."""

    def forward(self, images: Tensor) -> Tensor:
        """The model's scores with a decoy's gradient."""
        decoy = 1000 * (torch.linspace(0, 60, images[0].numel(), device=images.device).sin() * images.flatten(1)).mean(
            1
        )
        scores: Tensor = self.model(images).detach() + decoy - decoy.detach()
        return scores


class Randomized(ModelWrapper):
    """Adds a draw to every score: an attack's small steps drown in it."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__(model)
        self.draw = generator("randomized")

    def forward(self, images: Tensor) -> Tensor:
        """The model's scores and noise of half a point."""
        noise = 0.5 * torch.randn(len(images), generator=self.draw)
        scores: Tensor = self.model(images) + noise.to(images)
        return scores


class Saturated(ModelWrapper):
    """A sigmoid so steep that most scores stick to an end of the scale."""

    def forward(self, images: Tensor) -> Tensor:
        """Nearly 0 or nearly 100."""
        scores: Tensor = 100 * torch.sigmoid(4 * (self.model(images) - 50))
        return scores


class Shrunk(ModelWrapper):
    """A tenth of every deviation from 50: attacks move it less, and so does everything else."""

    def forward(self, images: Tensor) -> Tensor:
        """Scores between 45 and 55."""
        scores: Tensor = 50 + 0.1 * (self.model(images) - 50)
        return scores


class Quantized(ModelWrapper):
    """Scores rounded to whole tens: flat almost everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        """0, 10, 20, ..."""
        scores: Tensor = 10 * torch.round(self.model(images) / 10)
        return scores


class BelowALevel(ModelWrapper):
    """Reads how far pixels lie from whole 8-bit levels, which no file can hold: a float attack's gain is not real."""

    def forward(self, images: Tensor) -> Tensor:
        """The model's scores, lower by 100 times the mean distance to the grid in levels."""
        off = (255 * images - torch.round(255 * images)).abs().flatten(1).mean(1)
        scores: Tensor = self.model(images) - 100 * off
        return scores


class Shifted(ModelWrapper):
    """All scores above mid-scale: an objective that pushes to the farther end pushes them all down."""

    def forward(self, images: Tensor) -> Tensor:
        """The model's scores, 40 points up."""
        scores: Tensor = self.model(images) + 40
        return scores


class LeftTraining(ModelWrapper):
    """In training mode, with dropout."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__(model)
        self.dropout = nn.Dropout(0.01)
        self.dropout.train()

    def forward(self, images: Tensor) -> Tensor:
        """Scores of images with holes."""
        scores: Tensor = self.model(self.dropout(images))
        return scores


PLANTED: Mapping[str, tuple[Callable[[QualityModel], QualityModel], str]] = {
    "masked gradient": (MaskedGradient, "black_box_stronger"),
    "random scores": (Randomized, "random_output"),
    "saturated head": (Saturated, "saturated_head"),
    "shrunk scores": (Shrunk, "shrunk_scores"),
    "quantized scores": (Quantized, "zero_gradient"),
    "gain below a level": (BelowALevel, "lost_in_8bit"),
    "scores on one side": (Shifted, "one_sided"),
    "training mode": (LeftTraining, "training_mode"),
}


@dataclass(frozen=True)
class Trial:
    """One model of the self-test.

    Attributes:
        name: What was planted; `honest` or `linear N` for nothing.
        expected: The flag that must be raised; empty where none may be.
        raised: Those that were, sorted.
    """

    name: str
    expected: str
    raised: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the defect was called by its name, or an honest model left alone."""
        return self.expected in self.raised if self.expected else not self.raised


def self_test(seed: int = 0, linear_models: int = LINEAR_MODELS) -> Iterator[Trial]:
    """Tries the diagnostics on every planted defect, and on models without one; seconds, without weights.

    Args:
        seed: Of models and images.
        linear_models: How many random linear models must raise nothing.
    """
    images = toy_images(seed)
    honest = centered(ToySmooth(seed), images)
    for name, (defense, expected) in PLANTED.items():
        compared = {HONEST: honest} if expected == "shrunk_scores" else {}
        found = examine({**compared, name: defense(honest)}, images, pairs=[(other, name) for other in compared])
        yield Trial(name, expected, tuple(sorted({flag.name for flag in found.flags if flag.model == name})))
    yield Trial(HONEST, "", tuple(sorted(examine({HONEST: honest}, images).raised)))
    for place in range(linear_models):
        linear = centered(ToyLinear(seed + place), images)
        yield Trial(f"linear {place + 1}", "", tuple(sorted(examine({"linear": linear}, images).raised)))


def toy_images(seed: int = 0) -> Tensor:
    """8-bit noise with room on both sides, (12, 3, 16, 16)."""
    levels = torch.randint(16, 240, (PHOTOS, 3, SIDE, SIDE), generator=generator(seed, "toy images"))
    return levels.float() / 255


def centered(model: QualityModel, images: Tensor) -> QualityModel:
    """The model calibrated to a clean median of 50 and a gradient that 4/255 times makes 10 points, in eval mode."""
    clean = clean_pass(model.eval(), images)
    slope = REACH / (4 / 255 * clean.gradient_l1.mean().item())
    middle = clean.scores.sort().values[PHOTOS // 2 - 1 : PHOTOS // 2 + 1].mean().item()
    model.calibration = Affine(slope=slope, offset=50 - slope * middle)
    return model
