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
from torch import Tensor

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import DataError, SpecError, WorkFailedError
from robustiqa.core.model import QualityModel
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model
from robustiqa.models.weights import read_weights
from robustiqa.training.build import resolve
from robustiqa.training.loop import RunOptions, TrainingProgress, train
from robustiqa.training.spec import TrainingSpec
from tests.photos import Scene, tiny_dataset
from tests.training.tiny import TinyNet, tiny_photos, tiny_spec, train_tiny_net

FEW_CORES = "ignore:This DataLoader will create 2 worker processes:UserWarning"
THREADED_FORK = "ignore:This process .* is multi-threaded:DeprecationWarning"


def history_of(weights: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads((weights.parent / "history.json").read_text())
    return found


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
    mos = [photo.mos for photo in part]
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


def test_one_adam_step_is_the_textbooks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = tiny_spec(
        epochs=1, batch_size=16, optimizer__learning_rate=1e-3, optimizer__head_ratio=5.0, optimizer__weight_decay=0.01
    )
    trained = load_file(train_tiny_net(monkeypatch, tmp_path, spec))
    before = TinyNet()
    gradients = _first_gradients(before, spec, tmp_path)
    for name, weight in before.named_parameters():
        rate = 1e-3 * (1.0 if name.startswith("backbone.") else 5.0)
        gradient = gradients[name] + 0.01 * weight.detach()
        expected = weight.detach() - rate * gradient / (gradient.abs() + 1e-8)  # Adam's first step
        torch.testing.assert_close(trained[name], expected, rtol=0, atol=1e-6)


def _first_gradients(net: TinyNet, spec: TrainingSpec, folder: Path) -> dict[str, Tensor]:
    """Of the mean absolute error on the first batch."""
    from robustiqa.training.crops import Crops, DecodedPhotos, EpochBatches

    part = tiny_photos().part("train")
    crops = Crops(part, DecodedPhotos(folder / "again"), 16, spec.data, spec.seed)
    (batch,) = EpochBatches(len(part), 1, batch_size=16, seed=spec.seed, epoch=0)
    images, mos = zip(*(crops[item] for item in batch), strict=True)
    (net(torch.stack(images)) - torch.tensor(mos)).abs().mean().backward()
    return {name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("accumulation", [2, 3, 4, 16])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_accumulated_steps_equal_whole_ones(
    accumulation: int, batch_norm: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def trained(parts: int) -> tuple[dict[str, Tensor], list[float]]:
        spec = tiny_spec(batch_size=16, epochs=3, accumulation=parts, penalty__weight=1e-4, batch_norm="frozen")
        weights = train_tiny_net(monkeypatch, tmp_path / str(parts), spec, net=lambda: TinyNet(batch_norm=batch_norm))
        logged = [line[name] for line in history_of(weights)["steps"] for name in ("loss", "penalty")]
        return load_file(weights), logged

    (whole, logged), (in_parts, logged_in_parts) = trained(1), trained(accumulation)
    assert logged_in_parts == pytest.approx(logged, rel=1e-5)
    start = TinyNet(batch_norm=batch_norm).state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(in_parts[name], value, rtol=0, atol=1e-5)
    assert max((whole[name] - start[name]).abs().max().item() for name in whole) > 1e-3


@pytest.mark.parametrize("weight", [0.0, 1e-3])
def test_running_statistics_move_once_a_step_or_not_at_all(
    weight: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def buffers(batch_norm: str) -> dict[str, Tensor]:
        spec = tiny_spec(batch_norm=batch_norm, penalty__weight=weight)
        trained = load_file(
            train_tiny_net(monkeypatch, tmp_path / batch_norm, spec, net=lambda: TinyNet(batch_norm=True))
        )
        return {name: value for name, value in trained.items() if "running" in name or "tracked" in name}

    start = TinyNet(batch_norm=True).state_dict()
    frozen, moving = buffers("frozen"), buffers("train")
    assert moving["backbone.1.num_batches_tracked"] == 2 * 4  # epochs times steps
    assert not torch.equal(moving["backbone.1.running_mean"], start["backbone.1.running_mean"])
    for name, value in frozen.items():
        assert torch.equal(value, start[name]), name


def test_frozen_with_penalty_counts_the_batches_before_the_penalty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = tiny_spec(epochs=3, batch_norm="frozen_with_penalty", penalty__weight=1e-3, penalty__start_epoch=1)
    weights = train_tiny_net(monkeypatch, tmp_path, spec, net=lambda: TinyNet(batch_norm=True))
    assert load_file(weights)["backbone.1.num_batches_tracked"] == 4
    penalties = [line["penalty"] for line in history_of(weights)["steps"]]
    assert penalties[0] == 0
    assert min(penalties[1:]) > 0


def test_the_more_the_penalty_weighs_the_smaller_is_the_gradient(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def norm(weight: float) -> float:
        spec = tiny_spec(epochs=6, optimizer__learning_rate=0.01, penalty__weight=weight)
        net = TinyNet()
        net.load_state_dict(load_file(train_tiny_net(monkeypatch, tmp_path / str(weight), spec)))
        images = torch.stack([photo.read()[:, :16, :16] for photo in tiny_photos().part("validation")])
        (gradient,) = torch.autograd.grad(net(images.requires_grad_()).sum(), images)
        return gradient.abs().flatten(1).sum(1).mean().item()

    plain, light, heavy = norm(0.0), norm(1e-3), norm(1e-2)
    assert heavy < light < plain
    assert heavy < 0.5 * plain


def test_rates_follow_the_schedule_from_one_to_zero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, *arguments: Any, **options: Any) -> Any:
        seen.append((self.param_groups[0]["lr"], self.param_groups[1]["lr"]))
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    spec = tiny_spec(epochs=5, optimizer__head_ratio=10.0, optimizer__warmup_steps=1)
    train_tiny_net(monkeypatch, tmp_path, spec)
    factors = [0.5 * (1 + np.cos(np.pi * place / 20)) for place in range(20)]
    factors[0] *= 0.5
    assert [backbone for backbone, _ in seen] == pytest.approx([1e-3 * factor for factor in factors])
    assert [head for _, head in seen] == pytest.approx([1e-2 * factor for factor in factors])
    assert seen[-1][0] < 0.01 * 1e-3


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


def test_fp16_is_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^fp16 needs a GPU, got cpu; train with precision bf16 or no\.$"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(precision="fp16"))


def test_two_runs_in_one_process_may_differ_in_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(name: str, precision: str) -> tuple[dict[str, Tensor], list[float]]:
        weights = train_tiny_net(
            monkeypatch, tmp_path / name, tiny_spec(precision=precision, penalty__weight=1e-4), net=TinyNet
        )
        return load_file(weights), [line["loss"] for line in history_of(weights)["steps"]]

    (plain, losses), (half, half_losses), (again, _) = run("a", "no"), run("b", "bf16"), run("c", "no")
    assert all(torch.equal(value, again[name]) for name, value in plain.items())
    assert all(value.dtype == torch.float32 for value in half.values())
    assert half_losses != losses
    assert half_losses == pytest.approx(losses, rel=0.05)


@pytest.mark.parametrize("step", [2, 7])
def test_a_loss_that_is_not_finite_stops_the_run(step: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Exploding(TinyNet):
        """Returns NaN from one training step on."""

        steps = 0

        def raw_scores(self, normalized: Tensor) -> Tensor:
            self.steps += self.training
            return super().raw_scores(normalized) * (torch.nan if self.steps >= step else 1.0)

    seen_at = {2: 4, 7: 8}[step]  # the last step of the epoch, where losses are looked at
    message = (
        f"training stopped at step {seen_at}: the loss is not finite; lower the learning rate or the penalty weight."
    )
    with pytest.raises(WorkFailedError, match=f"^{re.escape(message)}$"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(), net=Exploding)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_photo_smaller_than_the_crop_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dataset = tiny_photos()
    photos = tuple(
        replace(photo, source=Scene(0, 15, 20, 0.1)) if photo.key == "train-007.png" else photo for photo in dataset
    )
    with pytest.raises(DataError, match=r"^train-007\.png is 20x15, smaller than the 16x16 training crop"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(), dataset=replace(dataset, photos=photos))


def test_a_model_without_a_crop_size_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def whole_photo() -> QualityModel:
        net = TinyNet()
        net.crop_size = None
        return net

    with pytest.raises(SpecError, match=r"^hyperiqa has no crop size to train with\.$"):
        train_tiny_net(monkeypatch, tmp_path, tiny_spec(), net=whole_photo)


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


def test_validation_leaves_every_part_in_the_mode_it_came_in(tmp_path: Path) -> None:
    from robustiqa.training.validation import validate

    net = TinyNet(batch_norm=True, dropout=0.5).train()
    net.backbone[1].eval()
    modes = [part.training for part in net.modules()]
    dataset = tiny_photos().part("validation")
    found = validate(net, dataset, torch.device("cpu"))
    assert [part.training for part in net.modules()] == modes
    assert validate(net, dataset, torch.device("cpu")) == found  # no dropout, no batch statistics


def test_validation_pads_photos_smaller_than_the_crop() -> None:
    from robustiqa.training.validation import validate

    photos = tuple(Photo(f"{place}.png", Scene(place, 12, 10 + place, 0.1), 10.0 * place) for place in range(3))
    assert set(validate(TinyNet(), Dataset("small", photos), torch.device("cpu"))) == {"srocc", "plcc", "rmse"}
