"""`robustiqa fit`: a model and photographs go in, the learned state of an attack comes out.

A verb of its own: what follows `robustiqa attack` are photographs, and what `robustiqa train` makes is a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustiqa.cli import options
from robustiqa.cli.data import open_dataset
from robustiqa.cli.output import Output, number
from robustiqa.cli.parsing import parse_pairs
from robustiqa.cli.weights import DEMO_NOTE, DEMO_WEIGHTS, LabeledModel, load_models

if TYPE_CHECKING:
    from robustiqa.training.attack_fitting import FitProgress

PUBLISHED = "as published"


def fit(
    name: Annotated[
        str,
        typer.Argument(metavar="ATTACK", help="uap or facpa; `robustiqa list fits` names them.", show_default=False),
    ],
    data: options.Data,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Run folder; running again continues.", show_default=False)
    ],
    data_option: options.DataOption = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="[LABEL=]W",
            help="The source model: a weights file, a run folder, the name of shipped weights, pyiqa:NAME or "
            "package.module:factory.",
            show_default=DEMO_WEIGHTS[0],
        ),
    ] = None,
    model: options.ModelName = None,
    backbone: options.Backbone = None,
    eps: Annotated[
        str | None,
        typer.Option(metavar="E", help="Amplitude to fit at; the attack scales it.", show_default="10/255"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Passes over the photographs a direction.", show_default=PUBLISHED),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other field, such as kind=cumulative, goals=raise or part=all."
        ),
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Crops a step.", show_default=PUBLISHED)
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Decoded photographs, shared between runs.", show_default="the run folder"),
    ] = None,
    json: options.Json = False,
) -> int:
    """Fit an attack that is made beforehand, or go on with a fitting.

    FOLDER then stands for what was learned: robustiqa attack photo.jpg --attack uap:weights=FOLDER

    Example: robustiqa fit uap --weights runs/source --data biq2021:data/biq2021 --out runs/uap --set kind=cumulative
    """
    from robustiqa.cli.devices import find_device
    from robustiqa.core.errors import InputError
    from robustiqa.training.attack_fitting import FitOptions, create_fit, fit_attack

    output = Output("fit", json)
    flags = {"eps": eps, "epochs": epochs, "batch_size": batch_size}
    given = {flag: value for flag, value in flags.items() if value is not None}
    fields = parse_pairs(values or (), "--set")
    twice = sorted(set(given) & set(fields))
    if twice:
        raise InputError(f"{twice[0]} is given twice, with --set and as --{twice[0].replace('_', '-')}; drop one.")
    spec = create_fit(name, **{"seed": seed, **given, **fields})
    dataset = open_dataset(data, data_option)
    where = find_device(device)
    external = model is not None and weights is None
    (source,) = load_models(None if external else [weights or DEMO_WEIGHTS[0]], model, backbone, where)
    if source.label == DEMO_WEIGHTS[0]:
        output.line(DEMO_NOTE)
    with output.progress("fitting") as tell:

        def show(now: FitProgress) -> None:
            tell(now.step, now.steps, f"{now.goal}, epoch {now.epoch}/{now.epochs}, mean score {now.mean_score:.2f}")

        carried_out = FitOptions(device=where, cache=cache, progress=show, source=_origin(source))
        file = fit_attack(spec, source.model, dataset, out, carried_out)
    _print_result(file, output)
    return 0


def _origin(source: LabeledModel) -> dict[str, str | None]:
    """What the file says of its source beside what the model itself shows; no path, for files travel."""
    from robustiqa.core.errors import WeightsError
    from robustiqa.core.surrogate import surrogate_card

    said = {"label": source.label, "sha256": source.sha256}
    try:
        card = surrogate_card(str(source.source)) if source.sha256 else None
    except WeightsError:  # a published checkpoint, which says nothing of itself
        card = None
    return said if card is None else {**said, "backbone": card.backbone, "initialization": card.initialization}


def _print_result(file: Path, output: Output) -> None:
    from robustiqa.core.tensor_files import file_hash, read_tensors

    said = read_tensors(file, tensors=False).metadata
    means = {goal: scores[-1] for goal, scores in said["mean_scores"].items()}
    found = ", ".join(f"{goal} {number(mean)}" for goal, mean in means.items())
    output.line(f"{file}, mean score in the last epoch: {found}")
    output.document(weights=file, sha256=file_hash(file), **said)
