"""Runs that differ in their penalty alone share the epochs before it sets in, and end as they would have alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from robustiqa.training.beginnings import beginning_of
from robustiqa.training.checkpoints import newest_checkpoint
from robustiqa.training.loop import RunOptions, TrainingProgress, train
from robustiqa.training.spec import TrainingSpec
from tests.training.tiny import TinyNet, history_of, tiny_photos, tiny_spec

EPOCHS, START = 4, 2


def spec_of(**values: Any) -> TrainingSpec:
    """Four epochs of four steps, a penalty in the last two."""
    return tiny_spec(
        **{
            "epochs": EPOCHS,
            "penalty__start_epoch": START,
            "penalty__weight": 1e-3,
            "optimizer__name": "adam",
            **values,
        }
    )


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains a net with batch norm and dropout; returns its weights file and the steps that it took itself."""
    monkeypatch.setattr("robustiqa.training.loop.build_model", lambda spec: TinyNet(batch_norm=True, dropout=0.3))

    def run(spec: TrainingSpec, folder: Path, beginnings: Path | None, **options: Any) -> tuple[Path, list[int]]:
        told: list[int] = []

        def listen(progress: TrainingProgress) -> None:
            told.append(progress.step)

        carried_out = RunOptions(device="cpu", beginnings=beginnings, progress=listen, **options)
        return train(spec, tiny_photos(), folder, carried_out), told

    return run


def assert_same(one: Path, other: Path) -> None:
    """The same weights, bit by bit, and the same history."""
    first, second = load_file(one), load_file(other)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert history_of(one) == history_of(other)


@pytest.mark.parametrize(
    "other",
    [
        {"penalty__weight": 0.0},
        {"penalty__every": 2},
        {"penalty__name": "nt-published"},
        {"penalty__estimator": "double_backward"},
    ],
)
def test_a_run_goes_on_from_anothers_beginning_and_ends_as_it_would_alone(
    trained: Any, other: dict[str, Any], tmp_path: Path
) -> None:
    alone, steps = trained(spec_of(), tmp_path / "alone", None)
    assert min(steps) == 4
    trained(spec_of(**other), tmp_path / "other", tmp_path / "beginnings")
    shared, steps = trained(spec_of(), tmp_path / "shared", tmp_path / "beginnings")
    assert min(steps) == 4 * START + 4, "the first epochs were trained again"
    assert_same(alone, shared)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"data__noise_std": 0.1}, {"penalty__start_epoch": 1}, {"epochs": 5}, {"loss": "mse"}]
)
def test_what_begins_otherwise_is_not_shared(trained: Any, other: dict[str, Any], tmp_path: Path) -> None:
    trained(spec_of(**other), tmp_path / "other", tmp_path / "beginnings")
    _, steps = trained(spec_of(), tmp_path / "run", tmp_path / "beginnings")
    assert min(steps) == 4


def test_validations_are_those_that_the_run_asks_for(trained: Any, tmp_path: Path) -> None:
    alone, _ = trained(spec_of(), tmp_path / "alone", None, validate_every=EPOCHS)
    trained(spec_of(penalty__weight=0.0), tmp_path / "every", tmp_path / "beginnings")
    shared, steps = trained(spec_of(), tmp_path / "shared", tmp_path / "beginnings", validate_every=EPOCHS)
    assert min(steps) > 4 * START
    assert_same(alone, shared)


def test_a_beginning_that_was_not_validated_is_no_use_to_a_run_that_wants_to_be(trained: Any, tmp_path: Path) -> None:
    trained(spec_of(penalty__weight=0.0), tmp_path / "seldom", tmp_path / "beginnings", validate_every=EPOCHS)
    _, steps = trained(spec_of(), tmp_path / "run", tmp_path / "beginnings")
    assert min(steps) == 4


def test_a_run_that_keeps_the_weights_of_every_epoch_trains_every_epoch(trained: Any, tmp_path: Path) -> None:
    trained(spec_of(), tmp_path / "other", tmp_path / "beginnings")
    weights, _ = trained(spec_of(), tmp_path / "run", tmp_path / "beginnings", keep_epochs=True)
    assert len(list(weights.parent.glob("epoch-*.safetensors"))) == EPOCHS


def test_a_beginning_stays_as_the_first_run_left_it(trained: Any, tmp_path: Path) -> None:
    trained(spec_of(), tmp_path / "first", tmp_path / "beginnings")
    (folder,) = (tmp_path / "beginnings").iterdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    trained(spec_of(penalty__weight=0.0), tmp_path / "second", tmp_path / "beginnings", keep_epochs=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_half_a_copy_is_no_beginning(trained: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = shutil.copytree

    def killed(*args: Any, **kwargs: Any) -> None:
        copy(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr("robustiqa.training.beginnings.shutil.copytree", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(spec_of(), tmp_path / "run", tmp_path / "beginnings")
    monkeypatch.undo()
    (folder,) = (tmp_path / "beginnings").iterdir()
    assert newest_checkpoint(folder) is None


def test_several_processes_share_no_beginning(tmp_path: Path) -> None:
    from accelerate import Accelerator

    alone = Accelerator(cpu=True)
    assert beginning_of(spec_of(), {}, tmp_path, alone) is not None
    assert beginning_of(spec_of(), {}, None, alone) is None
    assert beginning_of(spec_of(penalty__start_epoch=0), {}, tmp_path, alone) is None
    assert beginning_of(spec_of(penalty__start_epoch=EPOCHS), {}, tmp_path, alone) is None

    class Two:
        num_processes = 2
        device = alone.device

    assert beginning_of(spec_of(), {}, tmp_path, Two()) is None


def test_the_folder_says_nothing_of_the_penalty(tmp_path: Path) -> None:
    from accelerate import Accelerator

    alone = Accelerator(cpu=True)
    weak, strong = spec_of(), replace(spec_of(), penalty=replace(spec_of().penalty, weight=1.0))
    assert beginning_of(weak, weak.to_dict(), tmp_path, alone) == beginning_of(
        strong, strong.to_dict(), tmp_path, alone
    )
