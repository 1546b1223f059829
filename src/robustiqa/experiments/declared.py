"""Declared experiments of every kind: a comparison that trains, or a plan of attacks on models that are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean
from robustiqa.experiments.attack_plan import AttackPlan
from robustiqa.experiments.attack_plan_spec import attack_plan_from_dict
from robustiqa.experiments.comparison import Comparison, comparison_from_dict
from robustiqa.experiments.spec_files import read_spec

KINDS = ("comparison", "attacks")


def load_experiment(name: str | Path, files: Mapping[str, str] | None = None) -> Comparison | AttackPlan:
    """Reads an experiment by name, or a TOML file; without a `kind` it is a comparison.

    Args:
        name: Of the experiment, or a file.
        files: Name to file, for attacks of a plan that were made beforehand.

    Raises:
        SpecError: if there is none, its kind is unknown, or it holds what can't be meant.
    """
    values = read_spec(name)
    kind = values.pop("kind", KINDS[0])
    if kind not in KINDS:
        raise SpecError(
            f"unknown kind of experiment {kind!r}{did_you_mean(str(kind), list(KINDS))} Known: comparison, attacks."
        )
    if kind == "attacks":
        return attack_plan_from_dict(values, files)
    if files:
        raise SpecError("files go with a plan of attacks; a comparison takes none.")
    return comparison_from_dict(values)
