"""What a report must know of a benchmark, as plain values: with them and the records it is made again, anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustiqa.experiments.attack_plan import AttackPlan, PhotoSet
from robustiqa.experiments.benchmark import Benchmark
from robustiqa.experiments.benchmark_models import Column


def benchmark_notes(
    benchmark: Benchmark, columns: Sequence[Column], plan: AttackPlan, sets: Sequence[PhotoSet]
) -> dict[str, Any]:
    """Notes for sets of the same kind of photographs; no set where nothing is attacked."""
    attacks = [attack for photos in sets for attack in photos.attacks]
    notes = [plan.notes(photos) for photos in sets]
    said = {name: value for one in notes for name, value in one.items()}
    if notes:
        said["shown"] = list(dict.fromkeys(label for one in notes for label in one["shown"]))
        said["left_out"] = list(dict.fromkeys(label for one in notes for label in one["left_out"]))
    return {
        **said,
        "title": benchmark.title,
        "experiment": benchmark.name,
        "quick": benchmark.quick,
        "show": list(benchmark.show),
        "source": benchmark.source,
        "reported": dict(benchmark.reported),
        "varied": None if benchmark.sweep is None else benchmark.sweep.field,
        "columns": [
            {
                "model": column.model,
                "title": benchmark.subjects.models[column.model].title,
                "name": column.name,
                "labels": [entrant.label for entrant in column.entrants],
            }
            for column in columns
        ],
        "threats": {attack.label: attack.threat_model for attack in attacks},
    }
