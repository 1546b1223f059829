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
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import Climb, check_on_a_linear_score, installed, of_foolbox, of_torchattacks, ours, scores_of
from robustiqa.core.attack import frozen_weights
from robustiqa.core.balls import LinfBall
from robustiqa.core.run_folder import environment, write_atomically
from robustiqa.datasets.builtin import load_builtin
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model

SEEDS = (0, 1, 2)
DIRECTIONS = {"lower": -1.0, "raise": 1.0}
REFERENCE = "APGD"
HEADS = [head for name in DIRECTIONS for head in (f"{name}: mean change", f"{name}: {REFERENCE} / this")]


def contenders() -> dict[str, Climb]:
    """All attacks that are installed; says which are not."""
    found = {
        REFERENCE: ours("apgd", random_start=True),
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


def changes(model: nn.Module, images: Tensor, climb: Climb, eps: float, steps: int, seed: int) -> dict[str, float]:
    """How far 8-bit scores go down when lowered and up when raised, mean over the photographs."""
    ball = LinfBall(eps)
    clean = scores_of(model, images)
    found = {}
    with frozen_weights(model):
        for name, sign in DIRECTIONS.items():
            adversarial = ball.project(climb(model, images, sign, eps, steps, seed), images)
            moved = sign * (scores_of(model, ball.to_8bit(adversarial, images)) - clean)
            found[name] = moved.mean().item()
    return found


def tables(content: Mapping[str, Any]) -> str:
    """Each comparison as a Markdown table, with the ratio of APGD's mean change to every other's."""
    parts = []
    for title, rows in content["changes"].items():
        lines = [f"### {title}", "", f"| attack | {' | '.join(HEADS)} |", f"|---|{'---:|' * len(HEADS)}"]
        for name, by_seed in rows.items():
            cells = []
            for direction in DIRECTIONS:
                values = [one[direction] for one in by_seed]
                best = mean(one[direction] for one in rows[REFERENCE])
                spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
                cells += [f"{mean(values):.3f}{spread}", f"{best / mean(values):.3f}"]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


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
    content: dict[str, Any] = {
        "environment": environment(),
        "settings": {"seeds": list(SEEDS), "steps": options.steps, "photos": len(images), "size": options.size},
        "changes": {},
    }
    if options.out.is_file():
        kept = json.loads(options.out.read_text(encoding="utf-8"))
        if (kept["environment"], kept["settings"]) != (content["environment"], content["settings"]):
            parser.error(f"{options.out} is of another machine or other settings; name another file with --out.")
        content = kept
    for weights in options.weights or ["demo-baseline"]:
        loaded = load_model(weights).to(options.device)
        model = (loaded if loaded.crop_size is None else CropAverage(loaded)).eval()
        for levels in options.levels or [1, 4]:
            what = f"{Path(weights).stem}, {len(images)} photographs, eps {levels}/255"
            title = f"{what}, {options.steps} gradients a direction"
            rows = content["changes"].setdefault(title, {})
            for name, climb in climbs.items():
                if name not in rows:
                    rows[name] = [changes(model, images, climb, levels / 255, options.steps, seed) for seed in SEEDS]
                    write_atomically(options.out, json.dumps(content, indent=1) + "\n")
    print(tables(content))


if __name__ == "__main__":
    main()
