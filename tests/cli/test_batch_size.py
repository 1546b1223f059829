"""`--batch-size`: refused where it can't fit, halved where memory runs out; no result depends on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.core.image_files import write_png
from robustiqa.evaluation import fitting
from tests.cli.conftest import Run, picture
from tests.toys import ConvModel

TOY, SHORT = "tests.cli.test_batch_size:toy", "tests.cli.test_batch_size:short"
SAID = "the memory of cpu ran out with 3 photographs of 40x32 pixels at a time; going on with 1.\n"


class Short(ConvModel):
    """Has memory for one photograph at a time."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        if len(normalized) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return super().raw_scores(normalized)


def toy() -> ConvModel:
    return ConvModel().eval()


def short() -> ConvModel:
    return Short().eval()


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three photographs of one size."""
    folder = tmp_path / "three"
    for seed in range(3):
        write_png(picture(32, 40, seed), folder / f"p{seed}.png")
    return folder


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little for one photograph of three, by a sixth."""
    monkeypatch.setattr(fitting, "LAVISH", 10**9)
    monkeypatch.setattr(fitting, "available_memory", lambda device: 500_000)


def scores(document: dict[str, Any]) -> list[float]:
    return [found["score"] for photo in document["photos"] for found in photo["scores"].values()]


def test_auto_is_the_default_and_gives_what_one_by_one_gives(run: Run, three: Path) -> None:
    asked = ("score", three, "--weights", TOY, "--no-range", "--json")
    one = run(*asked, "--batch-size", "1")
    assert run(*asked).out == run(*asked, "--batch-size", "auto").out == one.out
    assert scores(run(*asked, "--batch-size", "3").document) == pytest.approx(scores(one.document), rel=1e-5)


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5", ""])
def test_what_is_no_batch_size_is_refused(size: str, run: Run, three: Path) -> None:
    ran = run("score", three, "--weights", TOY, f"--batch-size={size}")
    assert ran.code == 2
    assert f"'--batch-size': {size!r} is neither auto nor a whole number of at least 1" in ran.err


@pytest.mark.parametrize(
    "verb", [("score",), ("attack", "--attack", "fgsm"), ("evaluate", "--part", "all", "--attack", "fgsm", "--data")]
)
@pytest.mark.usefixtures("little_memory")
def test_a_batch_that_can_not_fit_is_refused_with_the_estimate(
    verb: tuple[str, ...], run: Run, three: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rest = (three, "--weights", f"net={TOY}", *(("--out", out) if verb[0] == "evaluate" else ()))
    ran = run(*verb, *rest, "--batch-size", "3")
    sentence = r"a batch of 3 photographs of 40x32 pixels takes about 0.0 GiB with 'net', and 0.0 GiB are available; "
    assert (ran.code, ran.out, ran.err) == (2, "", sentence + "pass a smaller --batch-size, or leave it out.\n")
    assert not out.exists()
    ran = run(*verb, *rest)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("one photograph of 40x32 pixels takes about 0.0 GiB, and 0.0 GiB are available; shrink ")
    assert run(*verb, *rest, "--max-side", "12", *(("--no-report",) if verb[0] == "evaluate" else ())).code == 0


def test_scores_of_halved_batches_are_all_there_and_it_is_said_once(run: Run, three: Path) -> None:
    asked = ("score", three, "--batch-size", "3", "--json", "--weights")
    whole, halved = run(*asked, f"net={TOY}"), run(*asked, f"net={SHORT}")
    assert (halved.code, halved.err) == (0, SAID)
    assert scores(halved.document) == pytest.approx(scores(whole.document), rel=1e-5)


def test_pictures_of_halved_batches_are_all_written(run: Run, three: Path, tmp_path: Path) -> None:
    asked = ("attack", three, "--weights", f"net={SHORT}", "--attack", "fgsm", "--batch-size", "3")
    ran = run(*asked, "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (0, SAID)
    assert len(list((tmp_path / "out").glob("p?-fgsm.png"))) == 3


def test_records_of_halved_batches_are_all_there_and_a_run_goes_on_with_its_own_size(
    run: Run, three: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    asked = ("evaluate", "--data", three, "--part", "all", "--weights", f"net={SHORT}", "--attack", "fgsm")
    ran = run(*asked, "--out", out, "--no-report", "--batch-size", "3")
    assert (ran.code, ran.err) == (0, SAID)
    records = (out / "records.jsonl").read_text().splitlines()
    assert len(records) == 3 * 3  # clean, lowered, raised
    assert json.loads((out / "run.json").read_text())["spec"]["batch_size"] == 3
    assert run(*asked, "--out", out, "--no-report").code == 0
    other = run(*asked, "--out", out, "--no-report", "--batch-size", "2")
    assert (other.code, "batch_size is 3 there, 2 now" in other.err) == (2, True)
