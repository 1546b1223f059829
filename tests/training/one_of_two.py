"""One process of a training that several share: `torchrun ... -m tests.training.one_of_two FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from robustiqa.training import loop
from tests.training.tiny import TinyNet, tiny_photos, tiny_spec

SPEC = tiny_spec(penalty__weight=1e-3, accumulation=2)

if __name__ == "__main__":
    vars(loop).update(build_model=lambda spec: TinyNet())
    loop.train(SPEC, tiny_photos(), Path(sys.argv[1]), loop.RunOptions(device="cpu", checkpoint_every=2))
