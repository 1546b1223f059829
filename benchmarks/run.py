"""Measures speed: NT steps and attacks against plain training and bare gradients, as ratios within one run.

Every variant runs once a round, round after round, so that what the machine does meanwhile hits all alike; the
median over rounds counts. `--quick` takes small sizes and few rounds. Prints Markdown, writes JSON beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import torch
from torch import Tensor
from torch.nn import functional as F

from robustiqa.attacks import create_attack
from robustiqa.core.attack import clean_pass
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import environment
from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormEstimator,
    NormRegularization,
)
from robustiqa.models import create_model

Work = Callable[[], object]


def plain_step(model: QualityModel, images: Tensor, mos: Tensor) -> Work:
    """One undefended training step without the optimizer: 3 units."""

    def work() -> None:
        model.zero_grad()
        torch.autograd.backward(F.l1_loss(model(images), mos))

    return work


def nt_step(model: QualityModel, images: Tensor, mos: Tensor, estimator: NormEstimator) -> Work:
    """The same with NT."""
    nt = NormRegularization(estimator=estimator, weight=1e-3)

    def work() -> None:
        model.zero_grad()
        scores, penalty = nt(model, images)
        torch.autograd.backward(F.l1_loss(scores, mos) + penalty)

    return work


def published_step(model: QualityModel, images: Tensor, mos: Tensor) -> Work:
    """The released schedule: 3 forward passes, an input gradient, 3 full backward passes: 10 units."""

    def work() -> None:
        model.zero_grad()
        loss = F.l1_loss(model(images), mos)
        leaf = images.clone().requires_grad_()
        scores = model(leaf)
        (gradient,) = torch.autograd.grad(scores.sum(), leaf, retain_graph=True)
        moved = model(images + 0.01 * model.input_std[:, None, None] * gradient.sign())
        torch.autograd.backward(loss + 1e-3 * 0.5 * ((moved - scores) / 0.01).square().mean())

    return work


def measure(works: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds of each work in each round, after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def table(title: str, seconds: dict[str, list[float]], unit: str) -> str:
    """Median seconds, spread, and ratio to `unit`."""
    lines = [f"## {title}", "", f"| variant | seconds | middle half | ratio to {unit} |", "|---|---|---|---|"]
    for name, times in seconds.items():
        low, _, high = quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
        ratio = median(times) / median(seconds[unit])
        lines.append(f"| {name} | {median(times):.3f} | {low:.3f} to {high:.3f} | {ratio:.2f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"))
    options = parser.parse_args()
    batch, rounds = (2, 3) if options.quick else (16, 9)
    images, mos = torch.rand(batch, 3, 224, 224), torch.rand(batch) * 100
    found: dict[str, dict[str, list[float]]] = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        model = create_model("hyperiqa", backbone=options.backbone).train().to(memory_format=layout)
        title = f"Training step, {options.backbone}, batch {batch}, {str(layout).removeprefix('torch.')}"
        steps = {
            "plain": plain_step(model, images, mos),
            "finite difference": nt_step(model, images, mos, FiniteDifference()),
            "central difference": nt_step(model, images, mos, CentralDifference()),
            "double backward": nt_step(model, images, mos, DoubleBackward()),
            "published schedule": published_step(model, images, mos),
        }
        found[title] = measure(steps, rounds)
        print(table(title, found[title], "plain"))
    model = create_model("hyperiqa", backbone=options.backbone).to(memory_format=torch.channels_last)
    attack = create_attack("ifgsm", eps="4/255", steps=10, objective="lower")
    attacks: dict[str, Work] = {
        "10 bare gradients": lambda: [clean_pass(model, images) for _ in range(10)],
        "I-FGSM, 10 steps": lambda: attack(model, images),
    }
    title = f"Attack, {options.backbone}, batch {batch}"
    found[title] = measure(attacks, max(rounds // 3, 2))
    print(table(title, found[title], "10 bare gradients"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment(), "threads": torch.get_num_threads(), "seconds": found}
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
