"""One process of a training that several share: `torchrun ... -m tests.training.one_of_two FOLDER KIND`."""

from __future__ import annotations

import sys
from pathlib import Path

from robustiqa.training import loop
from tests.training.tiny import TinyNet, tiny_photos, tiny_spec

SPECS = {
    "plain": tiny_spec(penalty__weight=1e-3, accumulation=2),
    "head start": tiny_spec(
        epochs=4, penalty__weight=1e-3, accumulation=2, head_start__epochs=2, head_start__learning_rate=1e-5
    ),
}

if __name__ == "__main__":
    vars(loop).update(build_model=lambda spec: TinyNet())
    loop.train(SPECS[sys.argv[2]], tiny_photos(), Path(sys.argv[1]), loop.RunOptions(device="cpu", checkpoint_every=2))
