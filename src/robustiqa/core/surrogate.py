"""A quality model beside the attacked one, from a weights file: what a transfer attack computes its gradients on.

Attacks and models are siblings that never import one another. An attack knows a surrogate as what `core` says a quality
model is; which code reads the file stands here as text, as in every registry, and is imported when a file is asked for.
So the attack stays plain data (a path), and no caller has to pass a loader along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from robustiqa.core.errors import WeightsError
from robustiqa.core.model import QualityModel
from robustiqa.core.registry import Registry
from robustiqa.core.tensor_files import FileStamp, file_stamp, known_hash, read_tensors

UNKNOWN, RANDOM = "unknown", "random"

readers: Registry[Any] = Registry(
    "reader",
    {
        "file": "robustiqa.models.files:find_weights",
        "model": "robustiqa.models.loading:load_whole_photo_model",
    },
)


@dataclass(frozen=True)
class SurrogateCard:
    """What a record says of a surrogate.

    Attributes:
        model: Its registry name.
        backbone: timm name.
        initialization: Where its backbone's weights began: `random`, `timm` (pretrained weights of that name),
            `sha256:...` of a file of such weights, or `unknown`. Two networks that began alike share what transfers.
        sha256: Of the weights file, 16 hexadecimal digits.
    """

    model: str
    backbone: str
    initialization: str
    sha256: str

    @property
    def label(self) -> str:
        """`paq2piq/resnet18/random#0123456789abcdef`."""
        return f"{self.model}/{self.backbone}/{self.initialization}#{self.sha256}"


def surrogate_file(weights: str) -> Path:
    """The file that a path, a training run's folder or the name of shipped weights stands for.

    Raises:
        WeightsError: if there is none.
    """
    find: Callable[[Path], Path] = readers.get("file")
    return find(Path(weights))


def surrogate_card(weights: str) -> SurrogateCard:
    """Reads what a weights file says of itself, without its tensors.

    Raises:
        WeightsError: if there is no such file, or it does not say which model it is for.
    """
    path = surrogate_file(weights)
    said = read_tensors(path, tensors=False).metadata
    if "model" not in said:
        raise WeightsError(
            f"{path} does not say which model it is for; a surrogate is a weights file of this package, such as "
            "`robustiqa train` writes."
        )
    training = said.get("training", {}).get("model", {})
    start = training.get("backbone_weights", UNKNOWN)
    backbone = said.get("options", {}).get("backbone", UNKNOWN)
    return SurrogateCard(said["model"], backbone, start or RANDOM, known_hash(path))


def load_surrogate(weights: str, *, device: torch.device, dtype: torch.dtype) -> QualityModel:
    """The model, for photographs of any size, in eval mode, with frozen weights; read once for each device and type.

    The global generator is left as it was.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    return _loaded(file_stamp(surrogate_file(weights)), str(device), dtype)


@lru_cache(maxsize=4)
def _loaded(stamp: FileStamp, device: str, dtype: torch.dtype) -> QualityModel:
    read: Callable[[Path], QualityModel] = readers.get("model")
    with torch.random.fork_rng(devices=[]):
        model = read(Path(stamp[0]))
    return model.to(device, dtype).eval().requires_grad_(False)
