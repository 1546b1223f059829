from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import attacks, create_attack
from robustiqa.attacks.base import NamedAttack, pixel_field, pixel_text
from robustiqa.attacks.objectives import Lower, RankSplit
from robustiqa.core.attack import Oracle
from robustiqa.core.errors import InputError, UnknownNameError
from robustiqa.core.objective import Goal


@dataclass(frozen=True, kw_only=True)
class Future(NamedAttack):
    """An attack that someone adds: fields only."""

    name: ClassVar[str] = "future"

    radius: float | str = pixel_field("1/2", resolved="radius_number")
    decay: float = 1.0
    mask: str | None = None
    adaptive: bool = True

    @property
    def radius_number(self) -> float:
        return 0.5

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        return images


@pytest.mark.parametrize(
    ("name", "options", "label"),
    [
        ("fgsm", {}, "fgsm(eps=4/255)"),
        ("fgsm", {"eps": 0.01}, "fgsm(eps=0.01)"),
        ("fgsm", {"eps": 0}, "fgsm(eps=0)"),
        ("fgsm", {"eps": 8 / 255, "objective": "lower"}, "fgsm(eps=8/255)"),
        ("ifgsm", {}, "ifgsm(eps=4/255, steps=10, step_size=1/255)"),
        ("ifgsm", {"eps": ".03", "steps": 1, "step_size": 0.01}, "ifgsm(eps=0.03, steps=1, step_size=0.01)"),
        (
            "ifgsm",
            {"random_start": True, "seed": 3},
            "ifgsm(eps=4/255, steps=10, step_size=1/255, random_start=True, seed=3)",
        ),
        ("random_sign", {"eps": "1/255", "seed": 1}, "random_sign(eps=1/255, seed=1)"),
        ("apgd", {}, "apgd(eps=4/255, steps=50)"),
        ("apgd", {"norm": "l2", "eps": 3, "restarts": 2}, "apgd(eps=3, norm=l2, steps=50, restarts=2)"),
        ("apgd", {"eot": 4, "tolerance": 0.5, "seed": 1}, "apgd(eps=4/255, eot=4, tolerance=0.5, steps=50, seed=1)"),
        ("mifgsm", {}, "mifgsm(eps=4/255, steps=10, step_size=0.00156862745098, decay=1.0)"),
        ("mifgsm", {"norm": "l2", "eps": ".5"}, "mifgsm(eps=0.5, norm=l2, steps=10, step_size=0.05, decay=1.0)"),
    ],
)
def test_a_label_is_the_attack_without_its_objective(name: str, options: dict[str, Any], label: str) -> None:
    assert create_attack(name, **options).label == label


def test_equal_work_has_equal_labels_however_it_is_written() -> None:
    written = [
        create_attack("ifgsm", eps=eps, step_size=step)
        for eps in ("4/255", 4 / 255, "8/510")
        for step in (None, "1/255", 1 / 255)
    ]
    assert len({attack.label for attack in written}) == 1


def test_a_new_attack_gets_its_label_from_its_fields() -> None:
    assert Future().label == "future(eps=4/255, radius=0.5, decay=1.0, adaptive=True)"
    changed = Future(decay=0.5, mask="edges", adaptive=False, seed=2)
    assert changed.label == "future(eps=4/255, radius=0.5, decay=0.5, mask=edges, adaptive=False, seed=2)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1 / 255, "1/255"), (2.5 * 0.01 / 10, "0.0025"), (1.0, "255/255"), (0.1 * 0.1, "0.01")],
)
def test_pixel_quantities_are_written_as_people_write_them(value: float, text: str) -> None:
    assert pixel_text(value) == text


def test_every_whole_number_of_levels_is_written_as_a_fraction() -> None:
    assert [pixel_text(count / 255) for count in range(1, 256)] == [f"{count}/255" for count in range(1, 256)]


def test_an_objective_may_be_named_or_given() -> None:
    assert create_attack("fgsm", objective="lower") == create_attack("fgsm", objective=Lower())
    assert create_attack("fgsm", objective=RankSplit(threshold=3.0)).objective == RankSplit(threshold=3.0)


def test_an_unknown_attack_names_the_nearest_and_all() -> None:
    with pytest.raises(UnknownNameError) as caught:
        create_attack("fgms")
    known = ", ".join(attacks.names())
    assert str(caught.value) == f"unknown attack 'fgms'; did you mean 'fgsm'? Known: {known}."


def test_an_unknown_option_names_the_nearest_and_all() -> None:
    with pytest.raises(InputError) as caught:
        create_attack("ifgsm", stepsize=1)
    assert str(caught.value) == (
        "attack 'ifgsm' has no option 'stepsize'; did you mean 'step_size'? "
        "Options: eps, objective, seed, steps, step_size, random_start."
    )


def test_an_unknown_objective_is_refused_when_the_attack_is_built() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown objective 'lowre'; did you mean 'lower'"):
        create_attack("fgsm", objective="lowre")
