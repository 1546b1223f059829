"""One training step with norm regularization in a process of its own, which then says what it took.

    python -m tests.one_step MODEL BATCH LOSS PENALTY HEIGHT WIDTH

prints a JSON line: peak resident set in GiB, seconds of the step, loss and penalty. Needs `/proc`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from tests.child import peak_gib, said_by_child


def measured_step(
    model: str, batch: int, *, loss: str = "l1", penalty: str = "nt", size: tuple[int, int] = (224, 224)
) -> dict[str, Any]:
    """Runs the step in a child; the parent's own memory does not count."""
    return said_by_child("tests.one_step", model, batch, loss, penalty, *size)


def _step(name: str, batch: int, loss_name: str, penalty_name: str, size: tuple[int, int]) -> dict[str, Any]:
    import torch

    from robustiqa.models import create_model
    from robustiqa.training.build import build_penalty
    from robustiqa.training.heads import further_scores, loss_of_heads
    from robustiqa.training.losses import find_loss
    from robustiqa.training.spec import PenaltySpec, TrainingSpec

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = create_model(name).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    images, mos = torch.rand(batch, 3, *size), torch.linspace(20, 80, batch)
    penalty_of = build_penalty(PenaltySpec(name=penalty_name, weight=1e-6), 0)
    started = time.perf_counter()
    with further_scores(model) as further:
        scores, penalty = penalty_of(model, images)
    loss = loss_of_heads(find_loss(loss_name), TrainingSpec().head_weights, [scores, *further], mos)
    torch.autograd.backward(loss + penalty)
    optimizer.step()
    seconds = time.perf_counter() - started
    return {"peak_gib": peak_gib(), "seconds": seconds, "loss": loss.item(), "penalty": penalty.item()}


if __name__ == "__main__":
    _, chosen, count, loss_of, penalty_of_loss, rows, columns = sys.argv
    found = _step(chosen, int(count), loss_of, penalty_of_loss, (int(rows), int(columns)))
    sys.stdout.write(json.dumps(found) + "\n")
