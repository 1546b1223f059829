"""`robustiqa reproduce`: a declared experiment from photographs to tables, in as many sittings as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.cli import options
from robustiqa.cli.data import open_dataset
from robustiqa.cli.output import Output
from robustiqa.cli.parsing import parse_pairs
from robustiqa.cli.processes import this_process
from robustiqa.cli.watching import Watch
from robustiqa.cli.weights import label_weights
from robustiqa.core.errors import InputError

if TYPE_CHECKING:
    from robustiqa.experiments.attack_plan import AttackPlan
    from robustiqa.experiments.comparison import Comparison
    from robustiqa.report.html import Report


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
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Processes that read photographs to train on.")] = 0,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any field of a comparison's recipe; repeatable."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=FILE", help="Model of a plan of attacks: a weights file or run folder; repeatable."
        ),
    ] = None,
    attack_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE", help="What a plan's attack was fitted to; attacks without are left out; repeatable."
        ),
    ] = None,
    lpips_weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="torchvision's VGG-16, for LPIPS in a plan's tables.", show_default="none"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few photographs, one epoch or few steps: shows that it runs, no result.")
    ] = False,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 1,
    json: options.Json = False,
) -> int:
    """Run a declared experiment to its tables, or go on with it.

    A comparison trains, chooses, attacks and reports. A plan of attacks takes models that are there (--weights) and
    makes tables of what each attack does to them. Several processes may work on one run folder at once, started one by
    one or by torchrun. With --keep FOLDER, another machine goes on from the finished records alone.

    Example: robustiqa reproduce nt-biq2021-light --data biq2021:data/biq2021 --out runs/light
    """
    from robustiqa.cli.devices import find_device, training_device
    from robustiqa.cli.showing import print_report, report_document, write_report
    from robustiqa.experiments.comparison import Comparison
    from robustiqa.experiments.declared import load_experiment
    from robustiqa.experiments.reproduction import Place
    from robustiqa.training.loop import RunOptions

    output = Output("reproduce", json)
    declared = load_experiment(experiment, _named_files(attack_file))
    trains = isinstance(declared, Comparison)
    _refuse_strange(trains, backbone_weights, cache, workers, values, weights, lpips_weights)
    planned = declared.made_quick() if quick else declared
    if isinstance(planned, Comparison):
        given = {} if backbone_weights is None else {"model.backbone_weights": backbone_weights}
        planned = planned.with_recipe({**given, **parse_pairs(values or (), "--set")})
    dataset = open_dataset(data, data_option)
    kept = keep or out / "kept"
    process, place_of_work = this_process(), str(find_device(device))
    with output.bars() as start:
        watch = Watch(start)
        place = Place(
            folder=out,
            kept=kept,
            options=RunOptions(
                device=training_device(device) if process.count == 1 else place_of_work,
                alone=True,
                workers=workers,
                cache=cache or out / "decoded",
                progress=lambda now: watch.training("training", now),
            ),
            device=place_of_work,
            batch_size=batch_size,
            tell=output.note,
            progress=watch.attacking,
        )
        if isinstance(planned, Comparison):
            made, records = _compare(planned, dataset, place)
        else:
            made, records = _attack(planned, label_weights(weights or ()), lpips_weights, dataset, place)
    if not process.first:
        return 0
    labels = () if isinstance(declared, Comparison) else declared.models
    made = replace(made, commands=(_command(experiment, data, values, labels, attack_file, quick),))
    page = write_report(made, out)
    print_report(output, made)
    output.line(f"\n{page}")
    output.document(report=page, kept=kept, records=records, **report_document(made))
    return 0


def _command(
    experiment: str,
    data: str,
    values: Sequence[str] | None,
    models: Sequence[str],
    files: Sequence[str] | None,
    quick: bool,
) -> str:
    """What makes the report again, anywhere: files by what they are, not by where they lie here."""
    kind, separator, _ = data.partition(":")
    shown = f"{kind}:PATH" if separator else data if data == "builtin" else "PATH"
    parts = [f"robustiqa reproduce {Path(experiment).name} --data {shown} --out FOLDER"]
    parts += [f"--set {_without_path(text)}" for text in values or ()]
    parts += [f"--weights {label}=FILE" for label in models]
    parts += [f"--attack-file {text.partition('=')[0]}=FILE" for text in files or ()]
    return " ".join([*parts, *(["--quick"] if quick else [])])


def _without_path(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"{name}=FILE" if "/" in value or "\\" in value else pair


def _compare(comparison: Comparison, dataset: Any, place: Any) -> tuple[Report, int]:
    from robustiqa.experiments.reproduction import reproduce as run
    from robustiqa.report import report

    found = run(comparison, dataset, place)
    return report(found), len(found.records)


def _attack(
    plan: AttackPlan, weights: dict[str, str], lpips: str | None, dataset: Any, place: Any
) -> tuple[Report, int]:
    from robustiqa.experiments.attack_run import run_attacks
    from robustiqa.models.loading import find_weights
    from robustiqa.report.attack_report import attack_report

    files = {label: find_weights(source) for label, source in weights.items()}
    found = run_attacks(plan, dataset, files, place, lpips=lpips)
    return attack_report(list(found.values())), sum(len(one.records) for one in found.values())


def _named_files(texts: Sequence[str] | None) -> dict[str, str]:
    """`NAME=FILE` texts as names to files.

    Raises:
        InputError: if one is no pair, or names a file twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, source = text.partition("=")
        if not (name and equals and source):
            raise InputError(f"--attack-file takes NAME=FILE, got {text!r}.")
        if name in found:
            raise InputError(f"--attack-file is given twice for {name!r}; drop one.")
        found[name] = source
    return found


def _refuse_strange(
    trains: bool,
    backbone_weights: str | None,
    cache: Path | None,
    workers: int,
    values: Sequence[str] | None,
    weights: Sequence[str] | None,
    lpips_weights: str | None,
) -> None:
    """Refuses options of the other kind of experiment, which would be passed by in silence."""
    of_training = {"--backbone-weights": backbone_weights, "--cache": cache, "--workers": workers, "--set": values}
    of_attacks = {"--weights": weights, "--lpips-weights": lpips_weights}
    strange = [name for name, value in (of_attacks if trains else of_training).items() if value]
    if strange:
        kind, other = ("a plan of attacks", "trains") if trains else ("a comparison that trains", "only attacks")
        raise InputError(f"{strange[0]} goes with {kind}, and this experiment {other}.")
