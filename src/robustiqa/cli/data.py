"""`robustiqa data`: what a dataset holds, and whether all of it can be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.cli import options
from robustiqa.cli.output import Output, number
from robustiqa.cli.parsing import parse_pairs
from robustiqa.cli.photos import reading_ahead

if TYPE_CHECKING:
    from robustiqa.core.dataset import Dataset

SMALLEST_SIDE = 224  # the crop of most models

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into a dataset before work with it starts.")
Spec = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="NAME:PATH (see robustiqa list datasets), csv:PATH, builtin, or a path that shows which it is.",
        show_default=False,
    ),
]


def open_dataset(spec: str, data_options: Sequence[str] | None, max_side: int | None = None) -> Dataset:
    """The dataset that `--data` and `--data-option` stand for, its photographs shrunk to `--max-side`."""
    from robustiqa.datasets import create_dataset
    from robustiqa.datasets.max_side import shrunk

    dataset = create_dataset(spec, **parse_pairs(data_options or (), "--data-option"))
    return dataset if max_side is None else shrunk(dataset, max_side)


def refuse_unusable(photos: Dataset, side: int, output: Output, workers: int) -> None:
    """Reads every photograph before hours are spent on them; those that are made, not read from files, are trusted.

    Args:
        photos: What is going to be used; its parts must not share pixels.
        side: Smallest height and width that a photograph must have.
        output: For the progress bar.
        workers: Threads that read ahead; one if 0.

    Raises:
        DataError: naming the first that can't be used, and how many there are.
    """
    from robustiqa.core.errors import DataError
    from robustiqa.core.image_files import FileSource
    from robustiqa.datasets.check import check_dataset
    from robustiqa.datasets.max_side import Shrunk

    sources = [photo.source for photo in photos]
    files = [source.source if isinstance(source, Shrunk) else source for source in sources]
    if not any(isinstance(file, FileSource) for file in files):
        return
    with output.progress("reading photographs") as tell, reading_ahead(photos, max(workers, 1)) as ahead:
        problems = check_dataset(ahead, side, progress=tell)
    if problems:
        first = problems[0].sentence.rstrip(".")
        raise DataError(f"{first} ({len(problems)} unusable in all; `robustiqa data check` names each).")


@app.command()
def info(spec: Spec, data_option: options.DataOption = None, json: options.Json = False) -> int:
    """Show parts, counts, scores and hashes.

    No photograph is read.

    Example: robustiqa data info biq2021:data/biq2021
    """
    output = Output("data info", json)
    dataset = open_dataset(spec, data_option)
    parts = {name: _describe(dataset.part(name)) for name in ("all", *dataset.parts)}
    scale = dataset.mos_scale
    published = "none" if scale is None else f"{scale.low:g} to {scale.high:g}, mapped to 0 to 100"
    output.line(f"{dataset.name}: {len(dataset)} photographs")
    output.line(f"published scores: {published}")
    output.line(f"photographs and scores {dataset.fingerprint()}, split {dataset.split_fingerprint()}")
    output.table(
        ["part", "photos", "groups", "lowest MOS", "median MOS", "highest MOS"],
        [
            [
                name,
                str(part["photos"]),
                str(part["groups"] or "-"),
                *(number(part["mos"][key] if part["mos"] else None) for key in ("lowest", "median", "highest")),
            ]
            for name, part in parts.items()
        ],
    )
    output.document(
        name=dataset.name,
        photos=len(dataset),
        published_scale=None if scale is None else [scale.low, scale.high],
        fingerprint=dataset.fingerprint(),
        split_fingerprint=dataset.split_fingerprint(),
        parts=parts,
    )
    return 0


def _describe(part: Dataset) -> dict[str, Any]:
    from statistics import median

    scores = [photo.mos for photo in part if photo.mos is not None]
    return {
        "photos": len(part),
        "groups": len({photo.group for photo in part if photo.group}),
        "mos": {"lowest": min(scores), "median": median(scores), "highest": max(scores)} if scores else None,
    }


@app.command()
def check(
    spec: Spec,
    data_option: options.DataOption = None,
    side: Annotated[
        int, typer.Option(metavar="N", min=1, help="Smallest height and width that a photograph must have.")
    ] = SMALLEST_SIDE,
    workers: options.Workers = 2,
    json: options.Json = False,
) -> int:
    """Read every photograph, and name each unusable one.

    Unusable is what can't be read, is too small, or stands in two parts of the split.

    Example: robustiqa data check csv:photos --data-option scale=1,5
    """
    from robustiqa.datasets.check import check_dataset

    output = Output("data check", json)
    dataset = open_dataset(spec, data_option)
    with output.progress("reading") as tell, reading_ahead(dataset, workers) as ahead:
        problems = check_dataset(ahead, side, progress=tell)
    for problem in problems:
        output.note(problem.sentence)
    usable = len(dataset) - len({problem.key for problem in problems})
    output.line(f"{dataset.name}: {usable} of {len(dataset)} photographs can be used")
    output.document(
        name=dataset.name,
        photos=len(dataset),
        usable=usable,
        fingerprint=dataset.fingerprint(),
        split_fingerprint=dataset.split_fingerprint(),
        problems=[{"path": problem.key, "sentence": problem.sentence} for problem in problems],
    )
    return 1 if problems else 0
