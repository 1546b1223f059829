"""`--max-side`: what a photograph is shrunk to is what is scored, attacked, evaluated and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from robustiqa.cli.data import refuse_unusable
from robustiqa.cli.output import Output
from robustiqa.core.errors import DataError
from robustiqa.core.image_files import read_image, write_png
from robustiqa.datasets import create_dataset
from robustiqa.datasets.max_side import shrink, shrunk
from tests.cli.conftest import Run, picture
from tests.toys import ConvModel

TOY = "tests.cli.test_max_side:toy"


def toy() -> ConvModel:
    """A model of whole photographs."""
    return ConvModel().eval()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    folder = tmp_path / "large"
    for seed, size in enumerate(((40, 60), (20, 16))):
        write_png(picture(*size, seed), folder / f"p{seed}.png")
    return folder


def test_scores_are_those_of_the_shrunken_photographs_and_the_document_says_so(run: Run, large: Path) -> None:
    ran = run("score", large, "--weights", f"toy={TOY}", "--max-side", "30", "--no-range", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["max_side"] == 30
    for photo in ran.document["photos"]:
        image = shrink(read_image(Path(photo["path"])), 30)
        assert photo["scores"]["toy"]["score"] == pytest.approx(toy().score(image[None]).item(), rel=1e-5)
    assert run("score", large, "--weights", TOY, "--no-range", "--json").document["max_side"] is None


def test_the_adversarial_picture_has_the_shrunken_size(run: Run, large: Path, tmp_path: Path) -> None:
    asked = ("attack", large / "p0.png", "--weights", TOY, "--attack", "fgsm", "--max-side", "30", "--json")
    ran = run(*asked, "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["max_side"] == 30
    (files,) = (result["files"] for photo in ran.document["photos"] for result in photo["results"].values())
    shapes = {tuple(read_image(Path(file)).shape) for file in files}
    assert (3, 20, 30) in shapes


def test_an_evaluation_is_of_the_shrunken_photographs_and_another_size_is_another_run(
    run: Run, large: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    asked = ("evaluate", "--data", f"folder:{large}", "--part", "all", "--weights", f"toy={TOY}", "--no-report")
    ran = run(*asked, "--attack", "fgsm", "--out", out, "--max-side", "30")
    assert ran.code == 0, ran.err
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    clean = {record["key"]: record["score"] for record in records if record["attack"] == "none"}
    for photo in shrunk(create_dataset(f"folder:{large}"), 30):
        assert clean[photo.key] == pytest.approx(toy().score(photo.read()[None]).item(), rel=1e-5)
    said = json.loads((out / "run.json").read_text())["spec"]["dataset"]["name"]
    assert said.endswith(", at most 30 pixels a side")
    other = run(*asked, "--attack", "fgsm", "--out", out)
    assert other.code == 2
    assert "holds another run (dataset.name is" in other.err


def test_photographs_are_looked_at_as_they_will_be_used(large: Path) -> None:
    (large / "p2.png").write_text("text")
    with pytest.raises(DataError, match=r"p2\.png is not a JPEG, PNG"):
        refuse_unusable(shrunk(create_dataset(f"folder:{large}"), 30), 1, Output("evaluate", False), 0)
    (large / "p2.png").unlink()
    with pytest.raises(DataError, match=r"p0\.png is 18 x 12 pixels, and the shorter side must have at least 14"):
        refuse_unusable(shrunk(create_dataset(f"folder:{large}"), 18), 14, Output("evaluate", False), 0)
    assert torch.equal(shrink(picture(20, 16, 1), 20), picture(20, 16, 1))
