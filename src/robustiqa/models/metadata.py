"""What a weights file of this package says about itself: model, options, scale, calibration, dataset and training.

It is read strictly: metadata that is there and can't be meant is refused, never skipped. A file without any, such as a
published checkpoint, says nothing and is none the worse for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from robustiqa.core.calibration import Affine, Calibration, Logistic, Rescale
from robustiqa.core.errors import InputError, WeightsError
from robustiqa.core.registry import did_you_mean
from robustiqa.core.scale import ScoreScale
from robustiqa.core.tensor_files import SCHEMA_VERSION

CALIBRATIONS: dict[str, type[Calibration]] = {"affine": Affine, "logistic": Logistic, "scale": Rescale}
NO_CALIBRATION = Affine()


@dataclass(frozen=True)
class Metadata:
    """What a weights file says; what it does not say is None or empty.

    Attributes:
        schema_version: Of the layout of all this.
        model: Registry name.
        options: What the model was built with, its backbone among them.
        scale: Of the calibrated scores.
        calibration: From raw scores to that scale.
        fitted_on: What the calibration was fitted on, if it was fitted after training: `name`, `fingerprint`, `split`,
            `part`, and how many `photos`.
        dataset: Trained on: `name`, `fingerprint`, `split` (hashes of photographs and scores, and of the split).
        training: The resolved training spec.
    """

    schema_version: int | None = None
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    scale: ScoreScale | None = None
    calibration: Calibration | None = None
    fitted_on: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def parse_metadata(said: Mapping[str, Any], path: Path) -> Metadata:
    """Reads metadata as it stands in a file.

    Args:
        said: From the file; empty if there is none.
        path: The file, for error messages.

    Raises:
        WeightsError: naming the first part that can't be meant.
    """
    if not said:
        return Metadata()
    version = said.get("schema_version")
    if version != SCHEMA_VERSION:
        raise WeightsError(
            f"{path} has metadata of schema version {version!r}, and this version of robustiqa reads {SCHEMA_VERSION}; "
            "read it with the version that wrote it."
        )
    model = said.get("model")
    if model is not None and not isinstance(model, str):
        raise WeightsError(f"{path} has metadata whose 'model' must be a name, got {model!r}.")
    calibration, training = _table(said, "calibration", path), _table(said, "training", path)
    return Metadata(
        schema_version=version,
        model=model,
        options=_table(said, "options", path),
        scale=_scale(said["scale"], path) if "scale" in said else None,
        calibration=_calibration(calibration, path) if calibration else None,
        fitted_on=_table(calibration, "fitted_on", path),
        dataset=_table(said, "dataset", path) or _table(training, "dataset", path),
        training=training,
    )


def describe_calibration(calibration: Calibration, fitted_on: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A calibration as it stands in a file.

    Args:
        calibration: Of the weights.
        fitted_on: See `Metadata`; None if it was not fitted after training.
    """
    kind = next(kind for kind, made in CALIBRATIONS.items() if isinstance(calibration, made))
    return {"kind": kind, "values": asdict(calibration), **({"fitted_on": dict(fitted_on)} if fitted_on else {})}


def _table(said: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """A part that holds named values; empty if it is not there. The dataset may be a name alone."""
    found = said.get(name, {})
    if name == "dataset" and isinstance(found, str):
        return {"name": found}
    if not isinstance(found, dict):
        raise WeightsError(f"{path} has metadata whose {name!r} must hold named values, got {found!r}.")
    return found


def _scale(found: Any, path: Path) -> ScoreScale:
    values = _numbers(ScoreScale, found, "a scale", path)
    try:
        return ScoreScale(**values)
    except InputError as error:
        raise WeightsError(f"{path} has metadata that can't be meant: {error}") from None


def _calibration(found: Mapping[str, Any], path: Path) -> Calibration:
    kind = found.get("kind")
    if kind not in CALIBRATIONS:
        hint = did_you_mean(str(kind), list(CALIBRATIONS))
        raise WeightsError(f"{path} has a calibration of unknown kind {kind!r}{hint} Known: {', '.join(CALIBRATIONS)}.")
    made = CALIBRATIONS[kind]
    values = _numbers(made, found.get("values"), f"{'an' if kind == 'affine' else 'a'} {kind} calibration", path)
    if made is Logistic and (values["width"] == 0 or values["low"] >= values["high"]):
        raise WeightsError(
            f"{path} has a logistic calibration that needs low < high and a width other than 0, got {values!r}."
        )
    try:
        return made(**values)
    except InputError as error:
        raise WeightsError(f"{path} has metadata that can't be meant: {error}") from None


def _numbers(made: type[Any], found: Any, what: str, path: Path) -> dict[str, Any]:
    """The fields of a dataclass, each there and a finite number, or a truth where its default is one."""
    known = {one.name: one for one in fields(made)}
    if not isinstance(found, dict) or set(found) != set(known):
        raise WeightsError(f"{path} has {what} that must hold {', '.join(known)}, got {found!r}.")
    for name, value in found.items():
        truth = isinstance(known[name].default, bool)
        if isinstance(value, bool) != truth or not isinstance(value, int | float) or not math.isfinite(value):
            expected = "true or false" if truth else "a finite number"
            raise WeightsError(f"{path} has {what} whose {name!r} must be {expected}, got {value!r}.")
    return found
