"""What is said of a weights file: as rows for people, as one document for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robustiqa.core.errors import WeightsError

if TYPE_CHECKING:
    from robustiqa.core.calibration import Calibration
    from robustiqa.models.check import Fit, WeightsCheck
    from robustiqa.models.metadata import Metadata

SATURATES = "it saturates: gradients and attacks are scaled by its slope, which at its ends goes to 0"


def calibration_document(calibration: Calibration) -> dict[str, Any]:
    """A calibration's kind and values, for JSON."""
    from robustiqa.models.metadata import describe_calibration

    return describe_calibration(calibration)


def calibration_text(calibration: Calibration) -> str:
    """A calibration in words."""
    from robustiqa.core.calibration import Affine, Rescale

    if calibration == Affine():
        return "none"
    if isinstance(calibration, Affine):
        return f"affine, {calibration.slope:g} * raw {calibration.offset:+g}"
    if isinstance(calibration, Rescale):
        turned = ", turned round" if calibration.lower_is_better else ""
        return f"scale, raw {calibration.low:g} to {calibration.high:g} as 0 to 100{turned}"
    return (
        f"logistic, {calibration.low:g} to {calibration.high:g} around raw {calibration.center:g}, "
        f"width {calibration.width:g}; {SATURATES}"
    )


def metadata_document(said: Metadata) -> dict[str, Any]:
    """What a file says about itself, for JSON; null for what it does not say."""
    return {
        "schema_version": said.schema_version,
        "model": said.model,
        "options": dict(said.options),
        "scale": None if said.scale is None else [said.scale.low, said.scale.high],
        "calibration": None if said.calibration is None else calibration_document(said.calibration),
        "fitted_on": dict(said.fitted_on) or None,
        "dataset": dict(said.dataset) or None,
        "training": dict(said.training) or None,
    }


def metadata_text(said: Metadata) -> str:
    """What a file says about itself, in a line."""
    if said.model is None:
        return "does not say its model"
    words = [_model_words(said.model, said.options)]
    if said.dataset:
        words.append(f"trained on {dataset_text(said.dataset)}")
    if said.scale is not None:
        words.append(f"scores {said.scale.low:g} to {said.scale.high:g}")
    if said.calibration is not None and (text := calibration_text(said.calibration)) != "none":
        words.append(text + (f", fitted on {dataset_text(said.fitted_on)}" if said.fitted_on else ""))
    return "; ".join(words)


def dataset_text(dataset: Mapping[str, Any]) -> str:
    """A dataset's name, hashes and part in words; a dash where nothing is said."""
    words = [str(dataset.get("name", "-"))]
    words += [f"{name} {dataset[name]}" for name in ("fingerprint", "split", "part", "photos") if dataset.get(name)]
    return ", ".join(words)


def check_rows(found: WeightsCheck) -> list[list[str]]:
    """What was found in a file, as rows of a table."""
    rows = [
        ["file", f"{found.path}, {found.size / 1e6:.1f} MB, SHA-256 {found.sha256}"],
        ["model", _model_text(found)],
        ["entries", _entries_text(found.entries, found.fit)],
        ["types", ", ".join(f"{name} ({count})" for name, count in found.dtypes.items())],
        ["NaN or infinite", _not_finite_text(found.not_finite)],
    ]
    if found.beside:
        rows.append(["beside them", ", ".join(found.beside)])
    said = found.metadata
    if said is None:
        rows.append(["metadata", "can't be used"])
    elif said.schema_version is None:
        rows.append(["metadata", "none"])
    else:
        rows.append(["metadata", f"schema version {said.schema_version}"])
        rows.append(["trained on", dataset_text(said.dataset)])
        rows.append(["training", _training_text(said.training)])
    if found.scale is not None and found.calibration is not None:
        rows.append(["scale", f"{found.scale.low:g} to {found.scale.high:g}"])
        rows.append(["calibration", calibration_text(found.calibration)])
    if said is not None and said.fitted_on:
        rows.append(["fitted on", dataset_text(said.fitted_on)])
    return rows


def _model_text(found: WeightsCheck) -> str:
    if found.model is None:
        return "-"
    return _model_words(found.model, found.options)


def _model_words(name: str, options: Mapping[str, Any]) -> str:
    return ", ".join([name, *(f"{option}={value}" for option, value in options.items())])


def _entries_text(entries: int, fit: Fit | None) -> str:
    if fit is None:
        return str(entries)
    words = [f"{fit.matched} match"]
    for names, what in (
        (fit.mismatch.missing, "missing"),
        (fit.mismatch.unknown, "unused"),
        (fit.mismatch.misshapen, "of another shape"),
        (fit.discarded, "known and not needed"),
    ):
        if names or what in ("missing", "unused"):
            words.append(f"{len(names)} {what}" + (f" (first: {names[0]})" if names else ""))
    return f"{entries}: {', '.join(words)}"


def _not_finite_text(not_finite: Mapping[str, int]) -> str:
    if not not_finite:
        return "none"
    return f"{sum(not_finite.values())} values in {len(not_finite)} entries (first: {next(iter(not_finite))})"


def _training_text(training: Mapping[str, Any]) -> str:
    """The few words of a training spec that tell runs apart; a dash without one."""
    penalty = training.get("penalty")
    told = [f"{name} {training[name]}" for name in ("epochs", "loss", "seed") if name in training]
    if isinstance(penalty, dict) and {"name", "weight"} <= set(penalty):
        told.append(f"penalty {penalty['name']} of weight {penalty['weight']}")
    return ", ".join(told) or "-"


def check_document(found: WeightsCheck) -> dict[str, Any]:
    """What was found in a file, for JSON."""
    fit = found.fit
    first = (
        {
            "missing": fit.mismatch.missing,
            "unused": fit.mismatch.unknown,
            "misshapen": fit.mismatch.misshapen,
            "discarded": fit.discarded,
        }
        if fit is not None
        else {}
    )
    return {
        "path": found.path,
        "bytes": found.size,
        "sha256": found.sha256,
        "model": found.model,
        "options": dict(found.options),
        "entries": found.entries,
        "matched": None if fit is None else fit.matched,
        **{name: {"count": len(names), "first": names[0] if names else None} for name, names in first.items()},
        "published_names": None if fit is None else fit.published,
        "dtypes": found.dtypes,
        "not_finite": found.not_finite,
        "beside": found.beside,
        "metadata": None if found.metadata is None else metadata_document(found.metadata),
        "scale": None if found.scale is None else [found.scale.low, found.scale.high],
        "calibration": None if found.calibration is None else calibration_document(found.calibration),
        "error": found.problem,
        "exit_code": 0 if found.problem is None else WeightsError.exit_code,
    }
