"""From what `--attack`, its flags and `--objective` say to attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.cli.parsing import parse_call

if TYPE_CHECKING:
    from robustiqa.attacks.base import NamedAttack
    from robustiqa.core.objective import Objective

ATTACK_HELP = "NAME or NAME:FIELD=VALUE,..., such as ifgsm:eps=4/255,steps=10; `robustiqa list attacks` names them."
OBJECTIVE_HELP = "What to do to the scores, such as worst_of_both or target:score=20; `robustiqa list objectives`."
DEFAULT_OBJECTIVE = "worst_of_both"

ObjectiveName = Annotated[str, typer.Option("--objective", metavar="NAME", help=OBJECTIVE_HELP)]


def build_objective(text: str) -> Objective:
    """The objective that a text such as `lower` or `target:score=20` stands for.

    Raises:
        UnknownNameError: if no objective has that name.
        InputError: if a field is unknown or missing.
    """
    from robustiqa.attacks.objectives import create_objective

    name, fields = parse_call(text, "--objective")
    return create_objective(name, **fields)


def build_attack(text: str, objective: str, seed: int, flags: Mapping[str, Any] | None = None) -> NamedAttack:
    """The attack that a text such as `ifgsm:eps=4/255,steps=10` stands for.

    Args:
        text: Name and fields; a field `objective` comes before the argument of that name.
        objective: As in `build_objective`.
        seed: Of random starts and searches; a field `seed` comes before it.
        flags: Fields given one by one, which must not be in `text`, too; None stands for not given.

    Raises:
        UnknownNameError: if no attack or objective has that name.
        InputError: if a field is unknown, out of range or given twice.
    """
    from robustiqa.attacks import create_attack
    from robustiqa.core.errors import InputError

    name, fields = parse_call(text, "--attack")
    for flag, value in (flags or {}).items():
        if value is None:
            continue
        if flag in fields:
            raise InputError(
                f"{flag} is given twice, in --attack {text!r} and as --{flag.replace('_', '-')}; drop one."
            )
        fields[flag] = value
    fields["objective"] = build_objective(str(fields.get("objective", objective)))
    return create_attack(name, **{"seed": seed, **fields})
