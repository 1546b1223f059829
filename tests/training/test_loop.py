from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from robustiqa.core.errors import DataError, SpecError
from robustiqa.core.model import QualityModel
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model
from robustiqa.models.weights import read_weights
from robustiqa.training.build import resolve
from robustiqa.training.loop import RunOptions, TrainingProgress, train
from robustiqa.training.spec import TrainingSpec
from tests.photos import Scene, tiny_dataset
from tests.training.tiny import TinyNet, history_of, tiny_photos, tiny_spec, train_tiny_net

FEW_CORES = "ignore:This DataLoader will create 2 worker processes:UserWarning"
THREADED_FORK = "ignore:This process .* is multi-threaded:DeprecationWarning"


def test_a_run_learns_and_its_weights_load_into_the_model_that_was_validated(tmp_path: Path) -> None:
    dataset = tiny_dataset(train=16, validation=4, test=0, high=230)
    spec = TrainingSpec().with_values(
        {
            "model.backbone": "test_efficientnet",
            "model.backbone_weights": "",
            "optimizer.name": "adamw",
            "optimizer.learning_rate": 0.01,
            "optimizer.head_ratio": 1.0,
            "epochs": 4,
            "batch_size": 4,
        }
    )
    weights = train(spec, dataset, tmp_path / "run", RunOptions(device="cpu"))
    history = history_of(weights)
    losses = [line["loss"] for line in history["steps"]]
    assert losses[-1] < 0.6 * losses[0]
    model = load_model(weights)
    whole = CropAverage(model, small="pad").eval()
    part = dataset.part("validation")
    scores = [whole.score(photo.read()[None]).item() for photo in part]
    mos = [photo.mos for photo in part if photo.mos is not None]
    last = history["epochs"][-1]
    assert last["srocc"] == pytest.approx(stats.spearmanr(scores, mos)[0])
    assert last["plcc"] == pytest.approx(np.corrcoef(scores, np.array(mos, dtype=float))[0, 1])
    said = read_weights(weights).metadata
    assert said["training"] == json.loads(json.dumps(resolve(spec, dataset)))
    assert said["options"] == {"backbone": "test_efficientnet"}
    assert (said["scale"]["low"], said["scale"]["high"]) == (0, 100)
    run = json.loads((weights.parent / "run.json").read_text())
    assert run["spec"] == said["training"]
    assert str(tmp_path) not in json.dumps([run, said])


def test_the_same_spec_gives_the_same_weights_and_another_seed_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(name: str, **values: Any) -> bytes:
        torch.rand(7)  # the state of the global generator does not matter
        spec = tiny_spec(data__noise_std=0.01, **values)
        return train_tiny_net(monkeypatch, tmp_path / name, spec, net=lambda: TinyNet(dropout=0.5)).read_bytes()

    first = run("first")
    assert run("again") == first
    assert load_file(tmp_path / "first" / "model.safetensors").keys() == TinyNet().state_dict().keys()
    run("other", seed=1)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "other"))
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.filterwarnings(FEW_CORES, THREADED_FORK)
def test_how_a_run_is_carried_out_does_not_change_its_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def files(name: str, **options: Any) -> tuple[bytes, str]:
        net = lambda: TinyNet(batch_norm=True, dropout=0.5)  # noqa: E731
        spec = tiny_spec(penalty__weight=1e-3, data__noise_std=0.01)
        weights = train_tiny_net(monkeypatch, tmp_path / name, spec, net=net, **options)
        return weights.read_bytes(), (weights.parent / "history.json").read_text()

    plain = files("plain")
    assert files("workers", workers=2) == plain
    assert files("checkpoints", checkpoint_every=1, keep_epochs=True) == plain
    assert files("cache", cache=tmp_path / "shared") == plain
    assert files("same cache", cache=tmp_path / "shared") == plain
    assert len(list((tmp_path / "shared").glob("*.npy"))) == 16  # a shared cache stays


def test_a_finished_run_is_returned_and_nothing_is_trained_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = train_tiny_net(monkeypatch, tmp_path, tiny_spec())
    before = weights.stat().st_mtime_ns

    def never() -> QualityModel:
        raise AssertionError("built again")

    assert train_tiny_net(monkeypatch, tmp_path, tiny_spec(), net=never) == weights
    assert weights.stat().st_mtime_ns == before


def test_what_a_kill_left_behind_is_removed_when_the_finished_run_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_tiny_net(monkeypatch, tmp_path, tiny_spec())
    finished = sorted(path.name for path in tmp_path.iterdir())
    for name in ("checkpoint-000000004", ".checkpoint-000000008.part", "decoded"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / ".model.safetensors.17.part").touch()
    train_tiny_net(monkeypatch, tmp_path, tiny_spec())
    assert sorted(path.name for path in tmp_path.iterdir()) == finished


def test_a_folder_of_another_run_is_refused_and_the_difference_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_tiny_net(monkeypatch, tmp_path, tiny_spec())
    message = (
        f"{tmp_path} holds another run (penalty.weight is 0.0 there, 0.001 now); choose another folder or remove it."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(penalty__weight=1e-3))
    with pytest.raises(SpecError, match=r"holds another run \(dataset\.fingerprint is "):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(), dataset=tiny_photos(train=15))


def test_a_request_that_cannot_be_met_leaves_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for values in ({"optimizer__schedule": "cosin"}, {"loss": "l2"}, {"penalty__estimator": "x"}, {"data__part": "x"}):
        with pytest.raises((SpecError, LookupError, DataError)):
            train_tiny_net(monkeypatch, folder, tiny_spec(**values))
        assert not folder.exists()


def test_a_photo_smaller_than_the_crop_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dataset = tiny_photos()
    photos = tuple(
        replace(photo, source=Scene(0, 15, 20, 0.1)) if photo.key == "train-007.png" else photo for photo in dataset
    )
    with pytest.raises(DataError, match=r"^train-007\.png is 20x15, smaller than the 16x16 training crop"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(), dataset=replace(dataset, photos=photos))


def test_a_model_of_any_size_needs_a_crop_size_to_train_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def whole_photo() -> QualityModel:
        net = TinyNet()
        net.crop_size = None
        return net

    message = r"^hyperiqa takes photographs of any size; set data\.crop_size, such as 224, to train it\.$"
    with pytest.raises(SpecError, match=message):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(), net=whole_photo)
    train_tiny_net(monkeypatch, tmp_path, tiny_spec(data__crop_size=12), net=whole_photo)


def test_another_crop_size_than_the_networks_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = r"^hyperiqa takes crops of 16, data\.crop_size is 12; leave it out\.$"
    with pytest.raises(SpecError, match=message):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(data__crop_size=12))
    train_tiny_net(monkeypatch, tmp_path, tiny_spec(data__crop_size=16))


def test_progress_is_told_with_losses_and_validation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    weights = train_tiny_net(monkeypatch, tmp_path, tiny_spec(data__crops_per_photo=6), progress=told.append)
    history = history_of(weights)
    assert [line["step"] for line in history["steps"]] == [20, 24, 40, 48]
    assert [line["epoch"] for line in history["steps"]] == [1, 1, 2, 2]
    assert {(now.steps, now.epochs) for now in told} == {(48, 2)}
    assert [(now.step, now.validation_srocc is not None) for now in told] == [
        (20, False),
        (24, False),
        (24, True),
        (40, False),
        (48, False),
        (48, True),
    ]
    assert [now.validation_srocc for now in told if now.validation_srocc is not None] == [
        epoch["srocc"] for epoch in history["epochs"]
    ]


def test_without_a_validation_part_nothing_is_validated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = train_tiny_net(monkeypatch, tmp_path, tiny_spec(), dataset=tiny_photos(validation=0))
    assert history_of(weights)["epochs"] == [{"epoch": 1}, {"epoch": 2}]


def test_kept_epochs_are_whole_weights_and_the_last_is_the_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = train_tiny_net(monkeypatch, tmp_path, tiny_spec(), keep_epochs=True)
    first, last = (tmp_path / f"epoch-{number:02d}.safetensors" for number in (1, 2))
    assert last.read_bytes() == weights.read_bytes()
    assert first.read_bytes() != last.read_bytes()


def test_tensorboard_gets_losses_and_validation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")
    weights = train_tiny_net(monkeypatch, tmp_path, tiny_spec(), tensorboard=True)
    found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    history = history_of(weights)
    assert [event.value for event in found.Scalars("training/loss")] == pytest.approx(
        [line["loss"] for line in history["steps"]]
    )
    assert [event.value for event in found.Scalars("validation/srocc")] == pytest.approx(
        [epoch["srocc"] for epoch in history["epochs"]]
    )
