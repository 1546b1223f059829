"""What a dataset is: named photographs with opinion scores on 0..100, and splits that a hash identifies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from torch import Tensor

from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale

TARGET_SCALE = ScoreScale(0.0, 100.0)


class ImageSource(Protocol):
    """Where a photograph comes from: a file, or a seeded recipe."""

    def read(self) -> Tensor:
        """The photograph, (3, H, W), float32 RGB in [0, 1]."""
        ...


@dataclass(frozen=True)
class Photo:
    """One photograph of a dataset.

    Attributes:
        key: Its name, unique in the dataset; random draws and records go by it.
        source: Where its pixels come from.
        mos: Mean opinion score mapped to 0..100, higher is better; None where there is none.
        group: Photographs of one scene or reference share it; a split never cuts a group.
    """

    key: str
    source: ImageSource
    mos: float | None = None
    group: str = ""

    def read(self) -> Tensor:
        """Decodes the photograph, (3, H, W), float32 RGB in [0, 1]."""
        return self.source.read()


@dataclass(frozen=True)
class Dataset:
    """Photographs in a fixed order (sorted by key), and the keys of each part of the split.

    Attributes:
        name: Registry name, or the folder's.
        photos: Sorted by key.
        mos_scale: The interval of the published scores that is mapped to 0..100; None without scores.
        parts: `train`, `validation`, `test` (those there are) to keys.
        root: The folder it was read from, for error messages; not part of its identity.
    """

    name: str
    photos: tuple[Photo, ...]
    mos_scale: ScoreScale | None = None
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        keys = [photo.key for photo in self.photos]
        if keys != sorted(set(keys)):
            raise DataError(f"dataset {self.name!r} must list each photo once, sorted by name.")

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[Photo]:
        return iter(self.photos)

    @property
    def has_mos(self) -> bool:
        """Whether every photograph carries a score."""
        return bool(self.photos) and all(photo.mos is not None for photo in self.photos)

    def part(self, name: str) -> Dataset:
        """The photographs of one part of the split, as a dataset; `all` is the whole.

        Raises:
            DataError: if there is no such part.
        """
        if name == "all":
            return self
        if name not in self.parts:
            known = ", ".join(["all", *self.parts])
            raise DataError(f"dataset {self.name!r} has no part {name!r}; it has: {known}.")
        return self.select(self.parts[name])

    def select(self, keys: Sequence[str]) -> Dataset:
        """The photographs with these keys, in the dataset's order.

        Raises:
            DataError: naming the first key that is not there.
        """
        wanted = set(keys)
        missing = sorted(wanted - {photo.key for photo in self.photos})
        if missing:
            raise DataError(f"dataset {self.name!r} has no photo {missing[0]!r} ({len(missing)} missing in all).")
        return replace(self, photos=tuple(photo for photo in self.photos if photo.key in wanted), parts={})

    def fingerprint(self) -> str:
        """SHA-256 over keys and scores, 16 hexadecimal digits: what was trained or evaluated on."""
        digest = hashlib.sha256()
        for photo in self.photos:
            digest.update(f"{photo.key}\t{photo.mos!r}\n".encode())
        return digest.hexdigest()[:16]

    def split_fingerprint(self) -> str:
        """SHA-256 over the parts and their keys, 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for part in sorted(self.parts):
            digest.update(f"[{part}]\n".encode())
            digest.update("".join(f"{key}\n" for key in sorted(self.parts[part])).encode())
        return digest.hexdigest()[:16]
