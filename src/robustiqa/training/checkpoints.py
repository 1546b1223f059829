"""Checkpoints through Accelerate: written beside, synced, renamed; a run continues from the newest whole one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustiqa.core.run_folder import sync_folder

if TYPE_CHECKING:
    from accelerate import Accelerator

PREFIX = "checkpoint-"
PROGRESS_FILE = "progress.json"


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, progress: dict[str, Any]) -> None:
    """Writes model, optimizer, scaler and progress after `step` optimizer steps, and removes older checkpoints."""
    final = folder / f"{PREFIX}{step:09d}"
    beside = folder / f".{final.name}.part"
    if accelerator.is_main_process:
        shutil.rmtree(beside, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(beside))
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    (beside / PROGRESS_FILE).write_text(json.dumps(progress), encoding="utf-8")
    sync_files(beside)
    beside.rename(final)
    sync_folder(folder)
    remove_checkpoints(folder, but=final)


def sync_files(folder: Path) -> None:
    """Waits until a folder's files are on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run folder."""
    return max(folder.glob(f"{PREFIX}*"), default=None)


def load_checkpoint(accelerator: Accelerator, checkpoint: Path) -> dict[str, Any]:
    """Restores model, optimizer and scaler in place; returns the progress saved with them."""
    accelerator.load_state(str(checkpoint))
    progress: dict[str, Any] = json.loads((checkpoint / PROGRESS_FILE).read_text(encoding="utf-8"))
    return progress


def remove_checkpoints(folder: Path, but: Path | None = None) -> None:
    """Removes all checkpoints of a run folder but one, and what a kill left half written."""
    for path in [*folder.glob(f"{PREFIX}*"), *folder.glob(".*.part")]:
        if path.is_file():
            path.unlink(missing_ok=True)
        elif path != but:
            shutil.rmtree(path, ignore_errors=True)
