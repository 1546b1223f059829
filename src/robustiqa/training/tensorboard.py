"""The history of a run as TensorBoard scalars (the `tensorboard` extra)."""

from __future__ import annotations

from pathlib import Path


def write_scalars(folder: Path, history: dict[str, list[dict[str, float]]], epoch: int) -> None:
    """Writes one epoch's scalars for TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=None) as writer:
        for line in history["steps"]:
            if line["epoch"] == epoch:
                writer.add_scalar("training/loss", line["loss"], int(line["step"]))
                writer.add_scalar("training/penalty", line["penalty"], int(line["step"]))
        for name, value in history["epochs"][-1].items():
            if name != "epoch":
                writer.add_scalar(f"validation/{name}", value, int(history["steps"][-1]["step"]))
