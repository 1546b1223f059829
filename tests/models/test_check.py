"""Whether a weights file fits its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustiqa.core.calibration import Affine
from robustiqa.core.errors import UnknownNameError, WeightsError
from robustiqa.core.model import ScoreScale
from robustiqa.core.tensor_files import write_tensors
from robustiqa.models import create_model
from robustiqa.models.check import check_weights
from robustiqa.models.files import shipped_weights
from robustiqa.models.weights import file_hash
from tests.golden import published_state

State = dict[str, Tensor]
LIGHT = {"backbone": "test_resnet.r160_in1k"}
OTHER_FILE = "the file is for another model, backbone or version."


@pytest.fixture(scope="module")
def state() -> State:
    return {name: value.detach() for name, value in create_model("hyperiqa", **LIGHT).state_dict().items()}


def written(state: State, path: Path, **said: Any) -> Path:
    write_tensors(path, state, {"model": "hyperiqa", "options": LIGHT, **said})
    return path


def test_a_shipped_file_is_without_fault() -> None:
    path = shipped_weights()["demo-nt"]
    found = check_weights(path)
    assert found.problem is None
    assert (found.sha256, found.size) == (file_hash(path), path.stat().st_size)
    assert (found.model, found.options["backbone"]) == ("hyperiqa", "test_efficientnet")
    assert found.fit is not None
    assert found.entries == found.fit.matched == sum(found.dtypes.values())
    assert not (found.fit.published or found.not_finite or found.beside or found.fit.discarded)
    assert (found.scale, found.calibration) == (ScoreScale(), Affine())
    assert found.metadata is not None
    assert found.metadata.dataset["split"] == "1bb2f4d6a6feec60"


def without_two(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith("last_weight.")}


def with_another(state: State) -> State:
    return {**state, "extra": torch.zeros(1)}


def misshapen(state: State) -> State:
    return {**state, "last_weight.weight": torch.zeros(2, 3)}


@pytest.mark.parametrize(
    ("change", "counts", "sentence"),
    [
        (without_two, (2, 0, 0), f"weights for 'hyperiqa' lack 'last_weight.bias' (first of 2); {OTHER_FILE}"),
        (with_another, (0, 1, 0), f"weights for 'hyperiqa' hold unknown 'extra' (first of 1); {OTHER_FILE}"),
        (misshapen, (0, 0, 1), "weights for 'hyperiqa' have 'last_weight.weight' of shape (2, 3), expected "),
    ],
)
def test_entries_that_do_not_fit_are_counted_and_the_first_is_named(
    state: State, tmp_path: Path, change: Callable[[State], State], counts: tuple[int, int, int], sentence: str
) -> None:
    found = check_weights(written(change(state), tmp_path / "net.safetensors"))
    assert found.problem is not None and found.problem.startswith(sentence)
    assert found.fit is not None
    mismatch = found.fit.mismatch
    assert (len(mismatch.missing), len(mismatch.unknown), len(mismatch.misshapen)) == counts
    assert found.fit.matched == len(state) - counts[0] - counts[2]
    assert found.calibration is None


def test_values_that_are_not_finite_are_counted_in_any_float_type(state: State, tmp_path: Path) -> None:
    spoiled = {name: value.clone() for name, value in state.items()}
    spoiled["last_weight.bias"] = torch.tensor([float("nan")] + 13 * [0.0]).bfloat16()
    spoiled["last_weight.weight"].flatten()[:2] = float("inf")
    path = written(spoiled, tmp_path / "net.safetensors")
    found = check_weights(path)
    assert found.not_finite == {"last_weight.bias": 1, "last_weight.weight": 2}
    assert found.problem == (
        f"{path} holds 3 NaN or infinite values, the first in 'last_weight.bias'; "
        "the training diverged or the file is damaged."
    )
    assert found.dtypes["bfloat16"] == 1


@pytest.mark.parametrize(
    ("said", "asked", "sentence"),
    [
        ({}, {"name": "dbcnn"}, "{path} holds weights for 'hyperiqa', not for 'dbcnn'."),
        (
            {},
            {"backbone": "resnet18"},
            "{path} was trained with backbone='test_resnet.r160_in1k', not 'resnet18'.",
        ),
        ({"scale": 3}, {}, "{path} has a scale that must hold low, high, got 3."),
        ({"model": None}, {}, "{path} does not say which model it is for; name one, such as hyperiqa."),
    ],
)
def test_a_file_that_contradicts_the_request_or_itself_is_a_problem(
    state: State, tmp_path: Path, said: dict[str, Any], asked: dict[str, Any], sentence: str
) -> None:
    path = written(state, tmp_path / "net.safetensors", **said)
    found = check_weights(path, **asked)
    assert found.problem == sentence.format(path=path)
    assert found.entries == len(state)
    assert found.fit is None


def test_an_unknown_model_is_a_wrong_request(state: State, tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_file(state, path)
    with pytest.raises(UnknownNameError, match="unknown model 'hyperqa'; did you mean 'hyperiqa'"):
        check_weights(path, name="hyperqa")


def test_a_published_checkpoint_is_checked_under_its_names_with_the_mapping_beside_it(
    shared: Path, tmp_path: Path
) -> None:
    published, path = published_state(shared, "linearityiqa-resnet18"), tmp_path / "p1q2.pth"
    torch.save({"model": published, "optimizer": {}, "k": [25.0, 1.0, 1.0], "b": [-5.0, 0.0, 0.0]}, path)
    found = check_weights(path, name="linearityiqa", backbone="resnet18.tv_in1k")
    path.unlink()
    assert found.problem is None
    assert found.fit is not None and found.fit.published
    assert found.fit.matched == found.entries == 168
    assert found.calibration == Affine(25.0, -5.0)
    assert found.beside == ["b", "k", "optimizer"]
    assert found.metadata is not None and found.metadata.schema_version is None


def test_a_published_checkpoint_with_half_a_mapping_is_a_problem(shared: Path, tmp_path: Path) -> None:
    published, path = published_state(shared, "linearityiqa-resnet18"), tmp_path / "p1q2.pth"
    torch.save({"model": published, "k": [25.0]}, path)
    found = check_weights(path, name="linearityiqa", backbone="resnet18.tv_in1k")
    path.unlink()
    assert found.problem == (
        "weights for 'linearityiqa' have a score mapping that can't be read; expected lists of numbers k and b."
    )


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbered.pth"
    torch.save({1: torch.zeros(2)}, path)
    with pytest.raises(WeightsError) as refused:
        check_weights(path)
    assert str(refused.value) == f"{path} does not hold a state dict of named tensors."
