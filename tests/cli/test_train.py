"""`robustiqa train`: a run folder with weights, and where a run stands when it is asked for again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustiqa.cli.devices import training_device
from robustiqa.core.errors import InputError
from robustiqa.core.run_folder import WEIGHTS_FILE
from robustiqa.models.loading import load_model
from robustiqa.models.weights import read_weights
from robustiqa.training import loop
from tests.cli.conftest import LIGHT, Run

RECIPE = f"""# A recipe for tests.
epochs = 2
batch_size = 3

[model]
backbone = "{LIGHT}"
backbone_weights = ""

[penalty]
weight = 0.001
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def test_training_writes_weights_and_tells_each_epoch(run: Run, recipe: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "nt"
    ran = run("train", recipe, "--data", dataset, "--out", out, "--device", "cpu", "--seed", "4", "--json")
    assert ran.code == 0
    assert ran.document["weights"] == str(out / "model.safetensors")
    assert ran.document["resumed_after_step"] == 0
    assert [epoch["epoch"] for epoch in ran.document["epochs"]] == [1, 2]
    assert [line.split(":")[0] for line in ran.err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert all("validation SROCC" in line for line in ran.err.splitlines())
    load_model(out / "model.safetensors")

    again = run("train", recipe, "--data", dataset, "--out", out, "--device", "cpu", "--seed", "4")
    assert again.code == 0
    assert again.err == f"{out} holds this run's result already; nothing is left to train.\n"
    assert again.out.startswith(f"{out / 'model.safetensors'}, validation SROCC ")

    other = run("train", recipe, "--data", dataset, "--out", out, "--device", "cpu", "--seed", "5")
    sentence = f"{out} holds another run (seed is 4 there, 5 now); choose another folder or remove it.\n"
    assert (other.code, other.out, other.err) == (2, "", sentence)


def test_flags_become_fields_of_the_recipe(
    run: Run, recipe: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def remember(spec: Any, dataset: Any, folder: Path, options: Any) -> Path:
        seen.update(spec=spec, options=options)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS_FILE).touch()
        return folder / WEIGHTS_FILE

    monkeypatch.setattr(loop, "train", remember)
    flags = ("--epochs", "5", "--weight", "0", "--batch-size", "2", "--seed", "9", "--keep-epochs", "--tensorboard")
    more = ("--set", "optimizer.schedule=hyperiqa", "--set", "penalty.h=1", "--set", "precision=no")
    last = ("--gradient-checkpointing", "--cache", tmp_path / "c")
    ran = run("train", recipe, "--data", dataset, "--out", tmp_path / "run", *flags, *more, *last)
    assert ran.code == 0, ran.err
    spec, options = seen["spec"], seen["options"]
    assert (spec.epochs, spec.penalty.weight, spec.batch_size, spec.seed) == (5, 0.0, 2, 9)
    assert (spec.optimizer.schedule, spec.penalty.h, spec.precision) == ("hyperiqa", 1.0, "no")
    assert (options.keep_epochs, options.tensorboard, options.cache) == (True, True, tmp_path / "c")
    assert options.gradient_checkpointing


def stop_after(step: int) -> Callable[..., None]:
    """Ends a run as Control-C does, once it is past a step."""
    whole = loop._Run._checkpoint

    def checkpoint(self: Any, now: int) -> None:
        whole(self, now)
        if now >= step:
            raise KeyboardInterrupt

    return checkpoint


def test_a_run_that_was_interrupted_says_where_it_goes_on_and_ends_as_if_it_had_not_been(
    run: Run, recipe: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("train", recipe, "--data", dataset, "--device", "cpu", "--out")
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_checkpoint", stop_after(2))
        stopped = run(*asked, tmp_path / "stopped")
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    resumed = run(*asked, tmp_path / "stopped", "--json")
    assert resumed.code == 0
    assert resumed.document["resumed_after_step"] == 2
    assert resumed.err.splitlines()[0] == f"continuing the run in {tmp_path / 'stopped'} after step 2."
    assert run(*asked, tmp_path / "whole").code == 0
    files = [read_weights(tmp_path / name / "model.safetensors").state for name in ("stopped", "whole")]
    assert all(files[0][name].equal(value) for name, value in files[1].items())


def test_an_unusable_photograph_is_named_before_anything_is_written(
    run: Run, recipe: Path, dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    (copy / "p03.png").write_text("text")
    (copy / "p02.png").write_text("of the test part, which training does not read")
    ran = run("train", recipe, "--data", copy, "--out", tmp_path / "run")
    assert ran.code == 2
    assert ran.err.startswith(f"{copy / 'p03.png'} is not a JPEG, PNG, BMP, WebP or TIFF file")
    assert ran.err.endswith(" (1 unusable in all; `robustiqa data check` names each).\n")
    assert not (tmp_path / "run").exists()


def test_photographs_without_scores_are_refused_in_one_sentence_and_leave_no_folder(
    run: Run, recipe: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    asked = ("train", recipe, "--data", f"folder:{photos}", "--out", out)
    ran = run(*asked)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"dataset {photos.name!r} has no part 'train'; it has: all.\n"
    assert not out.exists()
    ran = run(*asked, "--set", "data.part=all")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == f"dataset {photos.name!r} has no opinion scores to train on."
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--set", "optimizer.learnin_rate=1"), "a training spec has no 'optimizer.learnin_rate'; did you mean"),
        (("--set", "epochs"), "--set takes NAME=VALUE, got 'epochs'."),
        (("--set", "epochs=many"), "epochs must be int, got 'many'."),
        (("--data-option", "scal=1,5"), "dataset 'csv_folder' has no option 'scal'; did you mean 'scale'?"),
        (("--backbone-weights", "nowhere.pth"), "there is no backbone weights file nowhere.pth;"),
        (("--device", "cpu:0"), "this verb takes --device auto, cpu, cuda or mps, got 'cpu:0';"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(
    run: Run, recipe: Path, dataset: Path, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    ran = run("train", recipe, "--data", dataset, "--out", tmp_path / "run", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(sentence)
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_names_the_close_one(run: Run, dataset: Path, tmp_path: Path) -> None:
    ran = run("train", "hyperiqa-livec", "--data", dataset, "--out", tmp_path / "run")
    assert ran.code == 2
    assert ran.err.startswith("unknown recipe 'hyperiqa-livec'; did you mean 'hyperiqa-livec-paper'? Known: ")


def test_training_takes_a_kind_of_device() -> None:
    assert training_device("cpu") == "cpu"
    with pytest.raises(InputError):
        training_device("cpu:0")
