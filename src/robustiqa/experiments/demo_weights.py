"""Rebuilds the two models that ship in the package: the demonstration's, trained on offline pictures only.

`make demo-weights` writes them and their hashes into the package. Equal thread counts and library versions give equal
bytes; others give models that differ in the last digits.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

from robustiqa.core.run_folder import write_atomically
from robustiqa.experiments.demo import BASE, DEFENDED, demo_dataset, demo_specs
from robustiqa.training.loop import RunOptions, train

NAMES = {BASE: "demo-baseline", DEFENDED: "demo-nt"}
HASHES = "SHA256SUMS"
SHIPPED = Path(__file__).parents[1] / "models" / "shipped"


def main(arguments: list[str] | None = None) -> None:
    """Trains both and copies them."""
    parser = argparse.ArgumentParser(description="Rebuild the demonstration models that ship in the package.")
    parser.add_argument("--runs", type=Path, default=Path("runs/demo-weights"))
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args(arguments)
    dataset = demo_dataset()
    lines = []
    for label, spec in demo_specs(seed=0).items():
        cache = options.runs / "decoded"
        weights = train(spec, dataset, options.runs / NAMES[label], RunOptions(device="cpu", cache=cache))
        options.out.mkdir(parents=True, exist_ok=True)
        target = options.out / f"{NAMES[label]}.safetensors"
        shutil.copyfile(weights, target)
        lines.append(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {target.name}\n")
    write_atomically(options.out / HASHES, "".join(lines))


if __name__ == "__main__":
    main()
