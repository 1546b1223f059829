"""Models of other packages where a weights file may stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

NAME = "tests.external_models:brightness"


def test_a_factory_is_scored_beside_weights(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    ran = run("score", photos / "ann.png", "--weights", weights["base"], "--weights", f"bright={NAME}", "--json")
    assert ran.code == 0, ran.err
    models = {entry["label"]: entry for entry in ran.document["models"]}
    assert list(models) == ["base", "bright"]
    assert (models["bright"]["weights"], models["bright"]["sha256"]) == (NAME, None)
    assert models["bright"]["model"] == "External"


def test_a_model_of_another_package_needs_no_weights(run: Run, photos: Path) -> None:
    ran = run("score", photos / "ann.png", "--model", NAME, "--json")
    assert ran.code == 0, ran.err
    assert [entry["label"] for entry in ran.document["models"]] == [NAME]


def test_modules_beside_the_caller_are_found(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_metric.py").write_text("def make():\n    return lambda images: 50 * images.mean((1, 2, 3))\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("nowhere")  # so that what the program adds is taken back
    assert run("score", photos / "ann.png", "--weights", "my_metric:make").code == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "no_such_module:make",
            "there is no module 'no_such_module' for the model 'no_such_module:make'; is it on the path?",
        ),
        ("tests.external_models:nothing", "module 'tests.external_models' has no factory 'nothing'."),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(run: Run, photos: Path, name: str, sentence: str) -> None:
    ran = run("score", photos / "ann.png", "--weights", name)
    assert (ran.code, ran.out, ran.err) == (2, "", sentence + "\n")
