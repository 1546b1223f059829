"""`robustiqa score`: what each photograph's score is, how steep it is there, and how far it can be pushed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustiqa.cli import options
from robustiqa.cli.output import Output, number
from robustiqa.cli.photos import Inputs, find_inputs, photos_at_once, smallest_side, whole_photo
from robustiqa.cli.weights import DEMO_NOTE, load_models

if TYPE_CHECKING:
    from torch import Tensor

    from robustiqa.attacks.base import NamedAttack
    from robustiqa.core.model import QualityModel, ScoreScale

RANGE_STEPS = 5  # a short attack: enough to show an undefended model's range, a few seconds a photograph
BEYOND_LINEAR = 0.25  # of the scale: where eps * L1 exceeds it, no score follows its tangent that far


@dataclass(frozen=True)
class FirstOrder:
    """What the tangent says: the score plus and minus eps times the gradient norm, clipped to the scale."""

    low: float
    high: float
    beyond_linear: bool


@dataclass(frozen=True)
class PhotoScore:
    """One photograph's score by one model.

    Attributes:
        score: On the model's scale.
        gradient_l1: L1 norm of the pixel-space gradient, end to end: the number that eps multiplies.
        range: Scores that a short attack reaches down and up, of 8-bit images; None if it was not asked for.
        first_order: None if it was not asked for.
    """

    score: float
    gradient_l1: float
    range: tuple[float, float] | None
    first_order: FirstOrder | None


@dataclass(frozen=True)
class _Request:
    """How to measure a score: the budget, the attack in each direction, and whether the tangent is asked for."""

    eps: float
    lower: NamedAttack | None
    higher: NamedAttack | None
    first_order: bool


def score(
    paths: options.Paths,
    weights: options.Weights = None,
    model: options.ModelName = None,
    backbone: options.Backbone = None,
    recursive: options.Recursive = False,
    small: options.Small = "refuse",
    max_side: options.MaxSide = None,
    crops: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Average over N random crops instead of the grid that covers the photo."),
    ] = None,
    crop_seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Seed of the random crops.", show_default="--seed")
    ] = None,
    attack_range: Annotated[
        bool, typer.Option("--range/--no-range", help="Measure how far a short attack pushes each score.")
    ] = True,
    eps: Annotated[str, typer.Option(metavar="E", help="Largest change of one pixel, in [0, 1] units.")] = "4/255",
    first_order: Annotated[
        bool, typer.Option("--first-order", help="Add the tangent's estimate, score +- eps * gradient norm.")
    ] = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    workers: options.Workers = 2,
    json: options.Json = False,
) -> int:
    """Score photographs, and say how far each score can be pushed.

    Prints the score, the L1 norm of its gradient in the pixels, and the range of scores that a short attack
    reaches within eps. Several --weights are printed side by side. The range is what one attack
    found, not a bound.

    Example: robustiqa score photo.jpg --weights runs/baseline --weights runs/nt
    """
    from robustiqa.cli.devices import find_device

    output = Output("score", json)
    request = _request(eps, attack_range, first_order, seed)
    inputs = find_inputs(paths, recursive)
    if not inputs.paths:
        inputs.refuse_if_none(0)
    place = find_device(device)
    loaded = load_models(weights, model, backbone, place)
    inputs.max_side = max_side
    inputs.smallest = smallest_side([entry.model for entry in loaded], small)
    whole = {
        entry.label: whole_photo(entry.model, small, crops, seed if crop_seed is None else crop_seed)
        for entry in loaded
    }
    if not weights:
        output.line(DEMO_NOTE)
    together = photos_at_once(batch_size, whole, inputs.sources, place)
    scored = _score_all(inputs, whole, request, output, together, workers)
    inputs.refuse_if_none(len(scored))
    _print_table(output, scored, request)
    for problem in inputs.problems:
        output.note(problem.sentence)
    output.document(
        note=None if weights else DEMO_NOTE,
        eps=request.eps,
        range_attack=None if request.lower is None else request.lower.label,
        crops=crops or "covering grid",
        max_side=max_side,
        models=[entry.describe() for entry in loaded],
        photos=[
            {"path": path, "scores": {label: asdict(found) for label, found in by_model.items()}}
            for path, by_model in scored.items()
        ],
        problems=[asdict(problem) for problem in inputs.problems],
    )
    return 1 if inputs.problems else 0


def _request(eps: str, attack_range: bool, first_order: bool, seed: int) -> _Request:
    from robustiqa.attacks import create_attack
    from robustiqa.core.checks import parse_fraction

    budget = parse_fraction(eps)
    lower, higher = (
        create_attack("ifgsm", eps=eps, steps=RANGE_STEPS, objective=goal, seed=seed) if attack_range else None
        for goal in ("lower", "raise")
    )
    return _Request(budget, lower, higher, first_order)


def _score_all(
    inputs: Inputs,
    models: dict[str, QualityModel],
    request: _Request,
    output: Output,
    batch_size: int,
    workers: int,
) -> dict[Path, dict[str, PhotoScore]]:
    from robustiqa.evaluation.fitting import Fitting

    device = next(iter(models.values())).input_mean.device
    fitting = Fitting(output.note)
    scored: dict[Path, dict[str, PhotoScore]] = {}
    with output.progress("scoring") as tell:
        for paths, images in inputs.batches(batch_size, workers):
            placed = images.to(device)
            keys = [str(path) for path in paths]
            found = {
                label: fitting.in_parts(model, placed, partial(_score_part, model, placed, keys, request))
                for label, model in models.items()
            }
            for place, path in enumerate(paths):
                scored[path] = {label: of_batch[place] for label, of_batch in found.items()}
            tell(len(scored) + len(inputs.problems), len(inputs.paths))
    return scored


def _score_part(
    model: QualityModel, images: Tensor, keys: Sequence[str], request: _Request, part: slice
) -> list[PhotoScore]:
    import torch

    from robustiqa.core.attack import clean_pass

    images, keys = images[part], keys[part]
    clean = clean_pass(model, images)
    ranges: list[tuple[float, float] | None] = [None] * len(keys)
    if request.lower is not None and request.higher is not None:
        lowered = request.lower(model, images, keys=keys, clean=clean).scores_8bit
        raised = request.higher(model, images, keys=keys, clean=clean).scores_8bit
        reached = torch.stack([clean.scores, lowered, raised])  # (3, N)
        ranges = list(zip(reached.amin(0).tolist(), reached.amax(0).tolist(), strict=True))
    return [
        PhotoScore(
            score=score,
            gradient_l1=norm,
            range=within,
            first_order=tangent(score, norm, request.eps, model.scale) if request.first_order else None,
        )
        for score, norm, within in zip(clean.scores.tolist(), clean.gradient_l1.tolist(), ranges, strict=True)
    ]


def tangent(score: float, norm: float, eps: float, scale: ScoreScale) -> FirstOrder:
    """Score plus and minus eps times norm, clipped to the scale; says where that is too far for a tangent."""
    reach = eps * norm
    low = min(max(score - reach, scale.low), scale.high)
    high = min(max(score + reach, scale.low), scale.high)
    return FirstOrder(low, high, reach > BEYOND_LINEAR * scale.span)


def _print_table(output: Output, scored: dict[Path, dict[str, PhotoScore]], request: _Request) -> None:
    labels = list(next(iter(scored.values())))
    header = ["photo"]
    for label in labels:
        prefix = f"{label}: " if len(labels) > 1 else ""
        header += [f"{prefix}score", "gradient L1"]
        header += ["range"] if request.lower is not None else []
        header += ["first order"] if request.first_order else []
    rows = [
        [str(path), *(cell for label in labels for cell in _cells(by_model[label]))]
        for path, by_model in scored.items()
    ]
    output.table(header, rows)
    if request.lower is not None:
        output.line(f"range: scores that {request.lower.label} reaches down and up; found, not bounded.")


def _cells(found: PhotoScore) -> list[str]:
    cells = [number(found.score), number(found.gradient_l1, 1)]
    if found.range is not None:
        cells.append(f"{number(found.range[0])} .. {number(found.range[1])}")
    if found.first_order is not None:
        far = ", beyond linear" if found.first_order.beyond_linear else ""
        cells.append(f"{number(found.first_order.low)} .. {number(found.first_order.high)}{far}")
    return cells
