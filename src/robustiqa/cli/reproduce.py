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
from robustiqa.cli.reproduce_texts import named_files, refuse_strange, shown_command
from robustiqa.cli.watching import Watch
from robustiqa.cli.weights import label_weights

if TYPE_CHECKING:
    from robustiqa.experiments.attack_plan import AttackPlan
    from robustiqa.experiments.benchmark import Benchmark
    from robustiqa.experiments.comparison import Comparison
    from robustiqa.report.html import Report

ALL = "all"  # every benchmark that ships
ALL_TITLE = "The paper's tables and figures, and ours"


def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE.toml|all", help="`robustiqa list experiments` names them.", show_default=False
        ),
    ],
    data: options.Data,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Run folder; running again continues.", show_default="runs/NAME"),
    ] = None,
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
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any field of the recipe; MODEL.NAME=VALUE for one model of a benchmark; repeatable.",
        ),
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
            metavar="NAME=FILE",
            help="What an attack was fitted to. A plan leaves attacks without out, a benchmark fits them; repeatable.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Model of a benchmark to attack; repeatable.", show_default="all"),
    ] = None,
    trained: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=FOLDER",
            help="Run folder of the comparison of a benchmark's model; repeatable.",
            show_default="trained in OUT",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How many of a benchmark's models' seeds to attack.", show_default="1"),
    ] = None,
    lpips_weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="torchvision's VGG-16, for LPIPS in a plan's tables.", show_default="none"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few photographs, one epoch or few steps: shows that it runs, no result.")
    ] = False,
    device: options.TrainingDevice = "auto",
    batch_size: options.BatchSize = None,
    json: options.Json = False,
) -> int:
    """Run a declared experiment to its tables, or go on with it; `all` runs every benchmark.

    A comparison trains, chooses, attacks and reports. A plan of attacks takes models that are there (--weights) and
    makes tables of what each attack does to them. A benchmark takes the models of several comparisons, trained here or
    before (--trained), and makes a table or figure of the paper. Several processes may work on one run folder at once,
    started one by one or by torchrun. With --keep FOLDER, another machine goes on with a comparison or a plan from the
    finished records alone; a benchmark also needs its trainings (--trained) and what its attacks read (--attack-file).

    Example: robustiqa reproduce nt-biq2021-light --data biq2021:data/biq2021 --out runs/light
    """
    from robustiqa.cli.devices import find_device, training_device
    from robustiqa.cli.showing import print_report, report_document, write_report
    from robustiqa.evaluation.fitting import default_batch_size
    from robustiqa.experiments.comparison import Comparison
    from robustiqa.experiments.declared import load_benchmarks, load_experiment
    from robustiqa.experiments.reproduction import Place
    from robustiqa.training.loop import RunOptions

    output = Output("reproduce", json)
    files = named_files(attack_file, "--attack-file")
    declared = load_benchmarks() if experiment == ALL else load_experiment(experiment, files)
    training = {"--backbone-weights": backbone_weights, "--cache": cache, "--workers": workers, "--set": values}
    attacking = {"--weights": weights, "--lpips-weights": lpips_weights, "--model": model, "--trained": trained}
    refuse_strange(_kind(declared), {**training, **attacking, "--seeds": seeds})
    given = {} if backbone_weights is None else {"model.backbone_weights": backbone_weights}
    recipe = {**given, **parse_pairs(values or (), "--set")}
    planned = _planned(declared, model, quick)
    if isinstance(planned, Comparison):
        planned = planned.with_recipe(recipe)
    runs = {name: Path(folder) for name, folder in named_files(trained, "--trained", "MODEL").items()}
    out = out or Path("runs") / Path(experiment).stem
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
            batch_size=batch_size or default_batch_size(place_of_work),
            tell=output.note,
            progress=watch.attacking,
        )
        if isinstance(planned, Comparison):
            made, records = _compare(planned, dataset, place)
        elif isinstance(planned, list):
            title = ALL_TITLE if experiment == ALL else ""
            made, records = _benchmark(
                planned, title, dataset, place, values=recipe, runs=runs, files=files, seeds=seeds or 1
            )
        else:
            made, records = _attack(planned, label_weights(weights or ()), lpips_weights, dataset, place)
    if not process.first:
        return 0
    labels = planned.models if not isinstance(planned, Comparison | list) else ()
    shown = {
        "--set": values or (),
        "--weights": [f"{label}=FILE" for label in labels],
        "--attack-file": [f"{name}=FILE" for name in files],
        "--model": model or (),
        "--trained": [f"{name}=FOLDER" for name in runs],
        "--seeds": [] if seeds is None else [str(seeds)],
    }
    made = replace(made, commands=(shown_command(experiment, data, shown, quick),))
    page = write_report(made, out)
    print_report(output, made)
    output.line(f"\n{page}")
    output.document(report=page, kept=kept, records=records, **report_document(made))
    return 0


def _kind(declared: Comparison | AttackPlan | Benchmark | list[Benchmark]) -> str:
    from robustiqa.experiments.attack_plan import AttackPlan
    from robustiqa.experiments.comparison import Comparison

    if isinstance(declared, Comparison):
        return "comparison"
    return "plan" if isinstance(declared, AttackPlan) else "benchmark"


def _planned(
    declared: Comparison | AttackPlan | Benchmark | list[Benchmark], models: Sequence[str] | None, quick: bool
) -> Comparison | AttackPlan | list[Benchmark]:
    """What is going to be run: benchmarks as a list, those of `all` that attack none of the models left out."""
    from robustiqa.experiments.attack_plan import AttackPlan
    from robustiqa.experiments.comparison import Comparison

    if isinstance(declared, Comparison | AttackPlan):
        return declared.made_quick() if quick else declared
    if isinstance(declared, list) and models:
        declared = [one for one in declared if set(models) & set(one.models)] or declared
    listed = declared if isinstance(declared, list) else [declared]
    listed = [one.of_models(models) if models else one for one in listed]
    return [one.made_quick() if quick else one for one in listed]


def _compare(comparison: Comparison, dataset: Any, place: Any) -> tuple[Report, int]:
    from robustiqa.experiments.reproduction import reproduce as run
    from robustiqa.report import report

    found = run(comparison, dataset, place)
    return report(found), len(found.records)


def _attack(
    plan: AttackPlan, weights: dict[str, str], lpips: str | None, dataset: Any, place: Any
) -> tuple[Report, int]:
    from robustiqa.experiments.attack_run import run_attacks
    from robustiqa.models.files import find_weights
    from robustiqa.report.attack_report import attack_report

    files = {label: find_weights(source) for label, source in weights.items()}
    found = run_attacks(plan, dataset, files, place, lpips=lpips)
    return attack_report(list(found.values())), sum(len(one.records) for one in found.values())


def _benchmark(benchmarks: list[Benchmark], title: str, dataset: Any, place: Any, **more: Any) -> tuple[Report, int]:
    from robustiqa.experiments.benchmark_run import run_benchmarks
    from robustiqa.report.benchmark import benchmark_report

    done = run_benchmarks(benchmarks, dataset, place, **more)
    found = [evaluation for one in done for evaluation in one.sets]
    pictures = [item for one in done for item in one.pictures]
    return benchmark_report(found, title, pictures), sum(len(evaluation.records) for evaluation in found)
