"""What attacks share that were made beforehand: a file of learned state, a direction a photo, tiles.

Such an attack knows how to raise scores and how to lower them, and asks nothing of the model it is used on. For a goal
that is no plain direction (a target, a shift) both are tried, and what serves the goal better is kept, photo by photo.

A file may hold one direction only, as published perturbations do, which raise. The other direction is then refused.
The negative of a perturbation that raises was never made to lower anything: its failure would pass for robustness.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.core.attack import Oracle
from robustiqa.core.errors import InputError, WeightsError
from robustiqa.core.objective import Goal, Push
from robustiqa.core.pixels import project_linf
from robustiqa.core.tensor_files import SCHEMA_VERSION, FileStamp, file_stamp, known_hash, read_tensors

STATE_FILE = "attack.safetensors"  # what the folder of a fitting holds in the end
SIGNS = {"lower": -1.0, "raise": 1.0}  # goals that a state is learned for
ROUNDING = 1e-6  # by which a perturbation may pass its amplitude


def file_field(*, label: str) -> Any:
    """A dataclass field for a path; `label` names the attribute that says in records what the file holds."""
    return field(default="", metadata={"file": label})


@dataclass(frozen=True)
class AttackState:
    """What a file of learned state holds.

    Attributes:
        path: The file.
        tensors: `goal.name` to tensor.
        metadata: Attack, goals, eps, and how and on what it was fitted.
    """

    path: str
    tensors: dict[str, Tensor] = field(repr=False)
    metadata: dict[str, Any]

    @property
    def eps(self) -> float:
        """Amplitude it was fitted at."""
        return float(self.metadata["eps"])

    @property
    def goals(self) -> list[str]:
        """Directions it holds: `lower`, `raise`, or both."""
        return list(self.metadata["goals"])

    def of(self, goal: str) -> dict[str, Tensor]:
        """The tensors for one direction.

        Raises:
            InputError: if it was not fitted for that direction.
            WeightsError: if the file lacks what it says it holds.
        """
        if goal not in self.goals:
            raise InputError(
                f"{self.path} was fitted to {self.goals[0]} scores only; take objective {self.goals[0]!r}, or fit an "
                f"attack that can {goal} them, too (`robustiqa fit`)."
            )
        found = {name.partition(".")[2]: value for name, value in self.tensors.items() if name.startswith(f"{goal}.")}
        if not found:
            raise WeightsError(f"{self.path} lacks what it says it holds to {goal} scores; fit the attack again.")
        return found


def read_state(weights: str, attack: str) -> AttackState:
    """Learned state of an attack; a file that has not changed since is not read again.

    Args:
        weights: A file, or the folder of a fitting.
        attack: Registry name of the attack it must be for.

    Raises:
        WeightsError: if the file is missing, damaged, of another version, or not for this attack.
    """
    if not weights:
        raise InputError(f"{attack!r} needs weights=FILE; `robustiqa fit {attack}` makes one.")
    state = _read(file_stamp(state_file(weights)))
    said = state.metadata
    if "attack" not in said:
        raise WeightsError(f"{state.path} holds no fitted attack; `robustiqa fit {attack}` makes one.")
    if said["attack"] != attack:
        raise WeightsError(f"{state.path} was fitted for the attack {said['attack']!r}, not for {attack!r}.")
    if said.get("schema_version") != SCHEMA_VERSION:
        raise WeightsError(
            f"{state.path} is of schema version {said.get('schema_version')}, this version reads {SCHEMA_VERSION}; "
            "fit the attack again."
        )
    goals, eps = said.get("goals"), said.get("eps")
    if not isinstance(goals, list) or not goals or not set(goals) <= set(SIGNS):
        raise WeightsError(f"{state.path} does not say whether it raises or lowers scores; fit the attack again.")
    if not isinstance(eps, float) or not 0 < eps <= 1:
        raise WeightsError(f"{state.path} does not say at which eps it was fitted; fit the attack again.")
    return state


def state_file(weights: str) -> Path:
    """The file that a path, or the folder of a fitting, stands for."""
    path = Path(weights)
    return path / STATE_FILE if path.is_dir() else path


@lru_cache(maxsize=4)
def _read(stamp: FileStamp) -> AttackState:
    file = read_tensors(Path(stamp[0]))
    return AttackState(stamp[0], file.tensors, file.metadata)


@dataclass(frozen=True, kw_only=True)
class DirectedAttack(NamedAttack):
    """Base of attacks that can push scores up or down without asking the attacked model."""

    threat_model: ClassVar[str] = "black-box"
    asks_model: ClassVar[bool] = False

    @abstractmethod
    def pushed(self, images: Tensor, signs: Tensor) -> Tensor:
        """Images (N, 3, H, W) changed to raise the score where `signs` (N,) is 1 and to lower it where it is -1."""

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """One direction a photo; for a goal that names none, the better of both, or the photo itself."""
        if isinstance(goal, Push):
            return self.pushed(images, goal.signs)
        found = [images]
        values = [goal(oracle.clean_scores)]
        for sign in SIGNS.values():
            moved = self.pushed(images, torch.full_like(oracle.clean_scores, sign))
            found.append(project_linf(moved, images, self.budget))
            values.append(goal(oracle.scores(found[-1])))
        best = torch.stack(values).argmax(0)
        return torch.stack(found)[best, torch.arange(len(images), device=best.device)]


@dataclass(frozen=True, kw_only=True)
class FittedAttack(DirectedAttack):
    """Base of attacks whose learned state is a file that `robustiqa fit` writes.

    Args:
        eps: As in `NamedAttack`; also the amplitude of the perturbation, whichever it was fitted at.
        objective: As in `NamedAttack`.
        seed: Not used.
        weights: The file, or the folder of a fitting.
    """

    weights: str = file_field(label="weights_label")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", str(self.weights))

    @property
    def weights_label(self) -> str:
        """The file's hash: records go by what it holds, wherever it lies."""
        return known_hash(state_file(self.weights)) if self.weights else ""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The file's hash and metadata: how the state was fitted, to which model, on what."""
        if not self.weights:
            return {}
        return {"sha256": self.weights_label, **read_state(self.weights, self.name).metadata}


def tiled(images: Tensor, height: int, width: int) -> Tensor:
    """Repeats images (..., h, w) from the top-left corner, or cuts them there, to (..., height, width)."""
    rows, columns = -(-height // images.shape[-2]), -(-width // images.shape[-1])
    repeats = [1] * (images.ndim - 2)
    return images.repeat(*repeats, rows, columns)[..., :height, :width]
