"""What a pass or a training step is counted to take, and what it then takes, in a process of its own.

    python -m tests.counted_memory WORK MODEL BACKBONE COUNT HEIGHT WIDTH

WORK is `pass` (scores and input gradients of whole photographs) or the name of a penalty (an optimizer step; the plain
one for `none`). Prints a JSON line with both in GiB, weights and imports left out. Needs `/proc`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.child import peak_gib, said_by_child


def counted_and_taken(work: str, model: str, backbone: str, count: int, size: tuple[int, int]) -> tuple[float, float]:
    """GiB that were counted, and that a child took."""
    said = said_by_child("tests.counted_memory", work, model, backbone, count, *size)
    return said["counted"], said["taken"]


def resident_gib() -> float:
    """Resident memory of this process now."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    assert found is not None
    return int(found.group(1)) / 2**20


def _look(work: str, name: str, backbone: str, count: int, size: tuple[int, int]) -> dict[str, Any]:
    import torch

    from robustiqa.core.attack import clean_pass
    from robustiqa.core.memory import GIB, pass_memory
    from robustiqa.models import create_model
    from robustiqa.models.crop_average import CropAverage
    from robustiqa.training.build import build_penalty
    from robustiqa.training.memory import StepMemory
    from robustiqa.training.spec import TrainingSpec

    torch.set_num_threads(1)
    model, images = create_model(name, backbone=backbone), torch.rand(count, 3, *size)
    if work == "pass":
        whole = model if model.crop_size is None else CropAverage(model)
        needed = pass_memory(whole.eval(), images.shape, images.device)
        before = resident_gib()
        clean_pass(whole, images)
    else:
        values = {"batch_size": count, "penalty.name": work, "penalty.weight": 1e-6} if work != "none" else {}
        spec = TrainingSpec().with_values({"batch_size": count, **values})
        needed = StepMemory(spec, size[0], images.device).needed(model)
        before = resident_gib()
        optimizer, penalty_of = torch.optim.Adam(model.train().parameters()), build_penalty(spec.penalty, 0)
        for _ in range(2):
            scores, penalty = penalty_of(model, images)
            torch.autograd.backward(scores.mean() + penalty)
            optimizer.step()
            optimizer.zero_grad()
    assert needed is not None
    return {"counted": needed / GIB, "taken": peak_gib() - before}


if __name__ == "__main__":
    _, asked, model_name, backbone_name, number, rows, columns = sys.argv
    found = _look(asked, model_name, backbone_name, int(number), (int(rows), int(columns)))
    sys.stdout.write(json.dumps(found) + "\n")
