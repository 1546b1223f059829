"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; notes and progress go to stderr.")
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, cuda:1, mps, or auto (a GPU if there is one)."),
]
TrainingDevice = Annotated[
    str, typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, mps, or auto (a GPU if there is one).")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random draw.")]


def parse_batch_size(text: str) -> int | None:
    """The number that `--batch-size` says; None for `auto`."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise typer.BadParameter(f"{text!r} is neither auto nor a whole number of at least 1.")
    return int(text)


BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N|auto",
        parser=parse_batch_size,
        help="Photographs of one size to compute at a time; auto: on a GPU up to 8, as many as its memory holds, on a "
        "CPU 1.",
        show_default="auto",
    ),
]
Workers = Annotated[int, typer.Option(metavar="N", min=0, help="Threads that read photographs ahead.")]
Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH", help="Photographs, or folders that hold them.", show_default=False)
]
Recursive = Annotated[bool, typer.Option("--recursive", help="Look below the folders, too.")]
Small = Annotated[
    str,
    typer.Option(
        metavar="refuse|pad", help="What to do with photographs smaller than a crop; pad extends by reflection."
    ),
]
MaxSide = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Shrink photographs whose longer side has more pixels; for models that take whole ones, such as dbcnn.",
        show_default="as they are",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[LABEL=]W",
        help="A weights file, a run folder, the name of shipped weights, pyiqa:NAME or package.module:factory; "
        "may be given several times.",
        show_default="the demonstration pair that ships with the package",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Model that published checkpoints are for, such as hyperiqa."),
]
Backbone = Annotated[
    str | None, typer.Option(metavar="NAME", help="timm name of their backbone, such as resnet50.tv_in1k.")
]
Data = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="NAME:PATH (see robustiqa list datasets), csv:PATH, builtin, or a path that shows which it is.",
        show_default=False,
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Option of the dataset's loader, such as scale=1,5 for csv; repeatable."),
]
