"""`robustiqa attack`: changes photographs invisibly so that their scores move, and writes what a file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.cli import options
from robustiqa.cli.adversarials import AttackedPhoto, Writer, measure
from robustiqa.cli.attacking import ATTACK_HELP, DEFAULT_OBJECTIVE, ObjectiveName, build_attack
from robustiqa.cli.output import Output, number
from robustiqa.cli.photos import Inputs, find_inputs, photos_at_once, smallest_side, whole_photo
from robustiqa.cli.weights import DEMO_NOTE, load_models

if TYPE_CHECKING:
    from torch import Tensor

    from robustiqa.attacks.base import NamedAttack
    from robustiqa.core.attack import AttackResult
    from robustiqa.core.model import QualityModel


@dataclass(frozen=True)
class _Plan:
    """How every photograph is attacked."""

    attack: NamedAttack
    objective: str
    seed: int
    patchwise: bool

    @property
    def described(self) -> dict[str, Any]:
        """What is said of it in JSON."""
        return {
            "attack": self.attack.label,
            "objective": self.objective,
            "eps": self.attack.budget,
            "seed": self.seed,
            "variant": "patchwise" if self.patchwise else "end_to_end",
        }

    def __call__(self, model: QualityModel, images: Tensor, keys: Sequence[str]) -> AttackResult:
        if not self.patchwise:
            return self.attack(model, images, keys=keys)
        from robustiqa.attacks.patchwise import attack_patchwise
        from robustiqa.core.errors import InputError
        from robustiqa.models.crop_average import CropAverage

        if not isinstance(model, CropAverage):
            raise InputError("--patchwise needs a model that averages crops; this one takes whole photographs.")
        return attack_patchwise(self.attack, model, images, keys)


def attack(
    paths: options.Paths,
    weights: options.Weights = None,
    model: options.ModelName = None,
    backbone: options.Backbone = None,
    name: Annotated[str, typer.Option("--attack", metavar="NAME", help=ATTACK_HELP)] = "ifgsm",
    eps: Annotated[
        str | None,
        typer.Option(metavar="E", help="Largest change of one pixel, in [0, 1] units.", show_default="4/255"),
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Steps, of attacks that take some.")] = None,
    step_size: Annotated[
        str | None, typer.Option(metavar="E", help="Length of a step.", show_default="2.5 * eps / steps")
    ] = None,
    objective: ObjectiveName = DEFAULT_OBJECTIVE,
    random_start: Annotated[
        bool, typer.Option("--random-start", help="Start at a random point of the budget.")
    ] = False,
    patchwise: Annotated[
        bool,
        typer.Option("--patchwise", help="Attack each crop for itself, as papers do; no one image holds the result."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Where adversarial PNGs, amplified differences and JSON records go; nothing is written without it.",
        ),
    ] = None,
    recursive: options.Recursive = False,
    small: options.Small = "refuse",
    max_side: options.MaxSide = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    workers: options.Workers = 2,
    json: options.Json = False,
) -> int:
    """Attack photographs, and write what a PNG can hold.

    Each pixel changes by at most eps. What counts is the 8-bit image; its score stands beside the float image's.
    Several --weights are attacked in turn.

    Example: robustiqa attack photo.jpg --weights runs/baseline --attack fgsm --eps 0.01 --out adversarial
    """
    from robustiqa.cli.devices import find_device

    output = Output("attack", json)
    flags = {"eps": eps, "steps": steps, "step_size": step_size, "random_start": random_start or None}
    plan = _Plan(build_attack(name, objective, seed, flags), objective, seed, patchwise)
    inputs = find_inputs(paths, recursive)
    writer = Writer(out, plan.attack.name, inputs.paths)
    if not inputs.paths:
        inputs.refuse_if_none(0)
    place = find_device(device)
    loaded = load_models(weights, model, backbone, place)
    inputs.max_side = max_side
    inputs.smallest = smallest_side([entry.model for entry in loaded], small)
    whole = {entry.label: whole_photo(entry.model, small) for entry in loaded}
    if not weights:
        output.line(DEMO_NOTE)
    told = {entry.label: {**plan.described, "max_side": max_side, "model": entry.describe()} for entry in loaded}
    together = photos_at_once(batch_size, whole, inputs.sources, place)
    found = _attack_all(inputs, whole, plan, writer, told, output, together, workers)
    inputs.refuse_if_none(len(found))
    _print_tables(output, found, plan)
    for problem in inputs.problems:
        output.note(problem.sentence)
    output.document(
        note=None if weights else DEMO_NOTE,
        **plan.described,
        max_side=max_side,
        models=[entry.describe() for entry in loaded],
        photos=[
            {"path": path, "results": {label: asdict(photo) for label, photo in by_model.items()}}
            for path, by_model in found.items()
        ],
        problems=[asdict(problem) for problem in inputs.problems],
    )
    return 1 if inputs.problems else 0


Found = dict[Path, dict[str, AttackedPhoto]]


def _attack_all(
    inputs: Inputs,
    models: dict[str, QualityModel],
    plan: _Plan,
    writer: Writer,
    told: Mapping[str, Mapping[str, Any]],
    output: Output,
    batch_size: int,
    workers: int,
) -> Found:
    from robustiqa.evaluation.fitting import Fitting

    device = next(iter(models.values())).input_mean.device
    fitting = Fitting(output.note)
    found: Found = {}
    with output.progress("attacking") as tell:
        for paths, images in inputs.batches(batch_size, workers):
            placed = images.to(device)
            found |= {path: {} for path in paths}
            for label, model in models.items():
                below = label if len(models) > 1 else ""
                work = partial(_attack_part, plan, model, placed, paths, writer, below, told[label])
                for photo in fitting.in_parts(model, placed, work):
                    found[photo.path][label] = photo
            tell(len(found) + len(inputs.problems), len(inputs.paths))
    return found


def _attack_part(
    plan: _Plan,
    model: QualityModel,
    images: Tensor,
    paths: Sequence[Path],
    writer: Writer,
    below: str,
    about: Mapping[str, Any],
    part: slice,
) -> list[AttackedPhoto]:
    result = plan(model, images[part], [str(path) for path in paths[part]])
    return measure(result, paths[part], writer, below, about)


def _print_tables(output: Output, found: Found, plan: _Plan) -> None:
    header = ["photo", "before", "8-bit", "change", "float", "levels", "L2", "SSIM", "gradients"]
    contested = any(photo.member for by_model in found.values() for photo in by_model.values())
    if contested:
        header.append("found by")
    for label in next(iter(found.values())):
        rows = [
            [
                str(path),
                number(photo.clean_score),
                number(photo.score),
                f"{photo.score - photo.clean_score:+.2f}",
                number(photo.float_score),
                str(photo.levels),
                number(photo.l2),
                number(photo.ssim, 4),
                str(photo.gradients),
                *([photo.member or "-"] if contested else []),
            ]
            for path, photo in ((path, by_model[label]) for path, by_model in found.items())
        ]
        variant = ", each crop for itself" if plan.patchwise else ""
        output.table(header, rows, title=f"{label}: {plan.attack.label}{variant}")
    files = [file for by_model in found.values() for photo in by_model.values() for file in photo.files]
    if files:
        folders = sorted({str(file.parent) for file in files})
        output.line(
            f"{len(files)} adversarial PNG files, each with its amplified difference and a JSON record, in "
            f"{', '.join(folders)}"
        )
