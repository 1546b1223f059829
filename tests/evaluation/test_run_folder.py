from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from robustiqa.attacks.gradient import FGSM, IFGSM
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import environment
from robustiqa.evaluation.records import RECORDS_FILE
from robustiqa.evaluation.run import evaluate
from robustiqa.models.weights import state_hash
from tests.photos import tiny_dataset
from tests.toys import ConvModel

STEPS = IFGSM(eps="4/255", steps=3)
ONE = FGSM(eps=0.01)


def photos(count: int = 5, low: int = 20, high: int = 22, **options: Any) -> Dataset:
    return tiny_dataset(train=0, validation=0, test=count, low=low, high=high, **options)


def model(seed: int = 0, crop_size: int | None = None) -> QualityModel:
    return ConvModel(seed=seed, crop_size=crop_size).eval()


@dataclass(frozen=True)
class Seen:
    """Sizes of the batches that a model was given."""

    shapes: list[tuple[int, ...]]

    def watch(self, net: QualityModel) -> QualityModel:
        net.register_forward_pre_hook(lambda module, arguments: self.shapes.append(tuple(arguments[0].shape)))
        return net


def test_the_folder_says_what_was_evaluated(tmp_path: Path) -> None:
    net, dataset = model(crop_size=16), photos(2)
    info = {"title": "mine"}
    found = evaluate({"net": net}, dataset, [STEPS], folder=tmp_path, info=info)
    spec = json.loads((tmp_path / "run.json").read_text())["spec"]
    assert {**spec, "environment": environment()} == json.loads(json.dumps(found.info))
    assert spec["models"]["net"] == {
        "kind": "ConvModel",
        "state": state_hash(net),
        "scale": {"low": 0.0, "high": 100.0},
        "protocol": "covering grid",
    }
    assert spec["dataset"] == {"name": "tiny", "fingerprint": dataset.fingerprint(), "n": 2}
    assert spec["info"] == info
    assert str(tmp_path) not in json.dumps(spec)


def test_a_finished_evaluation_is_read_and_no_model_is_asked(tmp_path: Path) -> None:
    first = evaluate({"net": model()}, photos(3), [ONE], folder=tmp_path)
    seen = Seen([])
    again = evaluate({"net": seen.watch(model())}, photos(3), [ONE], folder=tmp_path)
    assert again == first
    assert seen.shapes == []


@pytest.mark.parametrize("transfer", [False, True])
def test_an_evaluation_cut_anywhere_is_finished_to_the_same_bytes(transfer: bool, tmp_path: Path) -> None:
    models, dataset = {"one": model(1), "two": model(2)}, photos(5, low=20, high=21)
    options: dict[str, Any] = {"transfer": transfer, "batch_size": 2, "folder": tmp_path}
    whole = evaluate(models, dataset, [IFGSM(steps=2, random_start=True)], **options)
    path = tmp_path / RECORDS_FILE
    content = path.read_bytes()
    for share in (0.0, 0.13, 0.5, 0.77, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        assert evaluate(models, dataset, [IFGSM(steps=2, random_start=True)], **options) == whole
        assert path.read_bytes() == content


def test_a_folder_of_another_evaluation_is_refused(tmp_path: Path) -> None:
    evaluate({"net": model(1)}, photos(1), [ONE], folder=tmp_path)
    with pytest.raises(SpecError, match=r"holds another run \(models\.net\.state is "):
        evaluate({"net": model(2)}, photos(1), [ONE], folder=tmp_path)
    with pytest.raises(SpecError, match=r"holds another run \(batch_size is 1 there, 2 now\)"):
        evaluate({"net": model(1)}, photos(1), [ONE], folder=tmp_path, batch_size=2)
    with pytest.raises(SpecError, match=r"holds another run \(dataset\.fingerprint is "):
        evaluate({"net": model(1)}, photos(2), [ONE], folder=tmp_path)
