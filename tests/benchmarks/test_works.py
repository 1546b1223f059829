"""What is timed does what its name says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.attack_rate import EPS, STEPS, bare_loop, gradients_alone, published_loop, with_result
from benchmarks.cases import LIGHT_RECIPE, Planned, Settings
from benchmarks.nt_step import (
    BASELINE,
    CENTRAL,
    EXACT,
    FINITE,
    PUBLISHED,
    RECIPE,
    WEIGHT,
    bare_pass,
    counted_flops,
    passes,
    penalized_share,
    penalized_step,
    published_step,
    step,
)
from benchmarks.peers import PACKAGES, check_on_a_linear_score, installed, of_foolbox, of_torchattacks, ours
from benchmarks.penalty_share import _penalty
from benchmarks.run import SECTIONS, fill, plan_of
from benchmarks.store import Group, SkippedError, Store
from benchmarks.tables import TABLES
from benchmarks.timing import Work
from benchmarks.two_processes import held_to
from robustiqa.attacks import create_attack
from robustiqa.published.norm_regularization import NormRegularization
from robustiqa.training.spec import load_recipe
from tests.toys import ConvModel, CountingModel, RecordingModel, toy_photos

UNITS = {BASELINE: 3, FINITE: 7, CENTRAL: 10, EXACT: 6, PUBLISHED: 10}


def gradients(model: torch.nn.Module) -> list[torch.Tensor]:
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


def test_the_published_schedule_has_the_gradients_of_the_published_penalty() -> None:
    images, mos = toy_photos(), torch.tensor([10.0, 40.0, 60.0, 90.0])
    model = ConvModel().train()
    published_step(model, images, mos)()
    found = gradients(model)
    model.zero_grad()
    scores, penalty = NormRegularization(weight=WEIGHT)(model, images)
    torch.autograd.backward(torch.nn.functional.l1_loss(scores, mos) + penalty)
    for one, other in zip(found, gradients(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", [BASELINE, FINITE, CENTRAL, EXACT, RECIPE])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_step_leaves_gradients_on_every_weight_and_none_on_the_images(method: str, precision: str) -> None:
    images = toy_photos()
    model = ConvModel().train()
    step(model, images, torch.zeros(4), method, precision)()
    assert len(gradients(model)) == len(list(model.parameters()))
    assert images.grad is None


def test_passes_add_up_to_the_units_of_the_method_file() -> None:
    units = {method: forward + gradient + 2 * backward for method, (forward, gradient, backward) in passes().items()}
    part = load_recipe(LIGHT_RECIPE).penalty.fraction
    assert units == {**UNITS, RECIPE: 4 + 3 * part}


def test_the_counts_of_operations_follow_the_units() -> None:
    counts = counted_flops(ConvModel().train(), toy_photos())
    assert counts[BASELINE] < counts[EXACT] < counts[FINITE] < counts[CENTRAL]
    for method, units in UNITS.items():
        assert counts[method] == pytest.approx(units, rel=0.15), method


def test_the_share_of_penalized_steps_is_that_of_the_recipes_epochs() -> None:
    assert penalized_share() == 5 / 8


def test_half_a_batch_costs_half_of_what_the_penalty_does() -> None:
    """Forward passes, with one over the whole batch as 1."""
    seen: dict[float, float] = {}
    images = toy_photos()
    for fraction in (1.0, 0.5, 0.25):
        model = RecordingModel(ConvModel()).train()
        penalized_step(model, images, torch.zeros(4), _penalty(fraction))()
        seen[fraction] = sum(len(batch) for batch in model.asked) / len(images)
    assert seen == {1.0: 2.0, 0.5: 1.5, 0.25: 1.5}  # a quarter has a clean pass of its own


def test_a_bare_pass_leaves_no_weight_gradient() -> None:
    model = ConvModel().train()
    for backward in (False, True):
        bare_pass(model, toy_photos(), "float32", backward)()
    assert gradients(model) == []
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(
    ("make", "forwards"), [(bare_loop, 10), (gradients_alone, 10), (with_result, 12), (published_loop, 10)]
)
def test_attacks_and_loops_compute_ten_gradients_a_photograph(
    make: Callable[[torch.nn.Module, torch.Tensor], Work], forwards: int
) -> None:
    model = CountingModel(ConvModel().eval()).eval()
    make(model, toy_photos(3))()
    assert (model.forwards, model.backwards) == (3 * forwards, 30)


def test_the_attack_alone_the_call_and_the_published_loop_end_at_the_same_images() -> None:
    model, images = ConvModel().eval(), toy_photos(3)
    wanted = create_attack("ifgsm", eps=EPS, steps=STEPS, objective="lower")(model, images).images
    makes: tuple[Callable[[torch.nn.Module, torch.Tensor], Work], ...] = (gradients_alone, published_loop)
    for make in makes:
        found = make(model, images)()
        assert isinstance(found, torch.Tensor)
        assert ((found - wanted).abs() < 1e-6).float().mean() > 0.99  # a gradient near zero may have either sign


def test_our_attack_passes_the_check_on_a_linear_score_and_one_that_stands_still_does_not() -> None:
    check_on_a_linear_score("ours", ours("ifgsm"))
    with pytest.raises(SystemExit, match=r"^idle moves a linear score by -?0\.000 of what it should; not compared\.$"):
        check_on_a_linear_score("idle", lambda model, images, sign, eps, steps, seed: images)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_adapter_of_a_peer_climbs_a_linear_score(package: str) -> None:
    if not installed(package):
        pytest.skip(f"needs {package}, which lives in an environment of its own (`make peers`)")
    for random_start in (True, False):
        climbs = {
            "foolbox": of_foolbox(None, random_start=random_start),
            "torchattacks": of_torchattacks(None, random_start=random_start),
        }
        check_on_a_linear_score(package, climbs[package])


def test_every_section_has_a_plan_and_a_table() -> None:
    assert set(SECTIONS) == set(TABLES)
    for section in SECTIONS:
        assert [planned.name for planned in plan_of(section)(Settings(quick=True))] != []
        assert [planned.name for planned in plan_of(section)(Settings())] != []


def test_a_run_measures_only_what_its_file_lacks_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []

    def plan(settings: Settings) -> Iterator[Planned]:
        def refuse() -> Group:
            raise SkippedError("it rains")

        def measure() -> Group:
            runs.append("a")
            return Group("a", {"work": [1.0]})

        def fail() -> Group:
            raise RuntimeError("out of luck")

        yield Planned("c", fail)
        yield Planned("a", measure)
        yield Planned("b", refuse)

    monkeypatch.setattr("benchmarks.run.plan_of", lambda section: plan)
    store = Store(tmp_path / "run.json", {}, {})
    for _ in range(2):
        assert fill(store, ["startup"], Settings()) == ["startup: c"]
    assert runs == ["a"]
    assert [group.skipped for group in store.measurements().groups("startup")] == ["", "it rains"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that can hold a process to a core")
def test_processes_are_held_to_cores_for_a_while_only() -> None:
    before = os.sched_getaffinity(0)
    with held_to(sorted(before)[:1]):
        assert os.sched_getaffinity(0) == set(sorted(before)[:1])
    assert os.sched_getaffinity(0) == before
