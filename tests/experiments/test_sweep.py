"""What a sweep makes of a recipe's number."""

import re

import pytest

from robustiqa.core.errors import SpecError
from robustiqa.experiments.benchmark import Sweep
from robustiqa.training.spec import TrainingSpec

RECIPE = TrainingSpec().with_values({"penalty.h": 0.03, "penalty.every": 3})


def test_multiples_are_of_what_the_recipe_says() -> None:
    assert Sweep("penalty.h", (0.1, 1.0, 10.0), {}).values(RECIPE) == [0.003, 0.03, 0.3]


def test_a_whole_number_stays_one() -> None:
    values = Sweep("penalty.every", (1.0, 2.0), {}).values(RECIPE)
    assert values == [3, 6]
    assert RECIPE.with_values({"penalty.every": values[1]}).penalty.every == 6
    with pytest.raises(
        SpecError,
        match=re.escape("penalty.every is a whole number, 3; its multiples in a sweep must be, too."),
    ):
        Sweep("penalty.every", (0.5,), {}).values(RECIPE)
