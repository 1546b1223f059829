"""`robustiqa reproduce`: an experiment from a dataset to a report, and from its kept records alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robustiqa.experiments.spec_files import spec_names
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

PLAN = """# A plan of attacks for tests.
kind = "attacks"
title = "Two attacks"
models = ["base", "nt"]

[[sets]]
name = "test part"
photos = 3
eps = "4/255"
attacks = [{ name = "random_sign" }, { name = "fgsm" }, { name = "uap", weights = "@uap" }]
"""

BENCHMARK = """# A benchmark for tests.
kind = "benchmark"
title = "One attack"
models = ["tiny"]
subjects = "SUBJECTS"
clean = true
show = ["clean", "attacks", "observations"]
sets = [{ name = "test part", photos = 3, attacks = [{ name = "fgsm" }] }]
"""

SUBJECTS = """# A model for tests.
[models.tiny]
title = "Tiny"
comparison = "COMPARISON"
"""


@pytest.fixture
def benchmark(tmp_path: Path, experiment: Path) -> Path:
    (tmp_path / "subjects.toml").write_text(SUBJECTS.replace("COMPARISON", str(experiment)))
    path = tmp_path / "bench.toml"
    path.write_text(BENCHMARK.replace("SUBJECTS", str(tmp_path / "subjects.toml")))
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


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


def test_fields_of_the_recipe_can_be_set_and_a_quick_run_is_no_result(
    run: Run, experiment: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ran = run("reproduce", experiment, "--data", dataset, "--out", out, "--quick", "--set", "batch_size=5", "--json")
    assert ran.code == 0, ran.err
    spec = json.loads((out / "trainings" / "nt-1e-09-seed-0" / "run.json").read_text())
    assert [value for name, value in _leaves(spec) if name == "batch_size"] == [5]
    assert [value for name, value in _leaves(spec) if name == "start_epoch"] == [0]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "quick run, not a result" in page
    assert "--out FOLDER --set batch_size=5 --quick</code>" in page

    ran = run("reproduce", experiment, "--data", dataset, "--out", tmp_path / "other", "--set", "epoch=2")
    assert (ran.code, ran.out) == (2, "")
    assert "'epoch'; did you mean 'epochs'?" in ran.err
    assert not (tmp_path / "other").exists()


def _leaves(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for inner, value in values.items():
            yield from _leaves(value, inner)
    else:
        yield name, values


def test_an_unknown_experiment_is_one_sentence(run: Run, dataset: Path, tmp_path: Path) -> None:
    ran = run("reproduce", "nt-biq2021-lite", "--data", dataset, "--out", tmp_path / "run")
    assert ran.code == 2
    assert ran.err == (
        f"unknown experiment 'nt-biq2021-lite'; did you mean 'nt-biq2021-light'? Known: {', '.join(spec_names())}.\n"
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


def test_a_plan_of_attacks_ends_in_a_report_and_goes_on_from_kept_records(
    run: Run, plan: Path, dataset: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    models = [part for label in weights for part in ("--weights", f"{label}={weights[label]}")]
    ran = run("reproduce", plan, "--data", dataset, *models, "--out", tmp_path / "run", "--keep", kept, "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert len(ran.err.splitlines()) == 8  # attacks, goals, models
    assert document["records"] == 2 * 3 * (1 + 4)
    assert (kept / "test-part" / "info.json").is_file()
    assert [table["name"] for table in document["tables"]] == ["attacks-1", "attack-objectives-1", "clean-1"]
    assert "Not run: uap (no file 'uap' was given)." in document["tables"][0]["notes"]
    assert (tmp_path / "run" / "tables" / "attacks-1.csv").is_file()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Two attacks" in page
    command = f"robustiqa reproduce {plan.name} --data PATH --out FOLDER " + " ".join(
        f"--weights {m}=FILE" for m in weights
    )
    assert f"<code>{command}</code>" in page

    again = run("reproduce", plan, "--data", dataset, "--out", tmp_path / "other", "--keep", kept, "--json")
    assert (again.code, again.err) == (0, "")
    assert again.document["findings"] == document["findings"]


def test_a_benchmark_trains_what_its_model_needs_and_is_done_the_second_time(
    run: Run, benchmark: Path, experiment: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ran = run("reproduce", benchmark, "--data", dataset, "--out", out, "--quick", "--json")
    assert ran.code == 0, ran.err
    told = ran.err.splitlines()
    assert [line for line in told if line.startswith("training")] == [
        "training baseline-seed-0 (tiny)",
        "training nt-1e-09-seed-0 (tiny)",
    ]
    assert any(sentence.startswith("Observation 1") for sentence in ran.document["findings"])
    page = (out / "report.html").read_bytes()
    assert b"quick run, not a result" in page
    again = run("reproduce", benchmark, "--data", dataset, "--out", out, "--quick", "--json")
    assert (again.code, again.err) == (0, "")
    assert (out / "report.html").read_bytes() == page

    trained = ("--trained", f"tiny={out}")  # a folder with trainings/, as a comparison leaves it
    (out / "trainings" / "tiny").rename(out / "moved")
    (out / "trainings").rmdir()
    (out / "moved").rename(out / "trainings")
    other = run("reproduce", benchmark, "--data", dataset, "--out", tmp_path / "other", "--quick", *trained)
    assert other.code == 0, other.err
    assert "training" not in other.err
    refused = run("reproduce", benchmark, "--data", dataset, "--out", tmp_path / "new", "--model", "tinny")
    assert (refused.code, refused.err) == (2, "bench attacks tiny, none of tinny.\n")
    refused = run("reproduce", benchmark, "--data", dataset, "--out", tmp_path / "new", "--quick", "--seeds", "2")
    assert (refused.code, refused.err) == (2, "2 seeds were asked for; the comparison of 'tiny' has 0.\n")


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (
            "experiment",
            ["--weights", "base=file"],
            "--weights goes with a plan of attacks, and this experiment trains.",
        ),
        (
            "experiment",
            ["--seeds", "2"],
            "--seeds goes with a benchmark of several models, and this experiment trains.",
        ),
        (
            "plan",
            ["--set", "epochs=2"],
            "--set goes with a comparison that trains, and this experiment only attacks.",
        ),
        (
            "plan",
            ["--workers", "2"],
            "--workers goes with a comparison that trains, and this experiment only attacks.",
        ),
        (
            "plan",
            ["--model", "nt"],
            "--model goes with a benchmark of several models, and this experiment only attacks.",
        ),
        ("plan", ["--attack-file", "uap"], "--attack-file takes NAME=FILE, got 'uap'."),
        ("plan", [], "'base' is not attacked to the end yet; give its weights: base=FILE."),
    ],
)
def test_what_does_not_go_with_the_experiment_is_refused(
    run: Run, kind: str, options: list[str], sentence: str, plan: Path, experiment: Path, dataset: Path, tmp_path: Path
) -> None:
    spec = plan if kind == "plan" else experiment
    ran = run("reproduce", spec, "--data", dataset, "--out", tmp_path / "run", *options)
    assert (ran.code, ran.err) == (2, f"{sentence}\n")
    assert not (tmp_path / "run").exists()
