"""Compares APGD and MI-FGSM with the PGD of foolbox and torchattacks at equal gradients, on the same score.

Every attack lowers and raises each score with `--steps` gradients a direction, from a random start (MI-FGSM from the
photograph, as published; APGD scores its last point, too). The larger change of the 8-bit image counts, rounded and
scored by the same code for all. Peers run with their own default step and with ours, 2.5 * eps / steps. Before it is
compared, an adapter must move a linear score by eps times its L1 norm. Prints Markdown, writes JSON. foolbox and
torchattacks are optional:

    pip install foolbox torchattacks        # an environment of their own: torchattacks 3.5 pins old requests
    python benchmarks/attacks.py --weights demo-baseline --weights demo-nt
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from robustiqa.attacks import create_attack
from robustiqa.core.attack import frozen_weights
from robustiqa.core.balls import LinfBall
from robustiqa.core.run_folder import environment
from robustiqa.datasets.builtin import load_builtin
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model

SEEDS = (0, 1, 2)
LEAST_LINEAR, LINEAR_STEPS = 0.99, 100  # of eps * L1, and in how many steps, which even steps of eps / 30 reach
Climb = Callable[[nn.Module, Tensor, float, float, int, int], Tensor]  # model, images, sign, eps, steps, seed


class Linear(nn.Module):
    """A score that is a sum of slopes times pixels."""

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.randn(3, side, side, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        """Scores, (N,)."""
        return (self.slopes * images).flatten(1).sum(1)


class TwoClasses(nn.Module):
    """Logits (0, sign * (score - clean) / unit): the cross entropy of class 0 climbs just where the goal does."""

    def __init__(self, model: nn.Module, images: Tensor, sign: float, unit: float) -> None:
        super().__init__()
        self.model, self.sign, self.unit = model, sign, unit
        with torch.no_grad():
            self.clean: Tensor = model(images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, 2)."""
        goal = self.sign * (self.model(images) - self.clean) / self.unit
        return torch.stack([torch.zeros_like(goal), goal], dim=1)


def ours(name: str, **options: object) -> Climb:
    """An attack of this package."""

    def climb(model: nn.Module, images: Tensor, sign: float, eps: float, steps: int, seed: int) -> Tensor:
        objective = "raise" if sign > 0 else "lower"
        attack = create_attack(name, eps=eps, steps=steps, seed=seed, objective=objective, **options)
        return attack(model, images).images

    return climb


def of_foolbox(relative_step: float | None) -> Climb:
    """foolbox's LinfPGD, its loss replaced by the score; None for our step."""

    def climb(model: nn.Module, images: Tensor, sign: float, eps: float, steps: int, seed: int) -> Tensor:
        import eagerpy
        import foolbox

        torch.manual_seed(seed)
        attack = foolbox.attacks.LinfPGD(steps=steps, rel_stepsize=relative_step or 2.5 / steps, random_start=True)
        attack.get_loss_fn = lambda *_: lambda inputs: eagerpy.astensor(sign * model(inputs.raw).sum())
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        found: Tensor = attack.run(wrapped, images, foolbox.Misclassification(labels), epsilon=eps)
        return found.detach()

    return climb


def of_torchattacks(step: float | None) -> Climb:
    """torchattacks' PGD on two logits that stand for the score; None for our step."""

    def climb(model: nn.Module, images: Tensor, sign: float, eps: float, steps: int, seed: int) -> Tensor:
        import torchattacks

        torch.manual_seed(seed)
        unit = float(getattr(getattr(model, "scale", None), "span", 100.0))  # keeps the cross entropy from saturating
        logits = TwoClasses(model, images, sign, unit).eval()
        attack = torchattacks.PGD(logits, eps=eps, alpha=step or 2.5 * eps / steps, steps=steps, random_start=True)
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        found: Tensor = attack(images, labels)
        return found.detach()

    return climb


def contenders() -> dict[str, Climb]:
    """All attacks that are installed; says which are not."""
    found = {
        "APGD": ours("apgd", random_start=True),
        "MI-FGSM": ours("mifgsm"),
        "I-FGSM, step 2.5 eps / steps": ours("ifgsm", random_start=True),
    }
    peers: dict[str, dict[str, Climb]] = {
        "foolbox": {
            "foolbox LinfPGD, its step eps / 30": of_foolbox(0.01 / 0.3),
            "foolbox LinfPGD, our step": of_foolbox(None),
        },
        "torchattacks": {
            "torchattacks PGD, its step 2/255": of_torchattacks(2 / 255),
            "torchattacks PGD, our step": of_torchattacks(None),
        },
    }
    for package, climbs in peers.items():
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed and left out; `pip install {package}` adds it.\n")
            continue
        found |= climbs
    return found


def check_on_a_linear_score(name: str, climb: Climb) -> None:
    """Refuses an adapter that does not climb the score it is given."""
    model = Linear().eval()
    images = torch.full((2, 3, 16, 16), 0.5)
    best = float(4 / 255 * model.slopes.detach().abs().sum())
    with frozen_weights(model):
        for sign in (-1.0, 1.0):
            moved = sign * (model(climb(model, images, sign, 4 / 255, LINEAR_STEPS, 0)) - model(images)) / best
            if not (moved > LEAST_LINEAR).all():
                raise SystemExit(f"{name} moves a linear score by {moved.min():.3f} of what it should; not compared.")


def changes(model: nn.Module, images: Tensor, climb: Climb, eps: float, steps: int, seed: int) -> Tensor:
    """The larger 8-bit score change of both directions, (N,)."""
    ball = LinfBall(eps)
    with torch.no_grad():
        clean = model(images)
    found = []
    with frozen_weights(model):
        for sign in (-1.0, 1.0):
            adversarial = ball.project(climb(model, images, sign, eps, steps, seed), images)
            with torch.no_grad():
                found.append((model(ball.to_8bit(adversarial, images)) - clean).abs())
    return torch.stack(found).amax(0)


def main() -> None:
    """Compares on each model and budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", action="append", help="files or names of shipped weights; default demo-baseline")
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--levels", type=int, action="append", help="budgets in 1/255; default 1 and 4")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-attacks.json"))
    options = parser.parse_args()
    climbs = contenders()
    for name, climb in climbs.items():
        check_on_a_linear_score(name, climb)
    listed = load_builtin(size=options.size).part("test").photos
    photos = listed[:: max(1, len(listed) // options.photos)][: options.photos]
    images = torch.stack([photo.read() for photo in photos]).to(options.device)
    found: dict[str, dict[str, list[float]]] = {}
    for weights in options.weights or ["demo-baseline"]:
        loaded = load_model(weights).to(options.device)
        model = (loaded if loaded.crop_size is None else CropAverage(loaded)).eval()
        for levels in options.levels or [1, 4]:
            title = f"{weights}, {len(images)} photographs, eps {levels}/255, {options.steps} gradients a direction"
            found[title] = {
                name: [changes(model, images, climb, levels / 255, options.steps, seed).mean().item() for seed in SEEDS]
                for name, climb in climbs.items()
            }
            print(f"## {title}\n\n| attack | mean 8-bit score change | over {len(SEEDS)} seeds |\n|---|---|---|")
            for name, values in found[title].items():
                print(f"| {name} | {mean(values):.3f} | ± {stdev(values):.3f} |")
            print()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment(), "steps": options.steps, "seeds": SEEDS, "changes": found}
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
