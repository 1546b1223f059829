"""Training items: random crops of photographs decoded once; each draw depends on (seed, epoch, photo, draw)."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import DataError, SpecError
from robustiqa.core.seeds import derive_seed, generator
from robustiqa.training.spec import DataSpec


class DecodedPhotos:
    """Photographs decoded once into plain 8-bit arrays on disk, memory-mapped, shared by workers and epochs.

    Args:
        folder: Where the arrays go; the operating system's page cache keeps what fits in memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, photo: Photo) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """The photograph, (3, H, W), uint8."""
        name = hashlib.sha256(f"{photo.key}\t{photo.source!r}".encode()).hexdigest()[:32]
        path = self.folder / f"{name}.npy"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            array = (photo.read() * 255).round().to(torch.uint8).numpy()
            beside = self.folder / f"{name}.{platform.node()}.{os.getpid()}.part"  # of several machines, too
            with beside.open("wb") as file:
                np.save(file, array)
            beside.replace(path)
        mapped: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = np.load(path, mmap_mode="r")
        return mapped


class Crops(TorchDataset[tuple[Tensor, float]]):
    """Random crops by (place in the dataset, draw, epoch).

    Args:
        photos: With opinion scores.
        cache: Where decoded photographs are kept.
        side: Side of the crops.
        spec: Flips and noise.
        seed: Of the run.
    """

    def __init__(self, photos: Dataset, cache: DecodedPhotos, side: int, spec: DataSpec, seed: int) -> None:
        if not photos.has_mos:
            raise DataError(f"dataset {photos.name!r} has no opinion scores to train on.")
        self._photos = photos.photos
        self._cache = cache
        self._side = side
        self._spec = spec
        self._seed = seed

    def __len__(self) -> int:
        return len(self._photos) * self._spec.crops_per_photo

    def __getitem__(self, item: tuple[int, int, int]) -> tuple[Tensor, float]:
        """The crop (3, side, side), float32 in [0, 1], and its photo's score on 0..100."""
        place, draw, epoch = item
        photo = self._photos[place]
        pixels = self._cache.read(photo)
        height, width = pixels.shape[-2:]
        if min(height, width) < self._side:
            raise DataError(
                f"{photo.key} is {width}x{height}, smaller than the {self._side}x{self._side} training crop; "
                "leave it out (`robustiqa data check` lists all such photos)."
            )
        random = generator(self._seed, epoch, photo.key, draw)
        row = int(torch.randint(height - self._side + 1, (), generator=random))
        column = int(torch.randint(width - self._side + 1, (), generator=random))
        crop = torch.from_numpy(pixels[:, row : row + self._side, column : column + self._side].copy()).float() / 255
        if self._spec.flip and torch.rand((), generator=random) < 0.5:
            crop = crop.flip(-1)
        if self._spec.noise_std > 0:
            level = self._spec.noise_std * torch.rand((), generator=random)
            crop = (crop + level * torch.randn(crop.shape, generator=random)).clamp(0, 1)
        assert photo.mos is not None
        return crop, photo.mos


class EpochBatches(Sampler[list[tuple[int, int, int]]]):
    """The batches of one epoch, from `first` on, in an order that only seed and epoch decide.

    Every process takes an equal share of each batch, so that any number of processes runs the same steps: of two, one
    takes items 0, 2, 4, ... and one 1, 3, 5, ..., so the first items of all shares are the first of the batch. Items
    that do not fill a batch are left out (others each epoch).

    Raises:
        SpecError: if a batch can't be cut into equal shares.
    """

    def __init__(
        self,
        items: int,
        draws: int,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        first: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        order = torch.randperm(items * draws, generator=generator("order", seed, epoch)).tolist()
        batch_size = min(batch_size, len(order))
        if batch_size % ranks:
            raise SpecError(
                f"a batch of {batch_size} can't be shared equally by {ranks} processes; "
                "choose a batch_size that their number divides."
            )
        count = len(order) // batch_size
        self._batches = [
            [(item // draws, item % draws, epoch) for item in order[step * batch_size :][rank:batch_size:ranks]]
            for step in range(first, count)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        return iter(self._batches)


def epoch_loader(
    crops: Crops, batches: EpochBatches, workers: int, pin_memory: bool
) -> DataLoader[tuple[Tensor, float]]:
    """Loads the batches of one epoch: images (B, 3, side, side) and scores (B,)."""
    return DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=pin_memory,
        collate_fn=_stack,
        generator=torch.Generator().manual_seed(derive_seed("workers")),
    )


def _stack(items: list[tuple[Tensor, float]]) -> tuple[Tensor, Tensor]:
    return torch.stack([crop for crop, _ in items]), torch.tensor([mos for _, mos in items], dtype=torch.float32)
