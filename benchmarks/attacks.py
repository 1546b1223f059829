"""Compares APGD and MI-FGSM with the PGD of foolbox and torchattacks at equal gradients, on the same score.

Every attack lowers and raises each score with `--steps` gradients a direction, from a random start (MI-FGSM from the
photograph, as published; APGD scores its last point, too). The larger change of the 8-bit image counts, rounded and
scored by the same code for all. Peers run with their own default step and with ours, 2.5 * eps / steps. Before it is
compared, an adapter must move a linear score by eps times its L1 norm. Prints Markdown, writes JSON. foolbox and
torchattacks are optional:

    make peers
    .venv-peers/bin/python -m benchmarks.attacks --weights demo-baseline --weights demo-nt
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from benchmarks.peers import Climb, check_on_a_linear_score, installed, of_foolbox, of_torchattacks, ours, scores_of
from robustiqa.core.attack import frozen_weights
from robustiqa.core.balls import LinfBall
from robustiqa.core.run_folder import environment
from robustiqa.datasets.builtin import load_builtin
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model

SEEDS = (0, 1, 2)


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
        if not installed(package):
            print(f"{package} is not installed and left out; `make peers` makes an environment that has it.\n")
            continue
        found |= climbs
    return found


def changes(model: nn.Module, images: Tensor, climb: Climb, eps: float, steps: int, seed: int) -> Tensor:
    """The larger 8-bit score change of both directions, (N,)."""
    ball = LinfBall(eps)
    clean = scores_of(model, images)
    found = []
    with frozen_weights(model):
        for sign in (-1.0, 1.0):
            adversarial = ball.project(climb(model, images, sign, eps, steps, seed), images)
            found.append((scores_of(model, ball.to_8bit(adversarial, images)) - clean).abs())
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
