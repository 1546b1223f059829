"""Two processes train the model that one trains: 2 x 8 crops are 1 x 16."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from robustiqa.core.errors import SpecError
from robustiqa.core.parallel import SHARDED
from robustiqa.training.checkpoints import PREFIX
from robustiqa.training.processes import create_accelerator
from robustiqa.training.spec import TrainingSpec
from tests.training.one_of_two import NETWORKS, PENALTIES, SPECS, own_images, own_loop, own_net, tiny_net
from tests.training.tiny import history_of, train_tiny_net
from tests.two_processes import run_in_two


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all trainings, each shared by two processes."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork to start two processes at the cost of one")
    folder = tmp_path_factory.mktemp("shared")
    ended = run_in_two(folder / "processes", "tests.training.one_of_two:train_all", folder)
    assert ended.codes == (0, 0), ended.err
    return folder


@pytest.mark.parametrize("kind", SPECS)
def test_two_processes_train_the_model_that_one_trains(
    kind: str, shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = SPECS[kind]
    weights = train_tiny_net(monkeypatch, tmp_path, spec, net=lambda: tiny_net(spec), validate_every=9)
    alone, together = load_file(weights), load_file(shared / kind / "model.safetensors")
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=1e-6)
    untrained = tiny_net(spec).state_dict()
    moved = max((alone[name] - value).abs().max() for name, value in untrained.items())
    assert moved > 1e-4  # a hundred times what they may differ by
    told, expected = history_of(shared / kind / "model.safetensors"), history_of(weights)
    for ours, theirs in zip(told["steps"], expected["steps"], strict=True):
        near = {"loss": pytest.approx(theirs["loss"]), "penalty": pytest.approx(theirs["penalty"], rel=1e-4)}
        assert ours == {**theirs, **near}  # over both processes; a small difference is rounded where it is divided by h


def test_gradient_checkpointing_does_not_change_what_two_processes_train(shared: Path) -> None:
    plain, checkpointed = (load_file(shared / name / "model.safetensors") for name in ("adam", "checkpointed"))
    for name, value in plain.items():
        torch.testing.assert_close(checkpointed[name], value, rtol=0, atol=1e-6)


def test_one_process_goes_on_with_what_two_have_begun(
    shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(shared / "stopped", tmp_path / "stopped")
    assert [path.name for path in (tmp_path / "stopped").glob(f"{PREFIX}*")] == [f"{PREFIX}000000002"]
    weights = train_tiny_net(monkeypatch, tmp_path / "stopped", SPECS["adam"], validate_every=9)
    alone = train_tiny_net(monkeypatch, tmp_path / "alone", SPECS["adam"], validate_every=9)
    for name, value in load_file(alone).items():
        torch.testing.assert_close(load_file(weights)[name], value, rtol=0, atol=1e-6)
    first, expected = (history_of(file)["steps"][0] for file in (weights, alone))
    assert first["loss"] == pytest.approx(expected["loss"])  # of steps in two processes, and in one


@pytest.mark.parametrize("name", PENALTIES)
def test_a_step_of_ones_own_loop_averages_gradients_once(name: str, shared: Path) -> None:
    expected = own_loop(name, own_net(), own_images())
    found = torch.load(shared / f"{name}.pt")
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert json.loads((shared / "counts.json").read_text())[name] == {"passes": 1, "reductions": 1}


def test_the_two_networks_differ_in_their_batch_norm() -> None:
    kinds = [
        any("running_mean" in name for name, _ in tiny_net(SPECS[f"{kind}, double_backward"]).named_buffers())
        for kind in NETWORKS
    ]
    assert kinds == [False, True]


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Accelerate remembers the first answer of a process; it is asked anew, and again afterwards."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def test_alone_a_process_trains_without_the_others_of_its_launcher(
    fresh_accelerate: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    accelerator = create_accelerator(TrainingSpec(), "cpu", alone=True)
    assert (accelerator.num_processes, accelerator.process_index) == (1, 0)
    assert accelerator.device == torch.device("cpu")
    assert os.environ["WORLD_SIZE"] == "2"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (DistributedType.FSDP, SHARDED),
        (
            DistributedType.DEEPSPEED,
            "each process trains a whole model, which DEEPSPEED does not do; start training with torchrun.",
        ),
    ],
)
def test_weights_spread_over_processes_are_refused(
    kind: DistributedType, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", kind)
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        create_accelerator(TrainingSpec(), "cpu", alone=False)
