"""A dataset made offline from a seed: scenes and five photographs, spoiled in five ways at four levels.

It needs neither download nor disk, and serves demonstrations and tests. Its scores are a documented
convention (`distortions.pseudo_mos`) plus the scatter of a small panel; a model trained on it
is no judge of photographs.

The photographs (astronaut, chelsea, coffee, motorcycle, rocket) ship in scikit-image's wheel.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustiqa.core.checks import check_positive_integer
from robustiqa.core.dataset import TARGET_SCALE, Dataset, Photo
from robustiqa.core.errors import DataError, InputError
from robustiqa.core.image_files import read_image
from robustiqa.core.seeds import generator
from robustiqa.datasets.distortions import LEVELS, STRENGTHS, distort, pseudo_mos
from robustiqa.datasets.scenes import paint_scene
from robustiqa.datasets.splits import Parts

NAME = "builtin"
SMALLEST_SIZE, LARGEST_SIZE = 32, 300  # the widest blur needs the one, the smallest photograph has the other
PANEL_SCATTER = 2.0  # standard deviation of a mean score about the convention, of 100
PHOTOGRAPHS = {  # name to file in scikit-image's data folder, and the part of the split it is in
    "astronaut": ("astronaut.png", "train"),
    "chelsea": ("chelsea.png", "test"),
    "coffee": ("coffee.png", "train"),
    "motorcycle": ("motorcycle_left.png", "train"),
    "rocket": ("rocket.jpg", "validation"),
}
# Scene number modulo 10 to part: 70 % train, 10 % validation, 20 % test, whatever the number of scenes.
_PART_OF_DIGIT = ("test", "train", "train", "validation", "train", "test", "train", "train", "train", "train")


@dataclass(frozen=True)
class BuiltinSource:
    """One picture: a scene and what was done to it; pixels are a pure function of the fields.

    Attributes:
        scene: A photograph's name, or that of a painted scene.
        kind: Distortion; see `distortions.STRENGTHS`.
        level: 0 (untouched) to 4.
        size: Side in pixels.
        seed: Of the dataset.
    """

    scene: str
    kind: str
    level: int
    size: int
    seed: int

    def read(self) -> Tensor:
        """Makes the picture, 8-bit, (3, size, size), float32 in [0, 1]."""
        rng = generator(self.seed, self.scene, self.kind, self.level)
        return distort(_pristine(self.scene, self.size, self.seed), self.kind, self.level, rng)


def load_builtin(scenes: int = 60, size: int = 256, seed: int = 0) -> Dataset:
    """Lists the pictures: 21 of each scene, the pristine one and five distortions at four levels.

    Args:
        scenes: Painted scenes beside the five photographs. More scenes leave the first as they are.
        size: Side of each picture in pixels, 32 to 300.
        seed: Another seed, other scenes.

    Returns:
        Pictures grouped by scene, with the parts `train`, `validation` and `test` (whole scenes).

    Raises:
        InputError: if a number is out of its range.
        DataError: if the installed scikit-image lacks its photographs.
    """
    check_positive_integer(scenes, "scenes")
    check_positive_integer(size, "size")
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise InputError(f"size must lie between {SMALLEST_SIZE} and {LARGEST_SIZE} pixels, got {size}.")
    for photograph in PHOTOGRAPHS:
        _photograph_file(photograph)
    part_of = {name: part for name, (_, part) in PHOTOGRAPHS.items()}
    part_of |= {f"scene-{number:04d}": _PART_OF_DIGIT[number % 10] for number in range(scenes)}
    photos: list[Photo] = []
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for scene in sorted(part_of):
        of_scene = _versions(scene, size, seed)
        photos += of_scene
        parts[part_of[scene]] += [photo.key for photo in of_scene]
    split: Parts = {part: tuple(keys) for part, keys in parts.items()}
    return Dataset(NAME, tuple(photos), TARGET_SCALE, split)


def _versions(scene: str, size: int, seed: int) -> list[Photo]:
    """The pictures of one scene, sorted by key."""
    levels = [("pristine", 0)] + [(kind, level) for kind in STRENGTHS for level in range(1, LEVELS + 1)]
    photos = []
    for kind, level in sorted(levels):
        key = f"{scene}-{kind}-{level}"
        scatter = PANEL_SCATTER * float(torch.randn((), generator=generator(seed, key, "panel")))
        mos = min(max(pseudo_mos(kind, level) + scatter, TARGET_SCALE.low), TARGET_SCALE.high)
        photos.append(Photo(key, BuiltinSource(scene, kind, level, size, seed), mos, scene))
    return photos


@lru_cache(maxsize=2)  # a scene's pictures are neighbors in the dataset; the memory holds pure results only
def _pristine(scene: str, size: int, seed: int) -> Tensor:
    if scene not in PHOTOGRAPHS:
        return paint_scene(seed, scene, size)
    photograph = read_image(_photograph_file(scene))
    _, height, width = photograph.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photograph[:, top : top + side, left : left + side].permute(1, 2, 0)
    pixels = Image.fromarray((square * 255).round().to(torch.uint8).contiguous().numpy())
    resized = np.array(pixels.resize((size, size), Image.Resampling.LANCZOS), dtype=np.float32) / np.float32(255)
    return torch.from_numpy(resized).permute(2, 0, 1).contiguous()


def _photograph_file(name: str) -> Path:
    """Where scikit-image keeps a photograph; the package itself is not imported, its data loader is slow."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise DataError("the builtin dataset needs scikit-image, which is not installed; install it.")
    path = Path(found.origin).parent / "data" / PHOTOGRAPHS[name][0]
    if not path.is_file():
        raise DataError(f"expected scikit-image's photograph {path}, found nothing; reinstall scikit-image.")
    return path
