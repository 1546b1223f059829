"""Declared experiments of every kind: a comparison that trains, a plan of attacks, a benchmark that composes both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean
from robustiqa.experiments.attack_plan import AttackPlan
from robustiqa.experiments.attack_plan_spec import attack_plan_from_dict
from robustiqa.experiments.benchmark import Benchmark, benchmark_from_dict
from robustiqa.experiments.comparison import Comparison, comparison_from_dict
from robustiqa.experiments.spec_files import read_spec, spec_names

KINDS = ("comparison", "attacks", "benchmark")


def load_experiment(name: str | Path, files: Mapping[str, str] | None = None) -> Comparison | AttackPlan | Benchmark:
    """Reads an experiment by name, or a TOML file; without a `kind` it is a comparison.

    Args:
        name: Of the experiment, or a file.
        files: Name to file, for attacks of a plan that were made beforehand; a benchmark takes them when it is run.

    Raises:
        SpecError: if there is none, its kind is unknown, or it holds what can't be meant.
    """
    values = read_spec(name)
    kind = values.pop("kind", KINDS[0])
    if kind not in KINDS:
        raise SpecError(
            f"unknown kind of experiment {kind!r}{did_you_mean(str(kind), list(KINDS))} Known: {', '.join(KINDS)}."
        )
    if kind == "attacks":
        return attack_plan_from_dict(values, files)
    if kind == "benchmark":
        return benchmark_from_dict(Path(name).stem, values)
    if files:
        raise SpecError("files go with a plan of attacks; a comparison takes none.")
    return comparison_from_dict(values)


def load_benchmarks() -> list[Benchmark]:
    """Every benchmark that ships with the package, in the order of a page that shows all.

    Raises:
        SpecError: if one holds what can't be meant.
    """
    read = [(name, read_spec(name)) for name in spec_names()]
    found = [
        benchmark_from_dict(name, {field: value for field, value in values.items() if field != "kind"})
        for name, values in read
        if values.get("kind") == "benchmark"
    ]
    return sorted(found, key=lambda one: (one.order, one.name))
