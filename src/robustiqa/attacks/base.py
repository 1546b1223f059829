"""What the attacks of this package share: a name, a default objective and a label for records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.objectives import create_objective
from robustiqa.core.attack import Attack
from robustiqa.core.balls import uniform_noise
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Objective


def pixel_field(default: float | str | None, *, resolved: str) -> Any:
    """A dataclass field in pixel units; `resolved` names the attribute that holds it as a number."""
    return field(default=default, metadata={"pixels": resolved})


def quiet_field(default: Any) -> Any:
    """A dataclass field that labels leave out while it is at its default."""
    return field(default=default, metadata={"quiet": True})


@dataclass(frozen=True, kw_only=True)
class NamedAttack(Attack):
    """Base of every attack in the registry.

    Args:
        eps: As in `Attack`.
        objective: A name or an `Objective`; kept as an `Objective`.
        seed: As in `Attack`.
    """

    name: ClassVar[str]

    eps: float | str = pixel_field("4/255", resolved="budget")
    objective: Objective | str = "worst_of_both"  # type: ignore[assignment]  # an Objective once constructed

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "objective", create_objective(self.objective))

    @property
    def label(self) -> str:
        """The attack without its objective, for records: `ifgsm(eps=4/255, steps=10, step_size=1/255)`.

        Made from the fields, so that equal work has equal text however its options were written.
        """
        ordered = sorted(fields(self), key=lambda part: part.name == "seed")
        shown = [_shown(self, part) for part in ordered if part.name != "objective"]
        return f"{self.name}({', '.join(text for text in shown if text)})"

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the attack brings along that its fields only point at, as plain values; nothing for most."""
        return {}


@dataclass(frozen=True, kw_only=True)
class GradientAttack(NamedAttack):
    """Base of attacks that follow the goal's gradient; refuses a goal that has none where they start."""

    threat_model: ClassVar[str] = "white-box"

    def __post_init__(self) -> None:
        super().__post_init__()
        objective = create_objective(self.objective)
        if objective.flat_at_start and not self.leaves_clean_image:
            able = self.name if hasattr(self, "random_start") else "ifgsm"
            raise InputError(
                f"{self.name!r} starts at the clean image, where {objective.name!r} has no gradient; "
                f"use {able!r} with random_start=True, or another objective."
            )

    @property
    def leaves_clean_image(self) -> bool:
        """Whether the first gradient is taken elsewhere than at the clean image."""
        return False


def random_in_ball(images: Tensor, eps: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Images (N, 3, H, W) plus a uniform draw from [-eps, eps]; each photo draws from its own generator."""
    return images + eps * uniform_noise(images, generators)


def _shown(attack: NamedAttack, part: Field[Any]) -> str:
    """`name=value` of one field, or nothing for a seed of 0 and an option that is off or quiet, as by default."""
    value = getattr(attack, part.metadata.get("pixels", part.name))
    if "pixels" in part.metadata:
        return f"{part.name}={pixel_text(value) if attack.norm == 'linf' else f'{value:.12g}'}"
    if "file" in part.metadata:  # what it holds counts, not where it lies
        text = getattr(attack, part.metadata["file"])
        return f"{part.name}={text}" if text else ""
    quiet = part.metadata.get("quiet") and value == part.default
    off_by_default = quiet or (value is part.default and (value is None or value is False))
    if off_by_default or (part.name == "seed" and value == 0):
        return ""
    return f"{part.name}={value}"


def pixel_text(value: float) -> str:
    """A pixel quantity as people write it: `4/255` for whole 8-bit levels, else a decimal; `0` for none."""
    levels = round(255 * value)
    if abs(255 * value - levels) > 1e-9:
        return f"{value:.12g}"
    return f"{levels}/255" if levels else "0"
