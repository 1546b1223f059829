"""Fitting an attack's learned state: a model and photographs go in, a run folder with the attack's file comes out.

A killed run goes on after its last whole epoch, with the result of an undisturbed one: order, crops and dropout are
functions of (seed, direction, epoch, photo). One process, one device.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustiqa.attacks.learned import SIGNS, STATE_FILE
from robustiqa.core.attack import frozen_weights
from robustiqa.core.checks import check_eval_mode, check_scores
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError, InputError, SpecError, WorkFailedError
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import open_run_folder, write_atomically
from robustiqa.core.seeds import derive_seed, generator
from robustiqa.core.tensor_files import write_tensors
from robustiqa.models.weights import state_hash
from robustiqa.training.crops import DecodedPhotos, EpochBatches
from robustiqa.training.learners import CROP_SIDE, FitSpec, Learner
from robustiqa.training.names import fits as fits

CHECKPOINT_FILE = "checkpoint.pt"
DECODED_FOLDER = "decoded"


def create_fit(name: str, **options: Any) -> FitSpec:
    """How to fit an attack: plain data, to be given to `fit_attack`.

    Args:
        name: Of the attack, such as `uap`.
        options: Such as `kind="cumulative"`, `eps="10/255"`, `goals=("raise",)`, `epochs=5`.

    Raises:
        UnknownNameError: if no attack of that name is fitted.
        InputError: if an option is unknown or has no such value.
    """
    return fits.create(name, **options)


@dataclass(frozen=True)
class FitProgress:
    """Where a fitting stands; what progress bars show.

    Attributes:
        step: Steps done, over all directions.
        steps: Steps in all.
        goal: Direction that is being fitted.
        epoch: From 1.
        epochs: For each direction.
        mean_score: Of this epoch's adversarial crops so far.
    """

    step: int
    steps: int
    goal: str
    epoch: int
    epochs: int
    mean_score: float


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a fitting is carried out; nothing here changes its result.

    Attributes:
        device: Where to compute.
        cache: Folder for decoded photographs; inside the run folder, and removed, if None.
        progress: Called after every step.
        source: What else the file is to say of the model, as plain values: label, file, ...
    """

    device: torch.device | str = "cpu"
    cache: Path | None = None
    progress: Callable[[FitProgress], None] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)


def fit_attack(
    spec: FitSpec | str, model: QualityModel, dataset: Dataset, folder: Path, options: FitOptions | None = None
) -> Path:
    """Fits what an attack reads as `weights`, or continues a fitting that was stopped.

    Args:
        spec: See `create_fit`; a name stands for the published values.
        model: The source model, in eval mode, differentiable.
        dataset: Photographs; opinion scores are not needed.
        folder: The run folder.
        options: How to carry it out.

    Returns:
        The file inside the run folder; the attack takes the file or the folder.

    Raises:
        SpecError: if the folder is of another fitting, or the spec does not go with the model.
        DataError: if the dataset has no such part, or a photograph is smaller than a crop.
        WorkFailedError: if a score is not finite.
    """
    spec = create_fit(spec) if isinstance(spec, str) else spec
    check_eval_mode(model)
    photos = dataset.part(spec.part)
    side = _crop_side(spec, model)
    resolved = _resolve(spec, model, photos, side)
    file = folder / STATE_FILE
    # A fitting is made before its folder, so that a request which can't be met leaves none behind.
    fitting = None if file.is_file() else _Fitting(spec, model, photos, side, folder, options or FitOptions(), resolved)
    open_run_folder(folder, resolved)
    if fitting is not None:
        fitting.go(file)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / DECODED_FOLDER, ignore_errors=True)
    return file


def _crop_side(spec: FitSpec, model: QualityModel) -> int:
    if model.crop_size is not None and spec.crop_size not in (0, model.crop_size):
        raise SpecError(f"the model takes crops of {model.crop_size}, crop_size is {spec.crop_size}; leave it out.")
    return model.crop_size or spec.crop_size or CROP_SIDE


def _resolve(spec: FitSpec, model: QualityModel, photos: Dataset, side: int) -> dict[str, Any]:
    """What makes a fitting this one."""
    values = {**asdict(spec), "goals": list(spec.goals)}
    values |= {"eps": spec.amplitude, "batch_size": spec.batch, "learning_rate": spec.rate, "crop_size": side}
    return {
        "attack": spec.attack,
        "fit": values,
        "source": {
            "kind": type(model).__name__,
            "state": state_hash(model),
            "scale": {"low": model.scale.low, "high": model.scale.high},
        },
        "dataset": {"name": photos.name, "part": spec.part, "fingerprint": photos.fingerprint(), "n": len(photos)},
    }


class _Fitting:
    """One fitting: what stays the same from step to step."""

    def __init__(
        self,
        spec: FitSpec,
        model: QualityModel,
        photos: Dataset,
        side: int,
        folder: Path,
        options: FitOptions,
        resolved: dict[str, Any],
    ) -> None:
        if not len(photos):
            raise DataError(f"dataset {photos.name!r} has no photographs to fit an attack on.")
        self.spec = spec
        self.device = torch.device(options.device)
        self.model = model.to(self.device)
        self.photos = photos
        self.side = side
        self.checkpoint = folder / CHECKPOINT_FILE
        self.options = options
        self.resolved = resolved
        self.cache = DecodedPhotos(options.cache or folder / DECODED_FOLDER)
        self.steps = len(self._batches(0)) * spec.epochs * len(spec.goals)
        self.step = 0
        self.history: dict[str, list[float]] = {goal: [] for goal in spec.goals}
        self.found: dict[str, dict[str, Tensor]] = {}  # by direction
        spec.learner(spec.goals[0], side)  # refuses what can't be built

    def go(self, file: Path) -> None:
        """Fits each direction in turn and writes the file."""
        state = self._resume()
        with frozen_weights(self.model):
            for goal in self.spec.goals:
                if goal not in self.found:
                    self.found[goal] = self._fit(goal, state)
                    state = {}
        tensors = {f"{goal}.{name}": value for goal, found in self.found.items() for name, value in found.items()}
        source = {**self.options.source, **self.resolved["source"]}
        said = {"goals": list(self.spec.goals), "eps": self.spec.amplitude, "mean_scores": self.history}
        write_tensors(file, tensors, {**self.resolved, **said, "source": source})

    def _fit(self, goal: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
        learner = self.spec.learner(goal, self.side).to(self.device)
        optimizer = self.spec.optimizer(learner)
        if state:
            learner.load_state_dict(state["learner"])
            optimizer.load_state_dict(state["optimizer"])
        for epoch in range(len(self.history[goal]), self.spec.epochs):
            self.history[goal].append(self._epoch(goal, epoch, learner, optimizer))
            self._save(learner, optimizer)
        return learner.result()

    def _epoch(self, goal: str, epoch: int, learner: Learner, optimizer: torch.optim.Optimizer) -> float:
        """One pass over the photographs; the mean score of what was made of them."""
        learner.train()
        total, count = 0.0, 0
        for place, batch in enumerate(self._batches(epoch)):
            crops, corners = self._crops(batch)
            with self._dropout_of(goal, epoch, place), torch.enable_grad():
                change = learner(crops, corners)
            with torch.enable_grad():
                scores = self.model((crops + change).clamp(0, 1))
                check_scores(scores, len(crops))
                if not scores.requires_grad:
                    raise InputError("the model's scores have no gradient in the images; an attack can't be fitted.")
                loss = 1 - SIGNS[goal] * scores.mean() / self.model.scale.span
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            learner.settle()
            total, count, self.step = total + scores.sum().item(), count + len(crops), self.step + 1
            if not torch.isfinite(loss):
                raise WorkFailedError(f"the model's scores are not finite in epoch {epoch + 1} of {goal!r}.")
            if self.options.progress is not None:
                now = (self.step, self.steps, goal, epoch + 1, self.spec.epochs, total / count)
                self.options.progress(FitProgress(*now))
        return total / count

    def _batches(self, epoch: int) -> EpochBatches:
        return EpochBatches(len(self.photos), 1, batch_size=self.spec.batch, seed=self.spec.seed, epoch=epoch)

    def _crops(self, batch: list[tuple[int, int, int]]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Random crops (N, 3, side, side) and the (row, column) each was cut at."""
        crops, corners = [], []
        for place, _, epoch in batch:
            photo = self.photos.photos[place]
            pixels = self.cache.read(photo)
            height, width = pixels.shape[-2:]
            if min(height, width) < self.side:
                raise DataError(
                    f"{photo.key} is {width}x{height}, smaller than the {self.side}x{self.side} crop that an attack is "
                    "fitted on; leave it out."
                )
            draw = generator(self.spec.seed, epoch, photo.key, "fit")
            row = int(torch.randint(height - self.side + 1, (), generator=draw))
            column = int(torch.randint(width - self.side + 1, (), generator=draw))
            cut = pixels[:, row : row + self.side, column : column + self.side]
            crops.append(torch.from_numpy(cut.copy()).float() / 255)
            corners.append((row, column))
        return torch.stack(crops).to(self.device), corners

    @contextmanager
    def _dropout_of(self, goal: str, epoch: int, place: int) -> Iterator[None]:
        """Dropout that depends on the step alone; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[self.device.index or 0] if self.device.type == "cuda" else []):
            torch.manual_seed(derive_seed(self.spec.seed, goal, epoch, place, "dropout"))
            yield

    def _save(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        content = io.BytesIO()
        kept = {"step": self.step, "history": self.history, "found": self.found}
        torch.save({**kept, "learner": learner.state_dict(), "optimizer": optimizer.state_dict()}, content)
        write_atomically(self.checkpoint, content.getvalue())

    def _resume(self) -> dict[str, Any]:
        """Takes up what a stopped run left; the state of the direction it was at."""
        if not self.checkpoint.is_file():
            return {}
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.step, self.history, self.found = state["step"], state["history"], state["found"]
        return state
