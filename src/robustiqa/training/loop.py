"""Training: a spec and a dataset go in, a run folder with weights comes out; a killed run goes on where it was.

Everything random is a function of (seed, step) or (seed, epoch, photo, draw), so a resumed run is the undisturbed run.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import WorkFailedError
from robustiqa.core.model import QualityModel
from robustiqa.core.penalty import Penalty
from robustiqa.core.run_folder import WEIGHTS_FILE, open_run_folder, write_atomically
from robustiqa.core.seeds import derive_seed
from robustiqa.models.loading import save_model
from robustiqa.training.beginnings import beginning_of
from robustiqa.training.build import (
    build_loss,
    build_model,
    build_penalty,
    crop_side,
    resolve,
    set_training_mode,
)
from robustiqa.training.calibration import Calibrator
from robustiqa.training.checkpoints import (
    load_checkpoint,
    newest_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from robustiqa.training.crops import Crops, DecodedPhotos, EpochBatches, epoch_loader
from robustiqa.training.gradient_checkpointing import checkpoint_gradients
from robustiqa.training.heads import further_scores, loss_of_heads
from robustiqa.training.losses import SCALE_FREE
from robustiqa.training.memory import StepMemory
from robustiqa.training.phases import prepare_phases
from robustiqa.training.processes import averaged, create_accelerator, layout_warning_ignored
from robustiqa.training.spec import TrainingSpec
from robustiqa.training.tensorboard import write_scalars
from robustiqa.training.validation import validate

HISTORY_FILE = "history.json"
DECODED_FOLDER = "decoded"
LOG_EVERY = 20  # optimizer steps between lines of the history


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run stands; what progress bars show."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    penalty: float
    validation_srocc: float | None


ProgressListener = Callable[[TrainingProgress], None]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out; nothing here changes its result.

    Attributes:
        device: `cpu`, or None for what Accelerate finds; alone, any device.
        alone: Whether this process trains by itself although torchrun started others, which have work of their own;
            else all of them train this model together.
        workers: Processes that read photographs.
        gradient_checkpointing: Whether to compute what a network's blocks hold again in the backward pass instead of
            keeping it: less memory, more time.
        cache: Folder for decoded photographs, shared between runs; inside the run folder, and removed, if None.
        beginnings: Folder where runs share what their penalties leave alone (see `beginnings`); nothing if None.
        checkpoint_every: Optimizer steps between checkpoints, besides one after every epoch.
        keep_epochs: Whether to keep the weights of every epoch, as `epoch-01.safetensors` and so on.
        validate_every: Epochs between looks at the validation part; after the last epoch there always is one.
        tensorboard: Whether to write TensorBoard scalars (the `tensorboard` extra).
        progress: Called after every logged step and every epoch.
    """

    device: str | None = None
    alone: bool = False
    workers: int = 0
    gradient_checkpointing: bool = False
    cache: Path | None = None
    beginnings: Path | None = None
    checkpoint_every: int = 200
    keep_epochs: bool = False
    validate_every: int = 1
    tensorboard: bool = False
    progress: ProgressListener | None = None


def train(spec: TrainingSpec, dataset: Dataset, folder: Path, options: RunOptions | None = None) -> Path:
    """Trains a model, or continues a run that was stopped; the last epoch is the result.

    Args:
        spec: What to train; see `load_recipe`.
        dataset: With opinion scores and the parts that the spec names.
        folder: The run folder.
        options: How to carry it out.

    Returns:
        The weights file inside the run folder.

    Raises:
        SpecError: if the folder is of another run, or the spec names what does not exist or does not fit into memory.
        WorkFailedError: if the loss stops being finite, or memory runs out.
    """
    resolved = resolve(spec, dataset)
    weights = folder / WEIGHTS_FILE
    # A run is made before its folder, so that a request which can't be met leaves none behind.
    run = None if weights.is_file() else _Run(spec, dataset, folder, options or RunOptions(), resolved)
    open_run_folder(folder, resolved)
    if run is not None:
        with layout_warning_ignored():
            run.go()
    remove_checkpoints(folder)
    shutil.rmtree(folder / DECODED_FOLDER, ignore_errors=True)
    return weights


class _Run:
    """One process of a run, often the only one: what stays the same from step to step."""

    def __init__(
        self,
        spec: TrainingSpec,
        dataset: Dataset,
        folder: Path,
        options: RunOptions,
        resolved: dict[str, Any],
    ) -> None:
        self.spec = spec
        self.dataset = dataset
        self.folder = folder
        self.options = options
        self.resolved = resolved
        self.loss_of = build_loss(spec)
        build_penalty(spec.penalty, 0)  # refuses what it does not know
        self.accelerator = create_accelerator(spec, options.device, options.alone)
        self.model: QualityModel = build_model(spec)
        if options.gradient_checkpointing:
            checkpoint_gradients(self.model)
        side = crop_side(self.model, spec)
        place, processes = self.accelerator.device, self.accelerator.num_processes
        self.memory = StepMemory(spec, side, place, processes, options.gradient_checkpointing)
        self.memory.refuse_too_large(self.model)
        self.beginning = beginning_of(spec, resolved, options.beginnings, self.accelerator)
        self.network, self.phases = prepare_phases(self.accelerator, self.model, spec)
        self.phase = self.phases[0]
        cache = DecodedPhotos(options.cache or folder / DECODED_FOLDER)
        photos = dataset.part(spec.data.part)
        self.crops = Crops(photos, cache, side, spec.data, spec.seed)
        fitted_on = photos if spec.loss in SCALE_FREE else None
        self.calibrated = Calibrator(self.model, fitted_on, self.accelerator.device)
        self.items = len(photos)
        self.validation = dataset.part(spec.data.validation) if spec.data.validation in dataset.parts else None
        self.history: dict[str, list[dict[str, float]]] = {"steps": [], "epochs": []}
        self.unlogged: list[Tensor] = []  # (loss, penalty) of each step since the last line of the history
        self.steps_per_epoch = len(self._batches(0))
        self.steps = self.steps_per_epoch * spec.epochs

    def go(self) -> None:
        step = self._resume()
        for epoch in range(step // self.steps_per_epoch, self.spec.epochs):
            with self.memory.explained():
                step = self._epoch(epoch, step)
        if self.accelerator.is_main_process:
            self._save_weights(self.folder / WEIGHTS_FILE, self.steps)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> int:
        if self.beginning is not None and not self.options.keep_epochs:
            self.beginning.give(self.folder, self._is_validated)
        checkpoint = newest_checkpoint(self.folder)
        if checkpoint is None:
            return 0
        progress = load_checkpoint(self.accelerator, checkpoint)
        self.history = progress["history"]
        self.unlogged = [torch.tensor(values, device=self.accelerator.device) for values in progress["unlogged"]]
        return int(progress["step"])

    def _batches(self, epoch: int, first: int = 0) -> EpochBatches:
        return EpochBatches(
            self.items,
            self.spec.data.crops_per_photo,
            batch_size=self.spec.batch_size,
            seed=self.spec.seed,
            epoch=epoch,
            first=first,
            rank=self.accelerator.process_index,
            ranks=self.accelerator.num_processes,
        )

    def _epoch(self, epoch: int, step: int) -> int:
        batches = self._batches(epoch, step - epoch * self.steps_per_epoch)
        pin = self.accelerator.device.type == "cuda"
        self.phase = next(phase for phase in self.phases if epoch in phase.epochs)
        self.phase.begin()
        set_training_mode(self.network, self.spec, epoch)
        for images, mos in epoch_loader(self.crops, batches, self.options.workers, pin):
            penalty_of = build_penalty(self.spec.penalty, epoch, step)
            self.unlogged.append(self._step(step, images, mos, penalty_of))
            step += 1
            if step % LOG_EVERY == 0 or step % self.steps_per_epoch == 0:
                self._log(step, epoch)
            if step % self.options.checkpoint_every == 0 and step % self.steps_per_epoch:
                self._checkpoint(step)
        self._end_of_epoch(epoch, step)
        return step

    def _step(self, step: int, images: Tensor, mos: Tensor, penalty_of: Penalty) -> Tensor:
        """One optimizer step; returns (loss, penalty) on the device, so that nothing waits for it."""
        torch.manual_seed(derive_seed(self.spec.seed, "step", step, self.accelerator.process_index))
        self.phase.set_rates(step, self.steps_per_epoch)
        images = images.to(self.accelerator.device, non_blocking=True)
        mos = mos.to(self.accelerator.device, non_blocking=True)
        parts = list(zip(images.chunk(self.spec.accumulation), mos.chunk(self.spec.accumulation), strict=True))
        total = torch.zeros(2, device=self.accelerator.device)
        scaler = self.accelerator.scaler
        for left, (some, targets) in zip(reversed(range(len(parts))), parts, strict=True):
            share = len(some) / len(images)
            alone = self.accelerator.no_sync(self.network) if left else nullcontext()
            with alone, further_scores(self.model) as further:
                scores, penalty = penalty_of(
                    self.network, some, gradient_scale=scaler.get_scale() if scaler is not None else 1.0
                )
                loss = loss_of_heads(self.loss_of, self.spec.head_weights, [scores, *further], targets)
                self.accelerator.backward((loss + penalty) * share, inputs=self.phase.learning)
            total += share * torch.stack([loss.detach(), penalty.detach()])
        self.phase.optimizer.step()
        self.phase.optimizer.zero_grad()
        return total

    def _log(self, step: int, epoch: int) -> None:
        loss, penalty = averaged(self.accelerator, self.unlogged).mean(0).tolist()
        self.unlogged = []
        if not math.isfinite(loss + penalty):
            raise WorkFailedError(
                f"training stopped at step {step}: the loss is not finite; "
                "lower the learning rate or the penalty weight."
            )
        self.history["steps"].append({"step": step, "epoch": epoch + 1, "loss": loss, "penalty": penalty})
        self._tell(step, epoch, None)

    def _end_of_epoch(self, epoch: int, step: int) -> None:
        found: dict[str, float] = {}
        if self.validation is not None and self._is_validated(epoch) and self.accelerator.is_main_process:
            with self.calibrated(step):
                found = validate(self.model, self.validation, self.accelerator.device)
        self.history["epochs"].append({"epoch": epoch + 1, **found})
        if self.accelerator.is_main_process:
            write_atomically(self.folder / HISTORY_FILE, json.dumps(self.history, indent=1) + "\n")
            if self.options.tensorboard:
                write_scalars(self.folder / "tensorboard", self.history, epoch + 1)
            if self.options.keep_epochs:
                self._save_weights(self.folder / f"epoch-{epoch + 1:02d}.safetensors", step)
        self._checkpoint(step)
        if self.beginning is not None and epoch + 1 == self.beginning.epochs:
            self.beginning.keep(self.folder)
        self._tell(step, epoch, found.get("srocc"))

    def _is_validated(self, epoch: int) -> bool:
        due = (epoch + 1) % self.options.validate_every == 0 or epoch + 1 == self.spec.epochs
        return self.validation is not None and due

    def _checkpoint(self, step: int) -> None:
        self.unlogged = list(averaged(self.accelerator, self.unlogged))
        unlogged = [values.tolist() for values in self.unlogged]
        progress = {"step": step, "history": self.history, "unlogged": unlogged}
        save_checkpoint(self.accelerator, self.folder, step, progress)

    def _save_weights(self, path: Path, step: int) -> None:
        of = self.spec.model
        model = self.accelerator.unwrap_model(self.network)
        with self.calibrated(step):
            save_model(model, path, of.name, of.options, training=self.resolved)

    def _tell(self, step: int, epoch: int, srocc: float | None) -> None:
        if self.options.progress is None or not self.history["steps"]:
            return
        last = self.history["steps"][-1]
        self.options.progress(
            TrainingProgress(step, self.steps, epoch + 1, self.spec.epochs, last["loss"], last["penalty"], srocc)
        )
