"""The table of rises: MSU's scores of what raised every score, by an oracle that scales and loops for itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.gains import gains_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, MODELS, synthetic
from tests.report.oracle import Seen, attacked
from tests.report.reading import bold, estimate_of, named, titles

GROUPS = {"base": ("base-1", "base-2"), "+NT": ("nt-1", "nt-2")}


def rise(name: str, seen: Seen) -> float:
    low, span = seen.before.min(), np.ptp(seen.before)
    before, after = (seen.before - low) / span, (seen.after - low) / span
    if name == "Absolute gain":
        return float(np.mean(after - before))
    if name == "Relative gain":
        return float(np.mean((after - before) / (before + 1)))
    distance = stats.wasserstein_distance if name == "Wasserstein" else stats.energy_distance
    return math.copysign(float(distance(before, after)), float(np.mean(after - before)))


@pytest.mark.parametrize("name", ["Absolute gain", "Relative gain", "Wasserstein", "Energy distance"])
@pytest.mark.parametrize("attack", [FGSM_LABEL, IFGSM_LABEL])
def test_every_rise_is_what_the_records_say(
    name: str, attack: str, tables: tuple[Table, ...], made_up: Evaluation
) -> None:
    table = named(tables, "gains")
    for group, labels in GROUPS.items():
        expected = [rise(name, attacked(made_up, label, attack, "raise")) for label in labels]
        assert estimate_of(table, attack, f"{name} ↓: {group}").seeds == pytest.approx(expected, rel=1e-9)
    assert f"{name} ↓: +NT" in bold(table, attack)  # moves least


def test_it_has_a_row_an_attack_that_raised_scores_and_is_no_story(tables: tuple[Table, ...]) -> None:
    table = named(tables, "gains")
    assert titles(table) == [FGSM_LABEL, IFGSM_LABEL] and not table.main


def test_attacks_that_raised_nothing_make_no_table() -> None:
    lowered = synthetic(4, models={"a": MODELS["base-1"]}, goals=("lower",))
    assert gains_table(study(lowered, samples=2)) is None
    assert gains_table(study(synthetic(4, models={"a": MODELS["base-1"]}, goals=("raise",)), samples=2)) is not None
