"""Measurements that were never made, with round numbers."""

from __future__ import annotations

from typing import Any

from benchmarks import attack_rate, compiled, peer_rate, penalty_share, startup, two_processes
from benchmarks.cases import GUARDED, GUARDED_LIGHT
from benchmarks.loader import loader_name
from benchmarks.nt_step import (
    BASELINE,
    CENTRAL,
    EXACT,
    FINITE,
    FORWARD,
    INPUT_GRADIENT,
    PUBLISHED,
    RECIPE,
    STEPS,
    key,
)

TIMES = {BASELINE: 3.0, FINITE: 6.0, CENTRAL: 9.0, EXACT: 5.0, RECIPE: 7.0, FORWARD: 1.0, INPUT_GRADIENT: 2.0}
PASSES = {
    BASELINE: [1, 0, 1],
    FINITE: [2, 1, 2],
    CENTRAL: [3, 1, 3],
    EXACT: [1, 1, 2],
    RECIPE: [2, 0.5, 2],
    PUBLISHED: [3, 1, 3],
}


def rounds(seconds: float) -> list[float]:
    """Three rounds about a median."""
    return [0.9 * seconds, seconds, 1.2 * seconds]


def nt_group() -> dict[str, Any]:
    """Of a network: channels_last as fast as contiguous, bf16 twice as fast."""
    formats = [["float32", "contiguous"], ["float32", "channels_last"], ["bf16", "channels_last"]]
    seconds = {
        key(work, precision, layout): rounds(time / (2 if precision == "bf16" else 1))
        for work, time in TIMES.items()
        for precision, layout in formats
    }
    seconds[key(PUBLISHED, "float32", "contiguous")] = rounds(20.0)
    facts = {
        "flops": dict.fromkeys([*STEPS, PUBLISHED], 3.0),
        "passes": PASSES,
        "penalized_share": 0.25,
        "formats": formats,
    }
    return {"seconds": seconds, "facts": facts}


def rated(**seconds: float) -> dict[str, Any]:
    """Works of ten items each."""
    return {"seconds": {name: rounds(time) for name, time in seconds.items()}, "items": dict.fromkeys(seconds, 10.0)}


def document() -> dict[str, Any]:
    """Everything but the report, and a section that was skipped."""
    attacks = {attack_rate.BARE: 1.0, attack_rate.ALONE: 1.01, attack_rate.WHOLE: 1.25, attack_rate.PUBLISHED_LOOP: 2.5}
    shares = {penalty_share.share_name(fraction): 2.0 * (1 + fraction) for fraction in penalty_share.FRACTIONS}
    peers = {attack_rate.ALONE: 1.0, peer_rate.TORCHATTACKS: 1.1, peer_rate.FOOLBOX: 0.8}
    loading = {loader_name(0): 2.0, loader_name(2): 1.0, BASELINE: 1.0, RECIPE: 2.0}
    ways = {two_processes.ONE_CORE: 40.0, two_processes.TWO_THREADS: 20.0, two_processes.TWO_PROCESSES: 20.0}
    passes = {name: 1.0 + place for place, name in enumerate(compiled.PASSES)}
    passes |= {compiled.compiled_name(name): 2.0 for name in compiled.PASSES}
    scored = {"photographs": 2, "pixels": "512x512", "decoded_per_second": 50.0, "network": "a network"}
    works = [key(BASELINE, "float32", "channels_last"), key(FINITE, "float32", "channels_last")]
    return {
        "schema_version": 1,
        "settings": {"quick": False, "device": "cpu", "threads": 2},
        "machine": {"torch": "2", "timm": "1", "processor": "made up", "cores": 2, "allocator": "kept memory"},
        "sections": {
            "nt-step": {GUARDED.name: nt_group(), GUARDED_LIGHT.name: nt_group()},
            "penalty-share": {
                GUARDED_LIGHT.name: {
                    "seconds": {name: rounds(time) for name, time in {BASELINE: 2.0, **shares}.items()},
                    "facts": {"penalized_share": 0.5},
                }
            },
            "attack-rate": {GUARDED.name: rated(**attacks)},
            "peers": {GUARDED.name: {**rated(**peers), "facts": {"versions": {"foolbox": "3", "torchattacks": "3.5"}}}},
            "loader": {"builtin": {**rated(**loading), "facts": scored}},
            "scoring": {"a network": {"skipped": "it rains"}},
            "compiled": {GUARDED.name: {**rated(**passes), "facts": {"first_call": {FORWARD: 30.0}}}},
            "startup": {"commands": {"seconds": {name: rounds(0.1) for name in startup.COMMANDS}}},
            "memory": {
                GUARDED.name: {
                    "facts": {
                        "imports": dict.fromkeys(works, 300.0),
                        "peak": dict(zip(works, (1000.0, 2500.0), strict=True)),
                    }
                }
            },
            "two-processes": {GUARDED_LIGHT.name: {"seconds": {name: rounds(time) for name, time in ways.items()}}},
        },
    }
