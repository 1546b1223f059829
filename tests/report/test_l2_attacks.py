"""What a study and its report say of an attack whose budget is a Euclidean length."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustiqa.evaluation.measures import Condition
from robustiqa.evaluation.records import norm_of
from robustiqa.evaluation.study import Study, study
from robustiqa.report.captions import budget, extent
from robustiqa.report.controls import first_order_table
from robustiqa.report.figures import first_order
from robustiqa.report.findings import findings
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, RANDOM_LABEL, compared
from tests.report.reading import changed

L2_LABEL = "apgd(eps=0.01, norm=l2, steps=50)"


@pytest.fixture(scope="module")
def l2_study() -> Study:
    found = compared(24, attacks=(FGSM_LABEL, IFGSM_LABEL, RANDOM_LABEL))
    return study(changed(found, lambda r: replace(r, attack=L2_LABEL) if r.attack == FGSM_LABEL else r), samples=2)


def test_a_label_that_names_no_norm_means_l_infinity() -> None:
    assert [norm_of(label) for label in (FGSM_LABEL, "none", L2_LABEL)] == ["linf", "linf", "l2"]


def test_random_signs_of_the_same_number_are_not_of_the_same_size(l2_study: Study) -> None:
    assert l2_study.budgets[L2_LABEL] == l2_study.budgets[RANDOM_LABEL]
    assert l2_study.random_signs(L2_LABEL) is None


def test_the_budget_is_told_as_a_length(l2_study: Study) -> None:
    assert budget(l2_study, L2_LABEL) == f"{L2_LABEL}, at most 0.01 in Euclidean length"
    assert extent(l2_study, IFGSM_LABEL) == "at most 4 of 255 levels"
    said = " ".join(findings(l2_study))
    assert f"A hardly visible change, at most 0.01 in Euclidean length ({L2_LABEL})," in said
    assert f"{IFGSM_LABEL}, at most 4 of 255 levels, moves" in said


def test_eps_times_l1_is_no_estimate_for_it(l2_study: Study) -> None:
    table = first_order_table(l2_study)
    assert table is not None
    assert [str(block.title).split(",")[0] for block in table.blocks] == [IFGSM_LABEL.split(",")[0]]
    assert first_order(l2_study, Condition(L2_LABEL, "worst_of_both")) is None
    assert first_order(l2_study, Condition(IFGSM_LABEL, "worst_of_both")) is not None
