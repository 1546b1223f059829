from __future__ import annotations

import pytest

from benchmarks.guards import GUARDS, Guard
from benchmarks.store import Measurements
from benchmarks.timing import Spread
from tests.benchmarks.made_up import document

READ = {  # from the made-up measurements: the value by hand, and the verdict
    "NT step over baseline, contiguous": (2.0, "held"),
    "NT step over baseline, channels_last": (2.0, "held"),
    "NT step over baseline, bf16": (2.0, "held"),
    "NT step, float32, over the published schedule": (6 / 20, "held"),
    "NT step, bf16, over the published schedule": (3 / 20, "held"),
    "light recipe over baseline, ResNet-50": (4 / 3, "held"),
    "light recipe over baseline, light network": (4 / 3, "missed"),
    "light recipe, float32, over the published schedule": (4 / 20, "held"),
    "light recipe, bf16, over the published schedule": (2 / 20, "held"),
    "I-FGSM-10, the gradients alone, rate over that of a bare loop": (1 / 1.01, "held"),
    "I-FGSM-10, the gradients alone, rate over that of torchattacks PGD": (1.1, "held"),
    "I-FGSM-10, the gradients alone, rate over that of foolbox LinfPGD": (0.8, "missed"),
    "I-FGSM-10, with its result scored, rate over that of one crop at a time, as published": (2.0, "held"),
    "loader with 2 workers, rate over what the light recipe's NT step takes": (2.0, "held"),
    "peak memory of an NT step over the baseline's": (2.5, "missed"),
    "evaluation in two processes, rate over one process on one core": (2.0, "held"),
    "evaluation in two processes, rate over one process with two threads": (1.0, "held"),
    "robustiqa --help": (0.1, "held"),
}


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.says)
def test_a_promise_reads_its_ratio_from_the_measurements(guard: Guard) -> None:
    run = Measurements(document())
    value, verdict = READ[guard.says]
    found = guard.reads(run)
    assert found is not None
    assert found.middle == pytest.approx(value)
    assert guard.verdict(run) == verdict


def test_the_bounds_are_those_that_were_set() -> None:
    below = [guard.wanted for guard in GUARDS if guard.at_most]
    above = [guard.wanted for guard in GUARDS if not guard.at_most]
    assert below == [2.35, 2.05, 2.40, 0.40, 0.24, 1.35, 1.30, 0.28, 0.14, 2.2, 0.3]
    assert above == [0.95, 1.0, 1.0, 1.5, 1.5, 1.6, 0.95]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.says)
def test_a_promise_without_its_measurement_says_so(guard: Guard) -> None:
    assert guard.verdict(Measurements({**document(), "sections": {}})) == "not measured"


@pytest.mark.parametrize(
    ("at_most", "value", "verdict"),
    [(True, 2.0, "held"), (True, 2.01, "missed"), (False, 2.0, "held"), (False, 1.99, "missed")],
)
def test_the_bound_itself_holds(at_most: bool, value: float, verdict: str) -> None:
    guard = Guard("made up", 2.0, at_most, lambda run: Spread(value, 0.0, 9.0))
    assert guard.verdict(Measurements(document())) == verdict
