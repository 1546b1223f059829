from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.one_of_two import SPECS
from tests.training.tiny import train_tiny_net

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
def test_two_processes_train_the_model_that_one_trains(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = load_file(train_tiny_net(monkeypatch, tmp_path / "alone", SPECS[kind]))
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run(
        [*launched, "-m", "tests.training.one_of_two", str(tmp_path / "shared"), kind],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shared = load_file(tmp_path / "shared" / "model.safetensors")
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=0, atol=1e-6)
