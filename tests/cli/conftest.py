"""What the tests of the command line run on: small photographs, small random models, a dataset, broken files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.cli.app import main
from robustiqa.core.calibration import Affine
from robustiqa.core.image_files import write_png
from robustiqa.models import create_model
from robustiqa.models.loading import save_model

LIGHT = "test_resnet.r160_in1k"  # timm's smallest network with features at four strides
WEIGHTS = {"base": (1.0, 0), "nt": (0.5, 1)}  # label to steepness and seed
STEEP = 400.0  # makes a random network's gradient as large as an undefended one's


@dataclass(frozen=True)
class Ran:
    """What a command line returned and wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        found: dict[str, Any] = json.loads(self.out, parse_constant=refuse)
        return found


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in this process, on the CPU: the tests compare numbers with what a CPU computes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def call(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


def picture(height: int, width: int, seed: int) -> Tensor:
    """Smooth colors with grain, 8-bit, (3, height, width)."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    grain = 0.02 * (seed % 7) * torch.randn(3, height, width, generator=draw)
    return ((smooth + grain).clamp(0.1, 0.9) * 255).round() / 255


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two photographs of one crop and a bit, and one more in a folder below."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("ann.png", "bob.png", "below/cyd.png")):
        write_png(picture(224, 230, seed), folder / name)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights files of two random models, by label."""
    folder = tmp_path_factory.mktemp("weights")
    files = {}
    for label, (steepness, seed) in WEIGHTS.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = create_model("hyperiqa", backbone=LIGHT)
        model.calibration = Affine(slope=STEEP * steepness, offset=50.0)
        files[label] = folder / f"{label}.safetensors"
        save_model(model, files[label], "hyperiqa", {"backbone": LIGHT})
    return files


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs with opinion scores from 1 to 5 and a split, as people bring their own."""
    folder = tmp_path_factory.mktemp("dataset")
    with (folder / "ratings.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "mos", "split"])
        for number in range(18):
            write_png(picture(224, 224, number), folder / f"p{number:02d}.png")
            part = ("train", "validation", "test")[number % 3]
            table.writerow([f"p{number:02d}.png", 1 + 4 * (number % 7) / 7 + number / 50, part])
    (folder / "dataset.toml").write_text("mos_scale = [1, 5]\n")
    return folder


@pytest.fixture
def bad_files(tmp_path: Path) -> dict[str, Path]:
    """One file of each kind that can't be scored, and a path where there is nothing."""
    from PIL import Image

    files = {
        "text": tmp_path / "text.png",
        "cut": tmp_path / "cut.jpg",
        "empty": tmp_path / "empty.png",
        "small": tmp_path / "small.png",
        "missing": tmp_path / "missing.png",
    }
    files["text"].write_text("not an image")
    pixels = (picture(240, 240, 3) * 255).to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(files["cut"], quality=90)
    whole = files["cut"].read_bytes()
    files["cut"].write_bytes(whole[: len(whole) // 2])
    files["empty"].touch()
    write_png(picture(100, 240, 4), files["small"])
    return files
