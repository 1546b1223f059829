"""What is measured: four networks in two sizes, at the photographs and batches they are trained on.

Batches of the largest networks are small, so that a round fits 16 GB of memory and takes minutes on two cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchmarks.store import Group
from benchmarks.timing import Effort, Work

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustiqa.core.model import QualityModel

LIGHT_BACKBONE = "mobilenetv2_100"
LIGHT_RECIPE = "hyperiqa-biq2021-light"
PRECISIONS = ("float32", "bf16")
LAYOUTS = ("contiguous", "channels_last")
ALL_FORMATS = tuple((precision, layout) for precision in PRECISIONS for layout in LAYOUTS)
LAST_FORMATS = tuple((precision, "channels_last") for precision in PRECISIONS)


@dataclass(frozen=True)
class Case:
    """A network at a size.

    Attributes:
        model: Registry name.
        backbone: timm name.
        side: Of the crops.
        batch: Crops a step.
        formats: (precision, memory layout) pairs to measure.
    """

    model: str
    backbone: str
    side: int = 224
    batch: int = 16
    formats: tuple[tuple[str, str], ...] = ALL_FORMATS

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.model} {self.backbone}, {self.side} pixels, batch {self.batch}"

    def build(self, layout: str, device: str = "cpu") -> QualityModel:
        """The network with random weights, equal for equal cases, in eval mode."""
        import torch

        from robustiqa.models import create_model

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = create_model(self.model, backbone=self.backbone)
        placed: QualityModel = model.to(device).to(memory_format=memory_format(layout))
        return placed

    def crops(self, device: str = "cpu", count: int | None = None) -> Tensor:
        """Made-up 8-bit crops, (batch, 3, side, side)."""
        import torch

        draw = torch.Generator().manual_seed(1)
        shape = (count or self.batch, 3, self.side, self.side)
        return torch.randint(256, shape, generator=draw).float().div(255).to(device)


def memory_format(layout: str) -> torch.memory_format:
    """torch's word for a layout."""
    import torch

    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


LIGHT = {name: Case(name, LIGHT_BACKBONE) for name in ("hyperiqa", "dbcnn", "linearityiqa", "maniqa")}
FULL = {
    "hyperiqa": Case("hyperiqa", "resnet50.tv_in1k"),
    "dbcnn": Case("dbcnn", "vgg16.tv_in1k", 448, 2, LAST_FORMATS),
    "linearityiqa": Case("linearityiqa", "resnext101_32x8d.tv_in1k", 498, 2, LAST_FORMATS),
    "maniqa": Case("maniqa", "vit_base_patch8_224.augreg_in21k_ft_in1k", 224, 1, LAST_FORMATS),
}
CASES = {
    **{f"{name}-light": case for name, case in LIGHT.items()},
    "hyperiqa-light-4": replace(LIGHT["hyperiqa"], batch=4),
    "hyperiqa-full": FULL["hyperiqa"],
    "hyperiqa-full-4": replace(FULL["hyperiqa"], batch=4),
    **{f"{name}-full": case for name, case in FULL.items() if name != "hyperiqa"},
}
GUARDED, GUARDED_LIGHT = FULL["hyperiqa"], LIGHT["hyperiqa"]
QUICK = {"hyperiqa-tiny": Case("hyperiqa", "test_efficientnet", batch=2, formats=LAST_FORMATS)}


@dataclass(frozen=True)
class Settings:
    """One run of the harness.

    Attributes:
        quick: Small sizes; shows that everything works, and measures nothing.
        device: Where networks run.
        models: Names of cases to measure steps of; empty for all.
        data: Dataset that the loader reads; see `create_dataset`.
        peers: Python of the environment that has the peers; empty for none.
        effort: How long each group is measured.
    """

    quick: bool = False
    device: str = "cpu"
    models: tuple[str, ...] = ()
    data: str = "builtin"
    peers: str = ""
    effort: Effort = field(default_factory=Effort)

    @property
    def cases(self) -> dict[str, Case]:
        """Those to measure steps of, by name."""
        known = QUICK if self.quick else CASES
        return {name: case for name, case in known.items() if not self.models or name in self.models}

    @property
    def main_cases(self) -> list[Case]:
        """The networks that attacks and scoring are measured on: HyperIQA, light and full."""
        return list(QUICK.values()) if self.quick else [GUARDED_LIGHT, GUARDED]

    def settle(self) -> None:
        """Waits until the device is idle."""
        if self.device != "cpu":
            import torch

            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Planned:
    """A group that can be measured."""

    name: str
    run: Callable[[], Group]


Plan = Callable[[Settings], Iterable[Planned]]
Works = dict[str, Work]
