"""`robustiqa reproduce`: a declared experiment from photographs to tables, in as many sittings as it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustiqa.cli import options
from robustiqa.cli.data import open_dataset
from robustiqa.cli.output import Output
from robustiqa.cli.watching import Watch


def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(metavar="NAME|FILE.toml", help="`robustiqa list experiments` names them.", show_default=False),
    ],
    data: options.Data,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Run folder; running again continues.", show_default=False)
    ],
    data_option: options.DataOption = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Finished records, small and compressed; what is there is not done again.",
            show_default="OUT/kept",
        ),
    ] = None,
    backbone_weights: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="ImageNet weights file, or timm to fetch them.", show_default="the recipe's"),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Decoded photographs.", show_default="OUT/decoded")
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 1,
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Processes that read photographs to train on.")] = 0,
    json: options.Json = False,
) -> int:
    """Train, choose, attack and report a declared comparison, or go on with it.

    Several processes may work on one run folder at once. With --keep FOLDER, another machine goes on from the
    finished records alone.

    Example: robustiqa reproduce nt-biq2021-light --data biq2021:data/biq2021 --out runs/light
    """
    from robustiqa.cli.devices import find_device, training_device
    from robustiqa.cli.showing import print_report, report_document, write_report
    from robustiqa.experiments.comparison import load_comparison
    from robustiqa.experiments.reproduction import Place
    from robustiqa.experiments.reproduction import reproduce as run
    from robustiqa.report import report as make_report
    from robustiqa.training.loop import RunOptions

    output = Output("reproduce", json)
    comparison = load_comparison(experiment)
    if backbone_weights is not None:
        comparison = comparison.with_recipe({"model.backbone_weights": backbone_weights})
    dataset = open_dataset(data, data_option)
    place = find_device(device)
    kept = keep or out / "kept"
    with output.bars() as start:
        watch = Watch(start)
        found = run(
            comparison,
            dataset,
            Place(
                folder=out,
                kept=kept,
                options=RunOptions(
                    device=training_device(device),
                    workers=workers,
                    cache=cache or out / "decoded",
                    progress=lambda now: watch.training("training", now),
                ),
                device=str(place),
                batch_size=batch_size,
                tell=output.note,
                progress=watch.attacking,
            ),
        )
    made = make_report(found)
    page = write_report(made, out)
    print_report(output, made)
    output.line(f"\n{page}")
    output.document(report=page, kept=kept, records=len(found.records), **report_document(made))
    return 0
