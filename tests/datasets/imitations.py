"""Tiny folders in the layouts of public datasets, with made-up scores and pictures of a few pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from robustiqa.core.image_files import write_png


def tiny_png(folder: Path) -> bytes:
    """An 8 x 6 picture as a PNG file's bytes."""
    path = folder / "tiny.png"
    write_png(torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(0)), path)
    content = path.read_bytes()
    path.unlink()
    return content


def put_photos(folder: Path, names: Sequence[str]) -> None:
    """Puts the tiny picture into the folder under each name; readers go by the first bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    content = tiny_png(folder)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def make_biq2021(
    root: Path,
    train: Mapping[str, float],
    test: Mapping[str, float],
    *,
    splits: Mapping[str, Sequence[str]] | None = None,
    stored: Mapping[str, str] | None = None,
) -> Path:
    """BIQ2021's layout; its train table has two empty columns. `stored` renames photographs on the disk."""
    put_photos(root / "Images", [(stored or {}).get(name, name) for name in (*train, *test)])
    lines = ["Image Name,MOS,,", *(f"{name},{mos},," for name, mos in train.items())]
    (root / "Train (Images and MOS).csv").write_bytes("\r\n".join([*lines, ""]).encode())
    lines = ["Image Name,MOS", *(f"{name},{mos}" for name, mos in test.items())]
    (root / "Test (Images and MOS).csv").write_bytes("\r\n".join([*lines, ""]).encode())
    if splits is not None:
        (root / "splits.json").write_text(json.dumps({"about": "a test", **splits}))
    return root


def livec_names() -> list[str]:
    """The 1,162 file names of LIVE in the Wild in the order of its label file."""
    bitmaps = sorted((f"{number}" for number in range(3, 533)), key=lambda name: f"{name}~")
    return [
        *(f"{name}.bmp" for name in bitmaps),
        *(f"{number}.JPG" for number in range(533, 1160)),
        *(f"{number}.bmp" for number in range(1160, 1165)),
    ]


def make_livec(root: Path, names: Sequence[str], mos: Sequence[float]) -> Path:
    """LIVE in the Wild's layout, seven training photographs in front."""
    from scipy.io import savemat

    put_photos(root / "Images", names)
    put_photos(root / "Images" / "trainingImages", [f"t{number}.bmp" for number in range(1, 8)])
    (root / "Data").mkdir()
    cells = np.empty((len(names) + 7, 1), dtype=object)
    cells[:, 0] = [*(f"t{number}.bmp" for number in range(1, 8)), *names]
    savemat(root / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    savemat(root / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.array([[99.0] * 7 + list(mos)])})
    return root


def make_csv_folder(root: Path, table: str, names: Sequence[str] = ()) -> Path:
    """Photographs beside a table `labels.csv`."""
    put_photos(root, names)
    (root / "labels.csv").write_text(table, encoding="utf-8")
    return root
