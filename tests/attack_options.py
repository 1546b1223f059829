"""Options under which tests that go over every attack run one whose defaults are too much work for that."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from robustiqa.attacks.ensemble import PRESETS, Preset

TINY = "tiny"  # a preset for tests alone: every preset that is published is too much work
PRESETS[TINY] = Preset(steps=8, queries=200, eot=4)

CHEAP: dict[str, dict[str, Any]] = {
    "apgd": {"steps": 8},
    "ensemble": {"preset": TINY},
    "nes": {"steps": 8, "samples": 24},
    "perceptual": {"steps": 10},
    # By default its ball is the JND, and eps does not bind; at this eps random signs have the same ball.
    "score_boundary": {"eps": "8/255", "query_budget": 60, "search_trials": 20, "refine_queries": 20},
    "spsa": {"steps": 8, "samples": 24},
    "square": {"queries": 400},
}

EXTRAS = {"score_boundary": "kornia"}  # optional packages that an attack needs when it is called


def needs_extra(name: str) -> list[pytest.MarkDecorator]:
    """The mark that skips what calls an attack whose optional package is not installed; none for most attacks."""
    if name not in EXTRAS:
        return []
    return [pytest.mark.skipif(find_spec(EXTRAS[name]) is None, reason=f"needs {EXTRAS[name]}, an optional extra")]
