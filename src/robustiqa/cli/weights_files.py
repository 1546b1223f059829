"""`robustiqa weights`: whether a weights file can be used, all that it says, and calibrations that go into one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.cli import options
from robustiqa.cli.data import open_dataset
from robustiqa.cli.output import Output, Tell, number
from robustiqa.cli.parsing import parse_value
from robustiqa.cli.photos import reading_ahead
from robustiqa.cli.weights_texts import calibration_document, calibration_text, check_document, check_rows
from robustiqa.core.errors import InputError, UnknownNameError, WeightsError
from robustiqa.core.registry import did_you_mean

if TYPE_CHECKING:
    from robustiqa.core.calibration import Calibration
    from robustiqa.core.dataset import Dataset
    from robustiqa.core.model import QualityModel
    from robustiqa.training.fits import RawScores

FITS = ("affine", "logistic", "scale")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into a weights file, or give it a scale.")
File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A weights file, a run folder, or the name of shipped weights.",
        show_default=False,
    ),
]


@app.command()
def check(
    file: File,
    model: options.ModelName = None,
    backbone: options.Backbone = None,
    json: options.Json = False,
) -> int:
    """Compare a weights file with its model, entry by entry, and say all that the file says.

    Takes what this package writes and published checkpoints (.pth, .pkl, .pt, .safetensors; name their model).
    A pickle is read as plain tensors only: none of its code runs. The exit code is 0 if the file can be used,
    else 2, with one sentence.

    Example: robustiqa weights check koniq_pretrained.pkl --model hyperiqa
    """
    from robustiqa.models.check import check_weights

    output = Output("weights check", json)
    found = check_weights(_find(file), name=model, **_options(backbone))
    output.table(["what", "found"], check_rows(found), words=2)
    output.document(**check_document(found))
    if found.problem is None:
        return 0
    output.note(found.problem)
    return WeightsError.exit_code


@app.command()
def calibrate(
    file: File,
    out: Annotated[Path, typer.Option(metavar="FILE", help="New weights file, .safetensors.", show_default=False)],
    fit: Annotated[str, typer.Option(metavar="|".join(FITS), help="What to fit.")] = "affine",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC", help="Dataset with opinion scores; not needed with --raw-range.", show_default=False
        ),
    ] = None,
    data_option: options.DataOption = None,
    part: Annotated[
        str, typer.Option(metavar="NAME", help="Part of the split to fit on, never the one results are about.")
    ] = "validation",
    raw_range: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="Known range of the raw scores; for --fit scale, instead of --data."),
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Low raw scores mean good photographs; turn them round.")
    ] = False,
    model: options.ModelName = None,
    backbone: options.Backbone = None,
    small: options.Small = "refuse",
    device: options.Device = "auto",
    workers: options.Workers = 2,
    json: options.Json = False,
) -> int:
    """Write a weights file anew, with a fit that brings its scores to 0..100.

    scale maps a range, affine is a line (k and b), logistic is the 4-parameter curve; the latter two are least
    squares to opinion scores. The fit takes the place of any that the file has. Every score, gradient and
    attack is then that of the calibrated score; where a logistic saturates, these are small because of the curve.

    Example: robustiqa weights calibrate runs/nt --data biq2021:data/biq2021 --out nt-on-mos.safetensors
    """
    from robustiqa.cli.devices import find_device
    from robustiqa.models.loading import load_model, save_calibrated
    from robustiqa.models.weights import file_hash

    output = Output("weights calibrate", json)
    path = _find(file)
    _check_request(out, fit, data, raw_range)
    loaded = load_model(path, name=model, **_options(backbone)).to(find_device(device))
    if raw_range is not None:
        found = _known_range(raw_range, lower_is_better)
    else:
        dataset = open_dataset(str(data), data_option)
        with output.progress("scoring") as tell, reading_ahead(dataset.part(part), workers) as photos:
            found = _fitted(loaded, photos, fit, lower_is_better, small, tell)
        found.fitted_on.update(_identity(dataset, part))
    save_calibrated(path, out, found.calibration, found.fitted_on, name=model, **_options(backbone))
    _print_fit(output, out, loaded.calibration, found)
    output.document(
        source=path,
        weights=out,
        sha256=file_hash(out),
        replaced=calibration_document(loaded.calibration),
        calibration=calibration_document(found.calibration),
        fitted_on=found.fitted_on or None,
        **found.numbers,
    )
    return 0


@dataclass(frozen=True)
class _Fitted:
    """A calibration, what it was fitted on, and how well it does there."""

    calibration: Calibration
    fitted_on: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)


def _known_range(text: str, lower_is_better: bool) -> _Fitted:
    from robustiqa.core.calibration import Rescale

    ends = parse_value(text)
    if not isinstance(ends, tuple) or len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        raise InputError(f"--raw-range takes LOW,HIGH, such as 1,5, got {text!r}.")
    return _Fitted(Rescale(float(ends[0]), float(ends[1]), lower_is_better))


def _fitted(model: QualityModel, photos: Dataset, fit: str, lower_is_better: bool, small: str, tell: Tell) -> _Fitted:
    from robustiqa.training.fits import fit_calibration, raw_scores

    raw = raw_scores(model, photos, small=small, progress=tell)
    calibration = fit_calibration(fit, raw, lower_is_better=lower_is_better)
    return _Fitted(calibration, {"photos": len(photos)}, _quality(raw, model.calibration, calibration))


def _identity(dataset: Dataset, part: str) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint(),
        "split": dataset.split_fingerprint(),
        "part": part,
    }


def _find(file: str) -> Path:
    from robustiqa.models.files import find_weights

    return find_weights(file)


def _options(backbone: str | None) -> dict[str, str]:
    return {} if backbone is None else {"backbone": backbone}


def _check_request(out: Path, fit: str, data: str | None, raw_range: str | None) -> None:
    """Refuses what can't be done before anything is computed."""
    if out.suffix != ".safetensors":
        raise InputError(f"--out takes a .safetensors file, got {out}.")
    if out.exists():
        raise InputError(f"{out} exists; a weights file is never overwritten, choose another name.")
    if fit not in FITS:
        raise UnknownNameError(f"unknown fit {fit!r}{did_you_mean(fit, list(FITS))} Known: {', '.join(FITS)}.")
    if raw_range is not None and (fit != "scale" or data is not None):
        raise InputError("--raw-range goes with --fit scale and without --data.")
    if raw_range is None and data is None:
        raise InputError("a fit needs photographs with opinion scores; name them with --data.")


def _quality(raw: RawScores, before: Calibration, after: Calibration) -> dict[str, Any]:
    from robustiqa.metrics.correlation import plcc, rmse
    from robustiqa.training.fits import flat_share

    scores = {"before": raw.calibrated(before), "after": raw.calibrated(after)}
    return {
        "rmse": {name: rmse(values, raw.mos) for name, values in scores.items()},
        "plcc": {name: plcc(values, raw.mos) for name, values in scores.items()},
        "flat_share": flat_share(after, raw),
    }


def _print_fit(output: Output, out: Path, before: Calibration, found: _Fitted) -> None:
    output.line(f"{out}: {calibration_text(found.calibration)}")
    output.line(f"in place of: {calibration_text(before)}")
    for name, digits in (("rmse", 2), ("plcc", 3)):
        if name in found.numbers:
            was, now = (number(found.numbers[name][when], digits) for when in ("before", "after"))
            output.line(f"{name.upper()} against the opinions it was fitted to: {was} before, {now} after")
    if found.numbers.get("flat_share"):
        output.note(
            f"{found.numbers['flat_share']:.0%} of the photographs stand where the logistic has less than a tenth of "
            "the slope it has at others; small gradients and changes there are the curve's and no robustness."
        )
