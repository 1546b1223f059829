"""Folded batch norms: the same scores and gradients with fewer layers, or the model as it was."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustiqa.core.model import QualityModel
from robustiqa.evaluation.run import evaluate
from robustiqa.models import create_model
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.folding import folded
from robustiqa.models.hyperiqa import HyperIQA
from robustiqa.models.weights import state_hash
from tests.photos import tiny_dataset

NETWORKS = [(name, "mobilenetv2_100") for name in ("hyperiqa", "dbcnn", "linearityiqa", "maniqa", "paq2piq")]
NETWORKS += [("hyperiqa", "resnet18"), ("linearityiqa", "resnet18")]


def _norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]


def _used(model: QualityModel) -> QualityModel:
    """With batch norms as training leaves them: none is the identity."""
    draw = torch.Generator().manual_seed(3)
    for norm in _norms(model):
        assert norm.running_var is not None and norm.running_mean is not None
        for values, low in ((norm.running_var, 0.5), (norm.weight.data, 0.5), (norm.running_mean, -0.3)):
            values.uniform_(low, low + 1, generator=draw)
        norm.bias.data.uniform_(-0.3, 0.3, generator=draw)
    return model.double()


def _gradient(model: QualityModel, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf).sum(), leaf)[0]


@pytest.mark.parametrize(("name", "backbone"), NETWORKS)
def test_scores_and_gradients_stay_and_batch_norms_go(name: str, backbone: str) -> None:
    torch.manual_seed(0)
    model = _used(create_model(name, backbone=backbone))
    before = state_hash(model)
    images = torch.rand(2, 3, 224, 224, dtype=torch.float64)
    copy = folded(model)
    assert _norms(model) and not _norms(copy)
    assert type(copy) is type(model) and not copy.training
    torch.testing.assert_close(copy(images), model(images), rtol=1e-10, atol=1e-9)
    gradient = _gradient(model, images)
    torch.testing.assert_close(_gradient(copy, images), gradient, rtol=0, atol=1e-9 * float(gradient.abs().max()))
    assert state_hash(model) == before


def test_layout_and_frozen_weights_stay() -> None:
    model = _used(create_model("hyperiqa", backbone="mobilenetv2_100")).to(memory_format=torch.channels_last)
    copy = folded(model.requires_grad_(False))
    stem = _stem(copy)
    assert stem.weight.is_contiguous(memory_format=torch.channels_last) and stem.bias is not None
    assert not any(weight.requires_grad for weight in copy.parameters())


def _stem(model: QualityModel) -> nn.Conv2d:
    stem = model.get_submodule("backbone.network.conv_stem")
    assert isinstance(stem, nn.Conv2d)
    return stem


class Twice(HyperIQA):
    """Runs its first convolution once more; folded, the second run would have a batch norm too many."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        again: Tensor = _stem(self)(normalized)
        return super().raw_scores(normalized) + again.mean((1, 2, 3))


class Peeking(HyperIQA):
    """Reads what is between its first convolution and its batch norm."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = _stem(self).register_forward_hook(lambda *call: seen.append(call[2]))
        scores = super().raw_scores(normalized)
        handle.remove()
        return scores + 10 * seen[0].mean((1, 2, 3))


def test_a_convolution_that_runs_twice_keeps_its_batch_norm() -> None:
    model = _used(Twice(backbone="mobilenetv2_100")).eval()
    copy = folded(model)
    assert len(_norms(copy)) == 1
    images = torch.rand(1, 3, 224, 224, dtype=torch.float64)
    torch.testing.assert_close(copy(images), model(images), rtol=1e-10, atol=1e-9)


def test_a_copy_that_scores_otherwise_is_not_used() -> None:
    model = _used(Peeking(backbone="mobilenetv2_100")).eval()
    assert folded(model) is model


def test_models_that_are_not_ours_to_change_stay() -> None:
    model = create_model("hyperiqa", backbone="mobilenetv2_100")
    wrapped, half = CropAverage(model), create_model("hyperiqa", backbone="mobilenetv2_100").half()
    assert all(folded(one) is one for one in (wrapped, half))


def test_an_evaluation_runs_on_folded_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = create_model("dbcnn", backbone="mobilenetv2_100")
    dataset = tiny_dataset(train=0, validation=0, test=2, low=32, high=34)
    scores = [model.score(photo.read()[None]).item() for photo in dataset]
    calls = 0
    batch_norm = functional.batch_norm

    def counted(*given: Any, **more: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return batch_norm(*given, **more)

    monkeypatch.setattr(functional, "batch_norm", counted)
    records = evaluate(model, dataset).records
    assert calls == len(_norms(model)) > 0  # once, to see their order
    assert [record.score for record in records] == pytest.approx(scores, abs=1e-3)
