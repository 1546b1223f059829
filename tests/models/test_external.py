from __future__ import annotations

import importlib.util
import re
import sys

import pytest
import torch

from robustiqa import create_attack, create_model
from robustiqa.core.errors import InputError, MissingExtraError, RobustIQAError, UnknownNameError
from robustiqa.models.external import External, _PyIQA, _range
from tests.external_models import Strict
from tests.toys import ConvModel

HERE = "tests.external_models"
needs_pyiqa = pytest.mark.skipif(importlib.util.find_spec("pyiqa") is None, reason="pyiqa is not installed")


def images(count: int = 2, side: int = 40) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


def test_range_and_direction_are_turned_to_ours() -> None:
    torch.manual_seed(0)
    scorer = Strict()
    model = External(scorer, low=0.0, high=1.0, lower_is_better=True).eval()
    torch.testing.assert_close(model.score(images()), 100 * (1 - scorer(images()).detach()))
    assert (model.scale.low, model.scale.high) == (0.0, 100.0)
    shifted = External(lambda given: given.mean((1, 2, 3)), low=-1.0, high=3.0).eval()
    torch.testing.assert_close(shifted.score(images()), 25 * (images().mean((1, 2, 3)) + 1))


def test_a_factory_is_called_with_its_options_and_says_its_own_range() -> None:
    model = create_model(f"{HERE}:strict", width=7)
    assert isinstance(model, External)
    assert isinstance(model.scorer, Strict)
    assert not model.scorer.training
    assert model.scorer.taps.out_channels == 7
    assert model.calibration(torch.tensor(0.25)) == 75.0


def test_a_bare_function_scores_and_a_quality_model_stays_what_it_is() -> None:
    torch.testing.assert_close(create_model(f"{HERE}:brightness").score(images()), 100 * images().mean((1, 2, 3)))
    assert isinstance(create_model(f"{HERE}:own"), ConvModel)


def test_a_plugged_in_model_is_attacked_end_to_end() -> None:
    model = create_model(f"{HERE}:brightness")
    result = create_attack("fgsm", eps="2/255", objective="raise")(
        model, images().clamp(0.1, 0.9).mul(255).round() / 255
    )
    torch.testing.assert_close(result.scores_8bit - result.clean_scores, torch.full((2,), 200 / 255), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (f"{HERE}:stirct", f"module '{HERE}' has no factory 'stirct'; did you mean 'strict'?"),
        (f"{HERE}:NOT_CALLABLE", f"{HERE}:NOT_CALLABLE must be a function that makes a model, got int."),
        (
            "no_such_module:make",
            "there is no module 'no_such_module' for the model 'no_such_module:make'; is it on the path?",
        ),
        (
            f"{HERE}.deeper:make",
            f"there is no module '{HERE}.deeper' for the model '{HERE}.deeper:make'; is it on the path?",
        ),
        (f"{HERE}:number", "a model must be callable with images, got int."),
    ],
)
def test_what_is_no_model_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(RobustIQAError, match=f"^{re.escape(sentence)}$"):
        create_model(name)


def test_scores_of_another_shape_and_weights_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"^a quality model must return floating-point scores of shape \(2,\), got shape"
    ):
        create_model(f"{HERE}:column").score(images())
    sentence = f"{HERE}:strict brings its own weights; pass what it needs as an option."
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        create_model(f"{HERE}:strict", weights="demo-nt")


def test_a_module_that_lacks_a_module_of_its_own_says_which(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    (tmp_path / "needs_more.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        create_model("needs_more:make")


def test_pyiqa_is_asked_for_in_one_sentence_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    sentence = "pyiqa:cnniqa needs pyiqa; install it with `pip install 'robustiqa[pyiqa]'`."
    with pytest.raises(MissingExtraError, match=f"^{re.escape(sentence)}$"):
        create_model("pyiqa:cnniqa")


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ("0, 1", (0.0, 1.0)),
        ("~0, ~100", (0.0, 100.0)),
        ("-1.5, 2", (-1.5, 2.0)),
        ("0, ", (0.0, None)),
        ("unbounded", (None, None)),
        ("", (None, None)),
    ],
)
def test_ranges_are_read_as_pyiqa_writes_them(said: str, ends: tuple[float | None, float | None]) -> None:
    assert _range(said) == ends


@needs_pyiqa
def test_a_pyiqa_metric_is_scored_as_pyiqa_does_and_attacked() -> None:
    pyiqa = importlib.import_module("pyiqa")
    torch.manual_seed(0)
    model = create_model("pyiqa:cnniqa", pretrained=None, low=0.0, high=100.0)
    assert isinstance(model, External)
    direct = pyiqa.create_metric("cnniqa", pretrained=None, device="cpu")
    assert isinstance(model.scorer, _PyIQA)
    direct.load_state_dict(model.scorer.metric.state_dict())
    sign = -1 if direct.lower_better else 1
    raw = torch.stack([direct(image[None]).reshape(()) for image in images()])
    torch.testing.assert_close(model.score(images()), sign * raw + (100 if direct.lower_better else 0))
    lowered = create_attack("ifgsm", eps="4/255", steps=2, objective="lower")(model, images())
    assert (lowered.scores < lowered.clean_scores).all()


@needs_pyiqa
def test_an_unknown_pyiqa_metric_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"^pyiqa has no no-reference metric 'cniqa'; did you mean 'cnniqa'\?"):
        create_model("pyiqa:cniqa")
