"""`robustiqa weights`: checks of weights files, and calibrations that go into one; `robustiqa list weights PATH`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from robustiqa.core.calibration import Affine, Rescale
from robustiqa.datasets import create_dataset
from robustiqa.models.files import read_metadata
from robustiqa.models.loading import load_model
from robustiqa.models.weights import file_hash, read_weights
from robustiqa.training.fits import raw_scores
from tests.cli.conftest import LIGHT, Run
from tests.models.test_weights import CallsAtLoading


@pytest.fixture
def published(weights: dict[str, Path], tmp_path: Path) -> Path:
    """A pickle without metadata."""
    path = tmp_path / "published.pth"
    torch.save({"model": read_weights(weights["base"]).state, "optimizer": {"lr": 2e-5}}, path)
    return path


def test_check_says_what_a_file_holds_and_that_it_fits(run: Run, weights: dict[str, Path]) -> None:
    path = weights["base"]
    ran = run("weights", "check", path)
    assert (ran.code, ran.err) == (0, "")
    rows = dict(line.split("  ", 1) for line in ran.out.splitlines())
    found = {name.strip(): text.strip() for name, text in rows.items()}
    count = len(read_weights(path).state)
    assert found["model"] == f"hyperiqa, backbone={LIGHT}"
    assert found["entries"] == f"{count}: {count} match, 0 missing, 0 unused"
    assert found["NaN or infinite"] == "none"
    assert found["metadata"] == "schema version 1"
    assert found["calibration"] == "affine, 400 * raw +50"
    assert file_hash(path) in found["file"]
    document = run("weights", "check", path, "--json").document
    assert (document["verb"], document["error"], document["exit_code"]) == ("weights check", None, 0)
    assert document["matched"] == document["entries"] == count
    assert document["missing"] == document["unused"] == {"count": 0, "first": None}
    assert document["calibration"] == {"kind": "affine", "values": {"slope": 400.0, "offset": 50.0}}


def test_check_takes_names_run_folders_and_published_files(
    run: Run, weights: dict[str, Path], published: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(weights["nt"].read_bytes())
    assert run("weights", "check", "demo-nt").code == 0
    assert run("weights", "check", tmp_path / "run").code == 0
    document = run("weights", "check", published, "--model", "hyperiqa", "--backbone", LIGHT, "--json").document
    assert (document["exit_code"], document["beside"]) == (0, ["optimizer"])
    assert document["metadata"]["schema_version"] is None


def test_check_of_a_file_that_does_not_say_its_model_is_one_sentence_and_2(run: Run, published: Path) -> None:
    ran = run("weights", "check", published)
    assert ran.code == 2
    assert ran.err == f"{published} does not say which model it is for; name one, such as hyperiqa.\n"
    document = run("weights", "check", published, "--json").document
    assert (document["error"] + "\n", document["exit_code"]) == (ran.err, 2)
    assert document["entries"] > 0 and document["matched"] is None


def test_check_of_another_backbone_names_the_first_entry_of_each_kind(run: Run, published: Path) -> None:
    ran = run("weights", "check", published, "--model", "hyperiqa", "--backbone", "test_efficientnet")
    assert ran.code == 2
    assert " missing (first: backbone." in ran.out and " unused (first: backbone." in ran.out
    assert ran.err.startswith("weights for 'hyperiqa' lack 'backbone.")
    assert ran.err.count("\n") == 1


def test_check_runs_no_code_of_a_pickle(run: Run, tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pkl", tmp_path / "trace"
    torch.save({"model": CallsAtLoading(trace)}, path)
    ran = run("weights", "check", path, "--model", "hyperiqa")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{path} is refused, for loading it would run ")
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b'{"a": 1}'])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_check_of_what_is_no_weights_file_is_one_sentence(
    run: Run, tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    for ran in (run("weights", "check", path), run("list", "weights", path)):
        if suffix == ".pth" and ran.code == 0:
            assert "does not say its model" in ran.out  # a listing opens no pickle
            continue
        assert ran.code in (1, 2)
        assert ran.err.startswith(f"{path} is not a ")
        assert ran.err.count("\n") == 1


def test_list_weights_says_what_each_file_says(
    run: Run, weights: dict[str, Path], published: Path, tmp_path: Path
) -> None:
    document = run("list", "weights", weights["base"].parent, published, "--json").document
    entries = {entry["name"]: entry for entry in document["weights"]}
    assert list(entries) == [str(weights["base"]), str(weights["nt"]), str(published)]
    base = entries[str(weights["base"])]
    assert base["summary"] == (
        f"hyperiqa, backbone={LIGHT}; scores 0 to 100; affine, 400 * raw +50; "
        f"{weights['base'].stat().st_size / 1e6:.1f} MB, SHA-256 {file_hash(weights['base'])}"
    )
    assert (base["model"], base["dataset"], base["scale"]) == ("hyperiqa", None, [0, 100])
    assert entries[str(published)]["model"] is None
    assert document["problems"] == []
    shipped = run("list", "weights", "--json").document["weights"]
    assert [entry["dataset"]["name"] for entry in shipped] == ["builtin", "builtin"]


def test_list_goes_on_past_a_broken_file_and_returns_1(run: Run, weights: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights["base"].read_bytes()[:-100])
    ran = run("list", "weights", broken, weights["nt"], "--json")
    assert ran.code == 1
    assert [entry["name"] for entry in ran.document["weights"]] == [str(weights["nt"])]
    (problem,) = ran.document["problems"]
    assert ran.err == f"{problem['sentence']}\n"
    assert problem["sentence"].startswith(f"{broken} is not a safetensors file or is cut short")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("models", "x"), "PATH and --recursive go with `list weights PATH`; the other kinds have names alone.\n"),
        (("weights", "nowhere"), "there is no weights file or folder nowhere.\n"),
    ],
)
def test_list_of_a_wrong_path_is_one_sentence(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    ran = run("list", *arguments)
    assert (ran.code, ran.out, ran.err) == (2, "", sentence)


def test_calibrate_writes_a_file_whose_scores_are_the_fitted_ones(
    run: Run, weights: dict[str, Path], dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "calibrated.safetensors"
    photos = create_dataset(str(dataset))
    raw = raw_scores(load_model(weights["base"]), photos)
    slope, offset = np.polyfit(raw.means, raw.mos, 1)
    turn = ["--lower-is-better"] if slope < 0 else []
    asked = ("weights", "calibrate", weights["base"], "--data", dataset, "--part", "all", "--out", out)
    wrong = run(*asked, *([] if turn else ["--lower-is-better"]))
    assert (wrong.code, wrong.out, out.exists()) == (2, "", False)
    assert "lower_is_better" in wrong.err and wrong.err.count("\n") == 1
    document = run(*asked, *turn, "--json").document
    calibration = load_model(out).calibration
    assert isinstance(calibration, Affine)
    assert [calibration.slope, calibration.offset] == pytest.approx([slope, offset], rel=1e-4)
    assert document["calibration"]["values"] == read_metadata(out)["calibration"]["values"]
    assert document["sha256"] == file_hash(out)
    assert document["fitted_on"] == read_metadata(out)["calibration"]["fitted_on"]
    assert document["fitted_on"] == {
        "name": photos.name,
        "fingerprint": photos.fingerprint(),
        "split": photos.split_fingerprint(),
        "part": "all",
        "photos": 18,
    }
    assert document["rmse"]["after"] <= document["rmse"]["before"]
    assert document["replaced"]["values"]["slope"] == 400
    again = run(*asked)
    assert (again.code, again.err) == (
        2,
        f"{out} exists; a weights file is never overwritten, choose another name.\n",
    )
    shown = run("weights", "check", out).out
    assert f"{photos.name}, fingerprint {photos.fingerprint()}" in shown
    assert "part all, photos 18" in shown


def test_a_known_range_needs_no_photographs(run: Run, weights: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "ranged.safetensors"
    asked = ("weights", "calibrate", weights["nt"], "--fit", "scale", "--raw-range", "1,5", "--lower-is-better")
    ran = run(*asked, "--out", out)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (f"{out}: scale, raw 1 to 5 as 0 to 100, turned round\nin place of: affine, 200 * raw +50\n")
    assert load_model(out).calibration == Rescale(1.0, 5.0, lower_is_better=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--out", "x.pth"), "--out takes a .safetensors file, got x.pth."),
        (("--fit", "afine"), "unknown fit 'afine'; did you mean 'affine'? Known: affine, logistic, scale."),
        ((), "a fit needs photographs with opinion scores; name them with --data."),
        (("--raw-range", "1,5"), "--raw-range goes with --fit scale and without --data."),
        (
            ("--fit", "scale", "--raw-range", "5"),
            "--raw-range takes LOW,HIGH, such as 1,5, got '5'.",
        ),
        (("--fit", "scale", "--raw-range", "5,1"), "a raw range needs low < high, got [5.0, 1.0]."),
    ],
)
def test_a_wrong_request_for_a_calibration_is_one_sentence(
    run: Run, weights: dict[str, Path], tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    out = () if "--out" in arguments else ("--out", tmp_path / "new.safetensors")
    ran = run("weights", "calibrate", weights["base"], *out, *arguments)
    assert (ran.code, ran.out, ran.err) == (2, "", f"{sentence}\n")
    assert not (tmp_path / "new.safetensors").exists()


def test_too_few_photographs_for_a_fit_are_refused_and_nothing_is_written(
    run: Run, weights: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new.safetensors"
    ran = run("weights", "calibrate", weights["base"], "--data", f"folder:{photos}", "--part", "all", "--out", out)
    assert (ran.code, ran.out, out.exists()) == (2, "", False)
    assert ran.err.endswith("has photographs without opinion scores; a calibration needs them.\n")
