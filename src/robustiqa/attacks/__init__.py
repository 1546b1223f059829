"""Attacks by name. See `robustiqa.core.attack.Attack` and `robustiqa.attacks.objectives`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robustiqa.core.registry import Registry

if TYPE_CHECKING:
    from robustiqa.attacks.base import NamedAttack

attacks: Registry[NamedAttack] = Registry(
    "attack",
    {
        "apgd": "robustiqa.attacks.apgd:APGD",
        "ensemble": "robustiqa.attacks.ensemble:Ensemble",
        "facpa": "robustiqa.attacks.generator:FACPA",
        "fgsm": "robustiqa.attacks.gradient:FGSM",
        "ifgsm": "robustiqa.attacks.gradient:IFGSM",
        "korhonen": "robustiqa.attacks.surrogate:Korhonen",
        "mifgsm": "robustiqa.attacks.mifgsm:MIFGSM",
        "nes": "robustiqa.attacks.estimated_gradient:NES",
        "perceptual": "robustiqa.attacks.perceptual:Perceptual",
        "random_sign": "robustiqa.attacks.random_sign:RandomSign",
        "score_boundary": "robustiqa.attacks.score_boundary:ScoreBoundary",
        "spsa": "robustiqa.attacks.estimated_gradient:SPSA",
        "square": "robustiqa.attacks.square:Square",
        "uap": "robustiqa.attacks.universal:UAP",
    },
)


def create_attack(name: str, **options: Any) -> NamedAttack:
    """Builds an attack: plain data, to be called with a model and images.

    Args:
        name: Registry name, such as `ifgsm`.
        options: Of the attack, such as `eps="4/255"`, `steps=10`, `objective="farther_end"` (a name or an
            `Objective`).

    Raises:
        UnknownNameError: if no attack or objective has that name.
        InputError: if the attack takes no such option, or not with that value.
    """
    return attacks.create(name, **options)
