"""The self-test of the evaluation passes on planted defects and honest models, and fails where a check is broken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.evaluation import diagnostics, planted, probe
from robustiqa.evaluation.flags import Flag, Seen
from robustiqa.evaluation.planted import PLANTED, ToySmooth, Trial, centered, self_test, toy_images
from robustiqa.evaluation.probe import examine, probe_model
from robustiqa.evaluation.readings import SAME_SCORE
from tests.toys import PLAIN, ConstantModel, ConvModel, LinearModel, toy_photos


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return list(self_test())


def test_every_planted_defect_is_called_by_its_name(trials: list[Trial]) -> None:
    found = {trial.name: trial for trial in trials if trial.expected}
    assert list(found) == list(PLANTED)
    for name, trial in found.items():
        assert trial.expected in trial.raised, name
        assert trial.passed


def test_an_honest_model_and_twenty_linear_ones_raise_nothing(trials: list[Trial]) -> None:
    honest = [trial for trial in trials if not trial.expected]
    assert [trial.name for trial in honest] == ["honest", *(f"linear {place}" for place in range(1, 21))]
    assert all(trial.raised == () and trial.passed for trial in honest)


@pytest.mark.parametrize(("name", "blind"), [("masked gradient", "black_box_stronger"), ("random scores", "")])
def test_a_check_that_sees_nothing_fails_the_self_test(monkeypatch: pytest.MonkeyPatch, name: str, blind: str) -> None:
    def nothing(seen: Seen) -> Iterator[Flag]:
        return iter(())

    checks = dict(diagnostics._OF_A_MODEL)
    if blind:
        checks[blind] = (checks[blind][0], nothing)
    monkeypatch.setattr(diagnostics, "_OF_A_MODEL", checks)
    monkeypatch.setattr(probe, "SAME_SCORE", SAME_SCORE if blind else 1.0)
    monkeypatch.setattr(planted, "PLANTED", {name: PLANTED[name]})
    assert [trial.passed for trial in self_test(linear_models=0)] == [False, True]


def test_a_check_that_sees_ghosts_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    def ghost(seen: Seen) -> Iterator[Flag]:
        yield Flag("saturated_head", seen.label, "Boo.")

    checks = dict(diagnostics._OF_A_MODEL)
    checks["saturated_head"] = (checks["saturated_head"][0], ghost)
    monkeypatch.setattr(diagnostics, "_OF_A_MODEL", checks)
    monkeypatch.setattr(planted, "PLANTED", {})
    assert [trial.passed for trial in self_test(linear_models=1)] == [False, False]


def test_toys_are_centered_and_as_steep_as_said() -> None:
    images = toy_images()
    model = centered(ToySmooth(0), images)
    with torch.no_grad():
        assert model(images).median().item() == pytest.approx(50, abs=2)
    fgsm = examine({"m": model}, images)
    assert fgsm.flags == ()
    assert fgsm.not_made == ("shrunk_scores",)


class Ungraded(QualityModel):
    """No gradient reaches its score."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return 50 + normalized.detach().flatten(1).mean(1)


def names(flags: list[Flag]) -> list[str]:
    return [flag.name for flag in flags]


def test_a_probe_of_an_honest_model_finds_nothing_and_changes_nothing() -> None:
    model = ConvModel().eval()
    assert probe_model(model, toy_photos(2)) == []
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_a_probe_names_the_part_that_was_left_in_training_mode() -> None:
    model = ConvModel().eval()
    model.body[1].train()
    (flag,) = probe_model(model, toy_photos(2), label="mine")
    assert (flag.name, flag.model) == ("training_mode", "mine")
    assert flag.sentence == (
        "mine was left in training mode (its part 'body.1'), where scores depend on their batch: call model.eval()."
    )
    assert model.body[1].training
    (whole,) = probe_model(ConvModel(), toy_photos(2))
    assert "(it)" in whole.sentence


@pytest.mark.parametrize("model", [ConstantModel(), Ungraded(*PLAIN)])
def test_a_probe_counts_photos_without_a_gradient(model: nn.Module) -> None:
    assert isinstance(model, QualityModel)
    (flag,) = probe_model(model.eval(), toy_photos(3))
    assert flag.sentence.startswith("model has no usable gradient at 3 of 3 photos")


@pytest.mark.parametrize(("noise", "raised"), [(0.001, []), (0.05, ["random_output"])])
def test_a_probe_forgives_differences_below_a_ten_thousandth_of_the_scale(noise: float, raised: list[str]) -> None:
    class Noisy(LinearModel):
        def raw_scores(self, normalized: Tensor) -> Tensor:
            draw = torch.Generator().manual_seed(self.calls)
            self.calls += 1
            return super().raw_scores(normalized) + noise * torch.rand(1, generator=draw)

        calls = 0

    assert names(probe_model(Noisy(torch.ones(3, 8, 8)).eval(), toy_photos(2, 8))) == raised


def test_models_that_attacks_would_refuse_are_flagged_and_not_attacked() -> None:
    images = toy_images()
    alone = examine({"a": Ungraded(*PLAIN).eval(), "b": ConvModel()}, images)
    assert [(flag.name, flag.model) for flag in alone.flags] == [("zero_gradient", "a"), ("training_mode", "b")]
    beside = examine({"a": Ungraded(*PLAIN).eval(), "m": centered(ToySmooth(0), images)}, images, pairs=[("m", "a")])
    assert [(flag.name, flag.model) for flag in beside.flags] == [("zero_gradient", "a")]


def test_a_probe_refuses_what_is_no_pixel() -> None:
    with pytest.raises(InputError, match=r"^images must lie in \[0, 1\]"):
        probe_model(ConvModel().eval(), toy_photos(1) * 3)
