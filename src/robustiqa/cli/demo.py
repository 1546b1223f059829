"""`robustiqa demo`: trains a baseline and an NT model, attacks both, and shows what NT holds and costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robustiqa.cli import options
from robustiqa.cli.data import open_dataset
from robustiqa.cli.output import Output
from robustiqa.cli.watching import Watch


def demo(
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC", help="Photographs with opinion scores, as in `train --data`.", show_default="builtin"
        ),
    ] = None,
    data_option: options.DataOption = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Run folder; running again continues.")] = Path(
        "runs/demo"
    ),
    device: options.TrainingDevice = "auto",
    seed: options.Seed = 0,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures attacked at a time.")] = 8,
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Processes that read photographs to train on.")] = 0,
    json: options.Json = False,
) -> int:
    """Train a baseline and an NT model, attack and compare both.

    Takes minutes on two cores and no network. Exits with 1 if the comparison does not show what it claims.

    Example: robustiqa demo --out runs/demo
    """
    from robustiqa.cli.devices import training_device
    from robustiqa.cli.showing import print_report, report_document
    from robustiqa.experiments.demo import run_demo
    from robustiqa.report import report as make_report
    from robustiqa.training.loop import RunOptions

    output = Output("demo", json)
    carried_out = RunOptions(device=training_device(device), workers=workers)
    photos = None if data is None else open_dataset(data, data_option)
    with output.bars() as start:
        watch = Watch(start)
        result = run_demo(
            out,
            data=photos,
            seed=seed,
            batch_size=batch_size,
            options=carried_out,
            tell=output.note,
            on_training=watch.training,
            on_attack=watch.attacking,
        )
    made = make_report(result.evaluation)
    print_report(output, made)
    output.line()
    for claim in result.claims:
        output.line(f"{'holds' if claim.holds else 'FAILS'}: {claim.sentence}")
    output.line(f"\n{result.report}")
    output.document(
        report=result.report,
        holds=result.holds,
        claims=[asdict(claim) for claim in result.claims],
        **report_document(made),
    )
    return 0 if result.holds else 1
