"""From what `--weights` says to models with labels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustiqa.core.errors import InputError, WeightsError

if TYPE_CHECKING:
    import torch

    from robustiqa.core.model import QualityModel

DEMO_WEIGHTS = ("demo-baseline", "demo-nt")
DEMO_NOTE = "These are the demonstration models that ship with robustiqa; they are no judge of photographs."


@dataclass(frozen=True)
class LabeledModel:
    """A model that is ready to score, and where it came from.

    Attributes:
        label: What tables call it.
        model: In eval mode, on its device; without crop averaging.
        source: Its weights file, or the name of a model of another package.
        sha256: Hash of that file; None without one.
    """

    label: str
    model: QualityModel
    source: Path | str
    sha256: str | None

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        scale = self.model.scale
        return {
            "label": self.label,
            "model": type(self.model).__name__,
            "weights": self.source,
            "sha256": self.sha256,
            "scale": [scale.low, scale.high],
        }


def load_models(
    weights: Sequence[str] | None, name: str | None, backbone: str | None, device: torch.device
) -> list[LabeledModel]:
    """Loads what `--weights`, `--model` and `--backbone` ask for; the demonstration pair if nothing is.

    A model of another package (`pyiqa:NAME`, `package.module:factory`) may stand in place of a weights file, or be
    named by `--model` alone.

    Raises:
        InputError: if two have the same label, or a model is named without weights.
        WeightsError: if a file is missing or does not fit.
    """
    from robustiqa.models.files import find_weights, shipped_weights
    from robustiqa.models.loading import load_model
    from robustiqa.models.weights import file_hash

    if not weights and name is not None and _is_external(name):
        weights, name = [name], None
    if not weights and (name or backbone):
        raise InputError("--model and --backbone say what --weights is for; name a weights file, too.")
    if not weights and not set(DEMO_WEIGHTS) <= set(shipped_weights()):
        raise WeightsError("no demonstration weights ship with this installation; name a file with --weights.")
    options = {} if backbone is None else {"backbone": backbone}
    loaded = []
    for label, source in label_weights(weights or DEMO_WEIGHTS).items():
        if _is_external(source):
            loaded.append(LabeledModel(label, _create_external(source).to(device), source, None))
            continue
        path = find_weights(source)
        model = load_model(path, name=name, **options).to(device)
        loaded.append(LabeledModel(label, model, path, file_hash(path)))
    return loaded


def label_weights(texts: Sequence[str]) -> dict[str, str]:
    """`[LABEL=]WEIGHTS` texts as labels to files; a file in a run folder goes by the folder's name.

    Raises:
        InputError: if two get the same label.
    """
    from robustiqa.core.run_folder import WEIGHTS_FILE

    labeled: dict[str, str] = {}
    for text in texts:
        label, equals, source = text.partition("=")
        if not equals or Path(text).exists():
            label, source = "", text
        path = Path(source) / WEIGHTS_FILE if Path(source).is_dir() else Path(source)
        if _is_external(source):
            label = label or source
        label = label or (path.resolve().parent.name if path.name == WEIGHTS_FILE else path.stem)
        if label in labeled:
            raise InputError(f"two weights are labeled {label!r}; write LABEL=WEIGHTS to tell them apart.")
        labeled[label] = str(path)
    return labeled


def _is_external(source: str) -> bool:
    """Whether a text names a model of another package, and no file."""
    return ":" in source and not Path(source).exists() and Path(source).name == source


def _create_external(name: str) -> QualityModel:
    """Builds it; modules in the folder where the program was started are found, too."""
    from robustiqa.models import create_model

    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return create_model(name)
