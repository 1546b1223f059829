"""`robustiqa train`: a recipe and a dataset go in, a run folder with weights comes out."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustiqa.cli import options
from robustiqa.cli.data import open_dataset, refuse_unusable
from robustiqa.cli.output import Output, Tell, number
from robustiqa.cli.parsing import parse_pairs
from robustiqa.cli.processes import part_from_others, this_process

if TYPE_CHECKING:
    from robustiqa.core.dataset import Dataset
    from robustiqa.training.loop import TrainingProgress
    from robustiqa.training.spec import TrainingSpec

RECIPE = "as in the recipe"


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE|FILE.toml", help="`robustiqa list recipes` names them.", show_default=False)
    ],
    data: options.Data,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Run folder; running again continues.", show_default=False)
    ],
    data_option: options.DataOption = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", min=1, show_default=RECIPE)] = None,
    weight: Annotated[
        float | None,
        typer.Option(metavar="W", min=0, help="Of the penalty; 0 trains the baseline.", show_default=RECIPE),
    ] = None,
    backbone_weights: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="ImageNet weights file, or timm to fetch them.", show_default=RECIPE),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any field of the recipe, such as optimizer.schedule=cosine."),
    ] = None,
    keep_epochs: Annotated[bool, typer.Option("--keep-epochs", help="Keep the weights of every epoch.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard scalars.")] = False,
    gradient_checkpointing: Annotated[
        bool,
        typer.Option("--gradient-checkpointing", help="Compute blocks again instead of keeping them: less memory."),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Decoded photographs, shared between runs.", show_default="the run folder"),
    ] = None,
    beginnings: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where runs that differ in their penalty alone share the epochs before it begins.",
            show_default="none",
        ),
    ] = None,
    device: options.TrainingDevice = "auto",
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Seed of every random draw.", show_default=RECIPE)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Crops a step.", show_default=RECIPE)
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Processes that read photographs.")] = 0,
    json: options.Json = False,
) -> int:
    """Train a model by a recipe, or go on with a run.

    The last epoch is the result: FOLDER/model.safetensors. Started by torchrun, several processes share each batch.

    Example: robustiqa train hyperiqa-biq2021-light --data biq2021:data/biq2021 --out runs/nt
    """
    from robustiqa.cli.devices import training_device
    from robustiqa.training.loop import RunOptions
    from robustiqa.training.loop import train as train_model
    from robustiqa.training.spec import load_recipe

    output = Output("train", json)
    given = {
        "epochs": epochs,
        "penalty.weight": weight,
        "model.backbone_weights": backbone_weights,
        "seed": seed,
        "batch_size": batch_size,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    spec = load_recipe(recipe).with_values({**overrides, **parse_pairs(values or (), "--set")})
    where = training_device(device)
    dataset = open_dataset(data, data_option)
    first = this_process().first
    resumed_after = _prepare(spec, dataset, out, output, workers) if first else 0
    with output.progress("training") as tell:
        carried_out = RunOptions(
            device=where,
            workers=workers,
            gradient_checkpointing=gradient_checkpointing,
            cache=cache,
            beginnings=beginnings,
            keep_epochs=keep_epochs,
            tensorboard=tensorboard,
            progress=_Listener(output, tell),
        )
        file = train_model(spec, dataset, out, carried_out)
    part_from_others()
    if first:
        _print_result(file, resumed_after, output)
    return 0


@dataclass(frozen=True)
class _Listener:
    """Moves the progress bar, and says a line after each epoch that was validated."""

    output: Output
    tell: Tell

    def __call__(self, now: TrainingProgress) -> None:
        figures = f"loss {now.loss:.3f}, penalty {now.penalty:.3f}"
        self.tell(now.step, now.steps, f"epoch {now.epoch}/{now.epochs}, {figures}")
        if now.validation_srocc is not None:
            srocc = number(now.validation_srocc, 4)
            self.output.note(f"epoch {now.epoch}/{now.epochs}: {figures}, validation SROCC {srocc}")


def _prepare(spec: TrainingSpec, dataset: Dataset, out: Path, output: Output, workers: int) -> int:
    """Says where a run stands, and reads every photograph before a new one starts; makes no folder.

    Returns:
        The step after which the run goes on; 0 for a new one.

    Raises:
        SpecError: if the folder is of another run.
        DataError: if a photograph can't be used.
    """
    from robustiqa.core.run_folder import SPEC_FILE, WEIGHTS_FILE, open_run_folder
    from robustiqa.training.build import resolve
    from robustiqa.training.checkpoints import PREFIX, newest_checkpoint

    resolved = resolve(spec, dataset)
    if not (out / SPEC_FILE).is_file():  # training makes the folder, once the request is known to be met
        _check_photos(spec, dataset, output, workers)
        return 0
    open_run_folder(out, resolved)
    checkpoint = newest_checkpoint(out)
    if (out / WEIGHTS_FILE).is_file():
        output.note(f"{out} holds this run's result already; nothing is left to train.")
    elif checkpoint is not None:
        step = int(checkpoint.name.removeprefix(PREFIX))
        output.note(f"continuing the run in {out} after step {step}.")
        return step
    return 0


def _check_photos(spec: TrainingSpec, dataset: Dataset, output: Output, workers: int) -> None:
    """Reads the photographs in files that the run is going to use."""
    from robustiqa.models import create_model
    from robustiqa.training.build import crop_side

    dataset.part(spec.data.part)  # refused before anything is said of the rest
    if spec.data.validation not in dataset.parts:
        output.note(f"{dataset.name} has no part {spec.data.validation!r}; no validation SROCC is measured.")
    used = {part: dataset.parts[part] for part in (spec.data.part, spec.data.validation) if part in dataset.parts}
    chosen = dataset.select([key for keys in used.values() for key in keys]) if spec.data.part in used else dataset
    side = crop_side(create_model(spec.model.name, **spec.model.options), spec)
    refuse_unusable(replace(chosen, parts=used), side, output, workers)


def _print_result(file: Path, resumed_after: int, output: Output) -> None:
    from robustiqa.models.weights import file_hash
    from robustiqa.training.loop import HISTORY_FILE

    history = file.parent / HISTORY_FILE
    epochs = jsonlib.loads(history.read_text(encoding="utf-8"))["epochs"] if history.is_file() else []
    last = epochs[-1] if epochs else {}
    validated = f", validation SROCC {number(last['srocc'], 4)} after the last epoch" if "srocc" in last else ""
    output.line(f"{file}{validated}")
    output.document(weights=file, sha256=file_hash(file), resumed_after_step=resumed_after, epochs=epochs)
