"""`robustiqa reproduce`: a comparison from a dataset to a report, and from its kept records alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import LIGHT, Run

SPEC = f"""# A comparison for tests.
recipe = "hyperiqa-biq2021-light"
weights = [1e-9]
seeds = [0]
allowed_loss = 2.0
ifgsm_photos = 1

[overrides]
epochs = 1
batch_size = 6
"model.backbone" = "{LIGHT}"
"model.backbone_weights" = ""
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SPEC)
    return path


def test_an_experiment_ends_in_a_report_and_goes_on_from_kept_records(
    run: Run, experiment: Path, dataset: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    ran = run("reproduce", experiment, "--data", dataset, "--out", tmp_path / "run", "--keep", kept, "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert (tmp_path / "run" / "report.html").is_file()
    assert document["kept"] == str(kept)
    told = ran.err.splitlines()
    assert [line for line in told if line.startswith("training")] == [
        "training baseline-seed-0",
        "training nt-1e-09-seed-0",
    ]
    assert "ifgsm: NT, seed 0" in told

    again = run("reproduce", experiment, "--data", dataset, "--out", tmp_path / "other", "--keep", kept, "--json")
    assert (again.code, again.err) == (0, "")
    assert again.document["records"] == document["records"]


def test_an_unknown_experiment_is_one_sentence(run: Run, dataset: Path, tmp_path: Path) -> None:
    ran = run("reproduce", "nt-biq2021-lite", "--data", dataset, "--out", tmp_path / "run")
    assert ran.code == 2
    assert ran.err == (
        "unknown experiment 'nt-biq2021-lite'; did you mean 'nt-biq2021-light'? Known: nt-biq2021-light.\n"
    )
    assert not (tmp_path / "run").exists()


def test_missing_backbone_weights_are_named_before_anything_is_trained(
    run: Run, experiment: Path, dataset: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.safetensors"
    ran = run("reproduce", experiment, "--data", dataset, "--out", tmp_path / "run", "--backbone-weights", gone)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == (
        f"there is no backbone weights file {gone}; give a file, or 'timm' to fetch weights by name."
    )
