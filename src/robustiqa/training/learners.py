"""What is learned when an attack is fitted: a perturbation for all photographs, or a network that makes them.

Source: Shumitskaya, Antsiferova and Vatolin 2022 (UAP) and 2023 (FACPA), and their published training notebooks. Each
lowers the loss `1 - mean(score) / span` on photographs plus perturbation, clipped to [0, 1], within eps:
    optimized   Adam on the perturbation, from zero; batches of 4
    cumulative  the raw gradient of one photograph after the other, from zero
    generative  Adam on a U-Net that turns one fixed noise image into the perturbation; batches of 4
    FACPA       Adam on a U-Net that turns each photograph into its perturbation; batches of 4
Deviations: scores are pushed either way, by a perturbation (or network) each. An epoch takes every photograph once;
theirs draws with replacement. The gradient is that of the clipped image; theirs ignores the clipping. The perturbation
is tiled over the whole photograph, of which the model sees a crop, so that it works wherever a tile begins; for
photographs as large as the crop, as theirs are, that is the same. What a generative run saves is the perturbation;
theirs saves the noise. That noise is uniform in [-1, 1]; theirs is clipped to +-eps and so nearly constant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustiqa.attacks.learned import SIGNS, tiled
from robustiqa.attacks.unet import LEVELS, WIDTH, UNet
from robustiqa.attacks.universal import PERTURBATION
from robustiqa.core.checks import check_positive_integer, parse_fraction
from robustiqa.core.errors import InputError, SpecError
from robustiqa.core.registry import did_you_mean
from robustiqa.core.seeds import derive_seed, generator

CROP_SIDE = 256  # Shumitskaya et al. 2022; where the model takes any size
KINDS = ("optimized", "cumulative", "generative")
RAW_GRADIENT = 1.0  # learning rate that adds gradients up as they are


class Learner(nn.Module, ABC):
    """What is fitted for one direction."""

    @abstractmethod
    def forward(self, crops: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        """What is added to crops (N, 3, side, side) that lie at these (row, column) of their photographs."""

    def settle(self) -> None:
        """Called after each optimizer step; puts the weights back where they may be."""

    @abstractmethod
    def result(self) -> dict[str, Tensor]:
        """What the attack reads."""


class FreePerturbation(Learner):
    """The perturbation itself, (3, side, side), kept within eps.

    Args:
        side: Of the tile.
        eps: Amplitude.
    """

    def __init__(self, side: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.perturbation = nn.Parameter(torch.zeros(3, side, side))

    def forward(self, crops: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        """The tiled perturbation as each crop cuts it."""
        return tiled_at(self.perturbation, corners, *crops.shape[-2:])

    @torch.no_grad()
    def settle(self) -> None:
        """Clips to the amplitude."""
        self.perturbation.clamp_(-self.eps, self.eps)

    def result(self) -> dict[str, Tensor]:
        """The perturbation."""
        return {PERTURBATION: self.perturbation.detach()}


class GeneratedPerturbation(Learner):
    """A U-Net that makes the perturbation out of fixed noise; eps is the reach of its tanh.

    Args:
        side: Of the tile.
        eps: Amplitude.
        network: The U-Net.
        seed: Of the noise.
    """

    noise: Tensor

    def __init__(self, side: int, eps: float, network: UNet, seed: int) -> None:
        super().__init__()
        self.eps = eps
        self.side = side
        self.network = network
        whole = -(-side // network.multiple) * network.multiple
        draw = torch.rand(1, 3, whole, whole, generator=generator(seed, "noise"))
        self.register_buffer("noise", 2 * draw - 1)

    def _perturbation(self) -> Tensor:
        made: Tensor = self.network(self.noise)[0, :, : self.side, : self.side]
        return self.eps * made

    def forward(self, crops: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        """The tiled perturbation as each crop cuts it."""
        return tiled_at(self._perturbation(), corners, *crops.shape[-2:])

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        """The perturbation that the network makes without dropout."""
        self.eval()
        return {PERTURBATION: self._perturbation()}


class PerturbationNetwork(Learner):
    """A U-Net that makes the perturbation of each crop out of the crop.

    Args:
        eps: Amplitude.
        network: The U-Net.
    """

    def __init__(self, eps: float, network: UNet) -> None:
        super().__init__()
        self.eps = eps
        self.network = network

    def forward(self, crops: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        """Each crop's own; where it lies plays no part."""
        return self.eps * self.network.change(crops)

    def result(self) -> dict[str, Tensor]:
        """The network's weights."""
        return dict(self.network.state_dict())


def tiled_at(tile: Tensor, corners: list[tuple[int, int]], height: int, width: int) -> Tensor:
    """What windows at these (row, column) see of a plane that a tile (3, h, w) covers; (N, 3, height, width)."""
    return torch.stack([tiled(tile.roll((-row, -column), (-2, -1)), height, width) for row, column in corners])


@dataclass(frozen=True, kw_only=True)
class FitSpec(ABC):
    """One fitting, whole.

    Attributes:
        eps: Amplitude that is fitted at, [0, 1] units; the attack scales it to its own.
        goals: Directions to fit, one after the other: `lower`, `raise`.
        epochs: Passes over the photographs for each.
        batch_size: Crops a step; None for the published number.
        learning_rate: None for the published one.
        crop_size: Side of the crops, for models that take any size; 0 for 256, or for what the model takes.
        part: Part of the dataset's split to fit on.
        seed: Of order, crops, and of networks, their noise and dropout.
    """

    attack: ClassVar[str]

    eps: float | str = "10/255"
    goals: tuple[str, ...] = ("lower", "raise")
    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float | None = None
    crop_size: int = 0
    part: str = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        goals = (self.goals,) if isinstance(self.goals, str) else tuple(self.goals)
        object.__setattr__(self, "goals", goals)
        if parse_fraction(self.eps) == 0:
            raise InputError("eps must be greater than 0 to fit an attack, got 0.")
        if not goals or len(set(goals)) != len(goals) or not set(goals) <= set(SIGNS):
            raise InputError(f"goals must be lower, raise or both, got {', '.join(map(str, goals)) or 'none'}.")
        check_positive_integer(self.epochs, "epochs")
        check_positive_integer(self.batch, "batch_size")
        if not self.rate > 0:
            raise InputError(f"learning_rate must be greater than 0, got {self.rate}.")
        if isinstance(self.crop_size, bool) or not isinstance(self.crop_size, int) or self.crop_size < 0:
            raise InputError(f"crop_size must be a whole number, or 0 for the usual, got {self.crop_size!r}.")

    @property
    def amplitude(self) -> float:
        """`eps` as a number."""
        return parse_fraction(self.eps)

    @property
    def batch(self) -> int:
        """Crops a step."""
        return 4 if self.batch_size is None else self.batch_size

    @property
    def rate(self) -> float:
        """Learning rate."""
        return 1e-3 if self.learning_rate is None else self.learning_rate

    @abstractmethod
    def learner(self, goal: str, crop_side: int) -> Learner:
        """What is fitted for a direction, as it is before the first step.

        Raises:
            SpecError: if it does not go with crops of that side.
        """

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """What moves it."""
        return torch.optim.Adam(learner.parameters(), lr=self.rate)

    def _network(self, goal: str, levels: int, width: int) -> UNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, goal, "network"))
            return UNet(levels, width)


@dataclass(frozen=True, kw_only=True)
class UAPFit(FitSpec):
    """Fits a universal perturbation.

    Attributes:
        kind: `optimized`, `cumulative` or `generative`. As published, the batch is 4 and Adam's rate 1e-3; cumulative
            takes single photographs and the raw gradient (rate 1).
        side: Of the tile; 0 for that of the crops.
        levels: Of the generative kind's U-Net.
        width: Likewise.
    """

    attack: ClassVar[str] = "uap"

    kind: str = "optimized"
    side: int = 0
    levels: int = LEVELS
    width: int = WIDTH

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = did_you_mean(str(self.kind), list(KINDS))
            raise InputError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}{hint}")
        if isinstance(self.side, bool) or not isinstance(self.side, int) or self.side < 0:
            raise InputError(f"side must be a whole number, or 0 for that of the crops, got {self.side!r}.")
        super().__post_init__()

    @property
    def batch(self) -> int:
        """Crops a step."""
        return 1 if self.kind == "cumulative" and self.batch_size is None else super().batch

    @property
    def rate(self) -> float:
        """Learning rate."""
        return RAW_GRADIENT if self.kind == "cumulative" and self.learning_rate is None else super().rate

    def learner(self, goal: str, crop_side: int) -> Learner:
        """The perturbation, or the network that makes it; a tile that no crop shows whole is refused."""
        if self.side > crop_side:
            raise SpecError(f"a tile of {self.side} does not fit into crops of {crop_side}; take a smaller side.")
        side = self.side or crop_side
        if self.kind != "generative":
            return FreePerturbation(side, self.amplitude)
        return GeneratedPerturbation(side, self.amplitude, self._network(goal, self.levels, self.width), self.seed)

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """Adam, or for the cumulative kind plain steps."""
        if self.kind == "cumulative":
            return torch.optim.SGD(learner.parameters(), lr=self.rate)
        return super().optimizer(learner)


@dataclass(frozen=True, kw_only=True)
class FACPAFit(FitSpec):
    """Trains the generator of FACPA.

    Attributes:
        epochs: As published, 200.
        levels: Of the U-Net; published are 8, for which crops are best a multiple of 256 (5 suit 224).
        width: Channels of its first level; published are 64.
    """

    attack: ClassVar[str] = "facpa"

    epochs: int = 200
    levels: int = LEVELS
    width: int = WIDTH

    def learner(self, goal: str, crop_side: int) -> Learner:
        """The network."""
        return PerturbationNetwork(self.amplitude, self._network(goal, self.levels, self.width))
