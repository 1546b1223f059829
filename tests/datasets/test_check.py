from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.image_files import FileSource, write_png
from robustiqa.datasets.check import Problem, check_dataset


def dataset_of(folder: Path, *names: str, **parts: tuple[str, ...]) -> Dataset:
    return Dataset("mine", tuple(Photo(name, FileSource(folder / name)) for name in sorted(names)), parts=parts)


def put(path: Path, height: int, width: int, seed: int) -> None:
    write_png(torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)), path)


@pytest.mark.parametrize("workers", [0, 3])
def test_each_unusable_photograph_gets_its_sentence_in_order(tmp_path: Path, workers: int) -> None:
    put(tmp_path / "a.png", 10, 20, seed=1)
    put(tmp_path / "b.png", 20, 20, seed=2)
    (tmp_path / "c.png").touch()
    seen: list[tuple[int, int]] = []
    dataset = dataset_of(tmp_path, "a.png", "b.png", "c.png", "d.png")
    problems = check_dataset(dataset, min_side=11, workers=workers, progress=lambda *counts: seen.append(counts))
    assert problems == [
        Problem(
            "a.png",
            "a.png is 20 x 10 pixels, and the shorter side must have at least 11; "
            "leave it out (where it is only scored or attacked, --small pad extends it).",
        ),
        Problem("c.png", f"{tmp_path / 'c.png'} is an empty file; get an intact copy."),
        Problem("d.png", f"expected an image file at {tmp_path / 'd.png'}, found nothing; check the path."),
    ]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert check_dataset(dataset_of(tmp_path, "a.png", "b.png"), workers=workers) == []


def test_the_same_pixels_in_two_parts_are_a_leak_and_in_one_part_are_not(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        put(tmp_path / name, 8, 8, seed=1)
    put(tmp_path / "d.png", 8, 8, seed=2)
    names = ("a.png", "b.png", "c.png", "d.png")
    leaking = dataset_of(tmp_path, *names, train=("a.png", "b.png"), test=("c.png", "d.png"))
    assert check_dataset(leaking) == [
        Problem(
            "c.png", "c.png in test has the same pixels as a.png in train; a split must keep them together, drop one."
        )
    ]
    assert check_dataset(dataset_of(tmp_path, *names, train=("a.png", "b.png", "c.png"), test=("d.png",))) == []
    assert check_dataset(dataset_of(tmp_path, *names)) == []
