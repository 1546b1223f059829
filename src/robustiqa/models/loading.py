"""From a weights file to a model that is ready to score: name, options, scale and calibration come from the file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import torch

from robustiqa.core.calibration import Affine, Calibration, Logistic
from robustiqa.core.errors import WeightsError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.core.registry import did_you_mean
from robustiqa.models import models
from robustiqa.models.weights import load_strictly, read_weights, save_weights

CALIBRATIONS: dict[str, type[Calibration]] = {"affine": Affine, "logistic": Logistic}


def shipped_weights() -> dict[str, Path]:
    """Names of the weights inside the package, and where they lie."""
    folder = Path(str(resources.files("robustiqa") / "models" / "shipped"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_weights(weights: str | Path) -> Path:
    """The file that a path or the name of shipped weights stands for.

    Raises:
        WeightsError: if there is neither such a file nor such a name.
    """
    path = Path(weights)
    shipped = shipped_weights()
    if path.is_file():
        return path
    if str(weights) in shipped:
        return shipped[str(weights)]
    hint = did_you_mean(str(weights), list(shipped))
    raise WeightsError(f"there is no weights file {weights}{hint} Shipped weights: {', '.join(shipped) or 'none'}.")


def load_model(weights: str | Path, *, name: str | None = None, **options: Any) -> QualityModel:
    """Builds the model that a weights file is for, in eval mode.

    Args:
        weights: A file, or the name of shipped weights.
        name: Needed for published checkpoints, which do not say what they are for; else must agree with the file.
        options: Likewise.

    Raises:
        WeightsError: if the file does not fit.
    """
    path = find_weights(weights)
    file = read_weights(path)
    said = file.metadata
    if name is None and "model" not in said:
        raise WeightsError(f"{path} does not say which model it is for; name one, such as hyperiqa.")
    if name is not None and said.get("model", name) != name:
        raise WeightsError(f"{path} holds weights for {said['model']!r}, not for {name!r}.")
    known = dict(said.get("options", {}))
    for option, value in options.items():
        if known.get(option, value) != value:
            raise WeightsError(f"{path} was trained with {option}={known[option]!r}, not {value!r}.")
    model = models.create(name or said["model"], **{**known, **options})
    own = set(model.state_dict())
    published = getattr(model, "published_names", None)
    state = file.state if published is None or own >= set(file.state) else published.apply(file.state)
    load_strictly(model, state, f"{name or said['model']!r}")
    if state is not file.state:  # a published checkpoint
        model.scale = getattr(model, "published_scale", model.scale)
        calibration_of = getattr(model, "published_calibration", None)
        model.calibration = calibration_of(file.beside) if calibration_of is not None else model.calibration
    if "scale" in said:
        model.scale = ScoreScale(**said["scale"])
    if "calibration" in said:
        kind, values = said["calibration"]["kind"], said["calibration"]["values"]
        model.calibration = CALIBRATIONS[kind](**values)
    placed: QualityModel = model.to(memory_format=torch.channels_last)  # what convolutions are fastest in
    return placed.eval()


def save_model(model: QualityModel, path: Path, name: str, options: dict[str, Any], **more: Any) -> None:
    """Writes a model's weights with all that `load_model` needs, and `more` metadata (dataset, training spec, ...).

    Args:
        model: A model of the registry, unwrapped.
        path: Where to; `.safetensors`.
        name: Its registry name.
        options: What it was built with.
        more: Anything JSON holds; `dtype` (a torch type) sets how floats are stored.
    """
    dtype = more.pop("dtype", None)
    kind = next(kind for kind, made in CALIBRATIONS.items() if isinstance(model.calibration, made))
    save_weights(
        model,
        path,
        {
            "model": name,
            "options": options,
            "scale": {"low": model.scale.low, "high": model.scale.high},
            "calibration": {"kind": kind, "values": vars(model.calibration)},
            **more,
        },
        dtype,
    )
