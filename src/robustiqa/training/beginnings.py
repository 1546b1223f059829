"""Beginnings: what runs that differ in their penalty alone have in common, up to the epoch where it sets in.

Until then all of them train the undefended model. The first that gets there leaves its checkpoint, and the others go on
from it, to the result that they would have had: everything random is a function of seed and step.
Cost: one checkpoint (the weights and what the optimizer knows, about three times the weights) for each recipe and seed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from robustiqa.core.run_folder import spec_hash, sync_folder
from robustiqa.training.checkpoints import PROGRESS_FILE, newest_checkpoint, sync_files
from robustiqa.training.spec import TrainingSpec

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Beginning:
    """The first epochs of a run.

    Attributes:
        folder: Of their checkpoint, which may not be there yet.
        epochs: How many they are.
    """

    folder: Path
    epochs: int

    def give(self, run: Path, due: Callable[[int], bool]) -> None:
        """Puts the checkpoint into a run that has none.

        Args:
            run: Its folder.
            due: Whether the run validates after an epoch (from 0). Where the run that left the checkpoint did not,
                nothing is put.
        """
        found = newest_checkpoint(self.folder)
        if found is None or newest_checkpoint(run) is not None:
            return
        progress = json.loads((found / PROGRESS_FILE).read_text(encoding="utf-8"))
        history = progress["history"]
        if any(due(epoch["epoch"] - 1) and "srocc" not in epoch for epoch in history["epochs"]):
            return
        history["epochs"] = [
            epoch if due(epoch["epoch"] - 1) else {"epoch": epoch["epoch"]} for epoch in history["epochs"]
        ]
        _copy(found, run / found.name, progress)

    def keep(self, run: Path) -> None:
        """Copies the checkpoint of a run that stands at the end of these epochs, unless there is one."""
        found = newest_checkpoint(run)
        if found is not None and newest_checkpoint(self.folder) is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            _copy(found, self.folder / found.name)


def _copy(checkpoint: Path, to: Path, progress: Mapping[str, Any] | None = None) -> None:
    """Copies a checkpoint, with another progress if one is given; whole, or not at all."""
    beside = Path(mkdtemp(prefix=".", suffix=".part", dir=to.parent))
    shutil.copytree(checkpoint, beside, dirs_exist_ok=True)
    if progress is not None:
        (beside / PROGRESS_FILE).write_text(json.dumps(progress), encoding="utf-8")
    sync_files(beside)
    try:
        beside.rename(to)
        sync_folder(to.parent)
    except OSError:  # another process was faster
        shutil.rmtree(beside)


def beginning_of(
    spec: TrainingSpec, resolved: Mapping[str, Any], folder: Path | None, accelerator: Accelerator
) -> Beginning | None:
    """What a run shares with others below `folder`; None if it has nothing to share, or several processes train it.

    Args:
        spec: Of the run.
        resolved: Its plain values.
        folder: Where beginnings lie.
        accelerator: The run's.
    """
    epochs = spec.penalty.start_epoch
    if folder is None or not 0 < epochs < spec.epochs or accelerator.num_processes > 1:
        return None
    others = {name: value for name, value in resolved.items() if name != "penalty"}
    key = spec_hash({**others, "beginning": epochs, "device": accelerator.device.type})
    return Beginning(folder / key, epochs)
