from __future__ import annotations

import math
import re
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.checks import (
    check_eval_mode,
    check_image_batch,
    check_pixels,
    check_positive_integer,
    check_scores,
    parse_fraction,
)
from robustiqa.core.errors import InputError


def refused(message: str) -> pytest.RaisesExc[InputError]:
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def test_an_image_batch_may_hold_any_values_and_types_of_floating_point() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        check_image_batch(torch.full((1, 3, 1, 1), 7.0, dtype=dtype))
    check_image_batch(torch.full((2, 3, 4, 5), math.nan))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 8, 8, 3), (0, 3, 8, 8), (1, 3, 0, 8), (1, 3, 8, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with refused(f"images must have shape (N, 3, H, W), got {shape}."):
        check_image_batch(torch.zeros(shape))


def test_what_is_no_floating_point_tensor_is_refused() -> None:
    with refused("images must be floating point in [0, 1], got torch.uint8; divide 8-bit values by 255."):
        check_image_batch(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with refused("images must be a tensor of shape (N, 3, H, W), got list."):
        check_image_batch([[1.0]])  # type: ignore[arg-type]


def test_pixels_may_miss_the_range_by_rounding_and_no_more() -> None:
    for value in (0.0, 1.0, -9e-7, 1 + 9e-7):
        check_pixels(torch.full((1, 3, 2, 2), value, dtype=torch.float64))
    for value in (-1.1e-6, 1 + 1.1e-6):
        with pytest.raises(InputError, match="images must lie in"):
            check_pixels(torch.full((1, 3, 2, 2), value, dtype=torch.float64))


def test_one_pixel_outside_is_enough_and_the_sentence_says_what_happened() -> None:
    images = torch.full((2, 3, 4, 4), 0.5)
    images[1, 2, 3, 3] = -2.12
    normalized = "they look normalized already: pass plain pixels, the model normalizes them."
    with refused(f"images must lie in [0, 1], got [-2.12, 0.50]; {normalized}"):
        check_pixels(images)
    with refused("images must lie in [0, 1], got [0.00, 255.00]; they look like 8-bit values: divide by 255."):
        check_pixels(torch.tensor([0.0, 255.0]).repeat(1, 3, 1, 1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_enough(value: float) -> None:
    images = torch.full((1, 3, 4, 4), 0.5)
    images[0, 0, 0, 0] = value
    with refused("images must lie in [0, 1], got values that are not finite."):
        check_pixels(images)


def test_a_model_is_in_eval_mode_only_if_all_its_parts_are() -> None:
    dropout = nn.Dropout()
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(dropout))
    with refused("the model is in training mode; call model.eval() before scoring or attacking."):
        check_eval_mode(model)
    check_eval_mode(model.eval())
    dropout.train()
    with refused("the model is in training mode ('1.0' is); call model.eval() before scoring or attacking."):
        check_eval_mode(model)


@pytest.mark.parametrize(
    ("scores", "came"),
    [
        (torch.zeros(3, 1), "shape (3, 1)"),
        (torch.zeros(2), "shape (2,)"),
        (torch.zeros(()), "shape ()"),
        (torch.zeros(3, dtype=torch.long), "shape (3,)"),
        ([1.0, 2.0, 3.0], "list"),
    ],
)
def test_scores_of_another_shape_or_type_are_refused(scores: Tensor, came: str) -> None:
    with refused(f"a quality model must return floating-point scores of shape (3,), got {came}."):
        check_scores(scores, 3)


@pytest.mark.parametrize("levels", range(0, 256, 5))
def test_a_fraction_is_the_float_nearest_to_it(levels: int) -> None:
    assert parse_fraction(f"{levels}/255") == float(Fraction(levels, 255)) == levels / 255


def test_numbers_are_taken_in_every_usual_form() -> None:
    assert parse_fraction(0.01) == parse_fraction("0.01") == parse_fraction("1e-2") == parse_fraction(" 1/100 ") == 0.01
    assert parse_fraction(0) == 0.0
    assert parse_fraction(1) == 1.0


@pytest.mark.parametrize("value", ["four", "4/", "1/0", "", "4/255/2"])
def test_what_is_no_number_is_refused(value: str) -> None:
    with refused(f"eps must be a number or a fraction like '4/255', got {value!r}."):
        parse_fraction(value)


def test_a_number_outside_the_pixel_range_is_refused_and_levels_are_recognized() -> None:
    with refused("eps is in [0, 1] pixel units, got 4; did you mean '4/255'?"):
        parse_fraction(4)
    with refused("step_size is in [0, 1] pixel units, got 300."):
        parse_fraction("300", "step_size")
    for value in (-0.1, math.nan, math.inf):
        with refused(f"eps is in [0, 1] pixel units, got {value}."):
            parse_fraction(value)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_a_count_is_a_whole_number_of_at_least_one(value: object) -> None:
    check_positive_integer(1, "steps")
    with refused(f"steps must be a whole number of at least 1, got {value!r}."):
        check_positive_integer(value, "steps")  # type: ignore[arg-type]
