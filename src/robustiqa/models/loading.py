"""From a weights file to a model that is ready to score: name, options, scale and calibration come from the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustiqa.core.calibration import Calibration
from robustiqa.core.errors import WeightsError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.core.tensor_files import write_tensors
from robustiqa.models import models
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.files import find_weights
from robustiqa.models.metadata import Metadata, describe_calibration, parse_metadata
from robustiqa.models.weights import (
    KeyMap,
    WeightsFile,
    check_entries,
    load_strictly,
    read_weights,
    save_weights,
)


def load_model(weights: str | Path, *, name: str | None = None, **options: Any) -> QualityModel:
    """Builds the model that a weights file is for, in eval mode.

    Args:
        weights: A file, the folder of a training run, or the name of shipped weights.
        name: Needed for published checkpoints, which do not say what they are for; else must agree with the file.
        options: Likewise.

    Raises:
        WeightsError: if the file does not fit.
    """
    path = find_weights(weights)
    file = read_weights(path)
    said = parse_metadata(file.metadata, path)
    name, options = agree(said, path, name, options)
    model = models.create(name, **options)
    state, published = own_names(model, file.state)
    load_strictly(model, state, f"{name!r}")
    model.scale, model.calibration = scoring_of(model, file, said, published)
    placed: QualityModel = model.to(memory_format=torch.channels_last)  # what convolutions are fastest in
    return placed.eval()


def agree(said: Metadata, path: Path, name: str | None, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The model's name and options, of what a file says and what is asked for.

    Raises:
        WeightsError: if neither names a model, or they contradict each other.
    """
    if name is None and said.model is None:
        raise WeightsError(f"{path} does not say which model it is for; name one, such as hyperiqa.")
    if name is not None and said.model not in (None, name):
        raise WeightsError(f"{path} holds weights for {said.model!r}, not for {name!r}.")
    for option, value in options.items():
        if said.options.get(option, value) != value:
            raise WeightsError(f"{path} was trained with {option}={said.options[option]!r}, not {value!r}.")
    return name or str(said.model), {**said.options, **options}


def own_names(model: QualityModel, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """A state dict under a model's own names, and whether it came under published ones."""
    names: KeyMap | None = getattr(model, "published_names", None)
    if names is None or set(model.state_dict()) >= set(state):
        return dict(state), False
    return names.apply(state), True


def scoring_of(
    model: QualityModel, file: WeightsFile, said: Metadata, published: bool
) -> tuple[ScoreScale, Calibration]:
    """Scale and calibration that go with the weights in a file; what neither says, is the model's own.

    Args:
        model: Just built.
        file: Its weights.
        said: The file's metadata.
        published: Whether it is a published checkpoint; some have a score mapping beside the state dict.

    Raises:
        WeightsError: if that mapping can't be read.
    """
    scale, calibration = model.scale, model.calibration
    if published:
        scale = getattr(model, "published_scale", scale)
        calibration_of = getattr(model, "published_calibration", None)
        calibration = calibration_of(file.beside) if calibration_of is not None else calibration
    return said.scale or scale, said.calibration or calibration


def load_whole_photo_model(weights: str | Path) -> QualityModel:
    """As `load_model`, for photographs of any size: where the network takes crops, the mean over the covering grid.

    Photographs smaller than a crop are extended by reflection.

    Raises:
        WeightsError: if the file does not fit.
    """
    model = load_model(weights)
    return model if model.crop_size is None else CropAverage(model, small="pad").eval()


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
    said = {"model": name, "options": options, **_scoring(model.scale, describe_calibration(model.calibration))}
    save_weights(model, path, {**said, **more}, dtype)


def save_calibrated(
    source: Path,
    path: Path,
    calibration: Calibration,
    fitted_on: Mapping[str, Any],
    *,
    name: str | None = None,
    **options: Any,
) -> None:
    """Writes a weights file anew with a calibration onto 0..100; every entry keeps its bytes and type.

    Args:
        source: Any weights file that `load_model` takes; a published checkpoint's entries get our names.
        path: Where to; `.safetensors`. Atomic.
        calibration: From raw scores to 0..100; takes the place of any that the source has.
        fitted_on: See `robustiqa.models.metadata.Metadata`.
        name: As in `load_model`.
        options: As in `load_model`.

    Raises:
        WeightsError: if the source does not fit.
    """
    file = read_weights(source)
    name, options = agree(parse_metadata(file.metadata, source), source, name, options)
    model = models.create(name, **options)
    state, _ = own_names(model, file.state)
    check_entries(model.state_dict(), state, f"{name!r}")
    scoring = _scoring(ScoreScale(), describe_calibration(calibration, fitted_on))
    owned = {entry: value.contiguous().clone() for entry, value in state.items()}  # tied entries would be refused
    write_tensors(path, owned, {**file.metadata, "model": name, "options": options, **scoring})


def _scoring(scale: ScoreScale, calibration: dict[str, Any]) -> dict[str, Any]:
    return {"scale": {"low": scale.low, "high": scale.high}, "calibration": calibration}
