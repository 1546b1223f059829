"""Evaluations made up from a seed: what models and attacks might have done, without either."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robustiqa.attacks.gradient import FGSM, IFGSM
from robustiqa.attacks.random_sign import RandomSign
from robustiqa.core.pixels import whole_levels
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.views import Evaluation

FGSM_LABEL = FGSM(eps=0.01).label
IFGSM_LABEL = IFGSM(eps="4/255").label
RANDOM_LABEL = RandomSign(eps=0.01).label
ATTACKS = {FGSM_LABEL: (0.01, 1.0), IFGSM_LABEL: (4 / 255, 2.2), RANDOM_LABEL: (0.01, 0.0)}

# model: (spread of its clean scores, correlation with opinions, score points that the first attack moves)
MODELS: Mapping[str, tuple[float, float, float]] = {
    "base-1": (17.0, 0.80, 24.0),
    "base-2": (16.0, 0.79, 26.0),
    "nt-1": (14.0, 0.77, 7.0),
    "nt-2": (14.5, 0.76, 8.0),
    "early-1": (12.0, 0.77, 13.0),
    "noise-1": (16.0, 0.77, 15.0),
}
COMPARISON = {
    "base": ["base-1", "base-2"],
    "defended": ["nt-1", "nt-2"],
    "controls": {"matched accuracy": ["early-1"], "noise": ["noise-1"]},
}
CALIBRATION = {
    label: {"low": 5.0, "high": 95.0, "center": 50.0, "width": 15.0} for label in MODELS if label != "noise-1"
} | {"noise-1": None}


def synthetic(
    count: int = 60,
    *,
    models: Mapping[str, tuple[float, float, float]] = MODELS,
    attacks: Sequence[str] = tuple(ATTACKS),
    variants: Sequence[str] = ("end_to_end",),
    goals: Sequence[str] = ("lower", "raise"),
    transfer: bool = False,
    mos: bool = True,
    seed: int = 0,
    info: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Records of every model under every attack, variant and goal; the same numbers for the same arguments."""
    draw = np.random.default_rng(seed)
    opinions = np.clip(50 + 20 * draw.standard_normal(count), 0, 100)
    keys = [f"photo-{place:04d}.jpg" for place in range(count)]
    records: list[Record] = []
    clean = {
        label: 52 + spread * (accuracy * (opinions - 50) / 20 + (1 - accuracy**2) ** 0.5 * draw.standard_normal(count))
        for label, (spread, accuracy, _) in models.items()
    }
    for label, (_, _, moved) in models.items():
        push = moved * np.exp(0.5 * draw.standard_normal(count))
        for place, key in enumerate(keys):
            score = float(clean[label][place])
            norm = float(push[place] / 0.01 * np.exp(0.4 + 0.3 * draw.standard_normal()))
            opinion = float(opinions[place]) if mos else None
            untouched = Record(
                key, opinion, label, label, CLEAN, CLEAN, "end_to_end", 0.0, 0, score, score, score, norm
            )
            records.append(untouched)
            for attack, variant, goal in itertools.product(attacks, variants, goals):
                eps, strength = ATTACKS[attack]
                step = float(push[place]) * strength * (1 + 0.2 * draw.standard_normal())
                noise = float(draw.standard_normal()) if strength == 0 else 0.0
                change = (-1 if goal == "lower" else 1) * step + noise
                for scorer in models if transfer and variant == "end_to_end" else [label]:
                    before, share = float(clean[scorer][place]), 1.0 if scorer == label else 0.3
                    made = replace(
                        untouched,
                        scored_by=scorer,
                        attack=attack,
                        goal=goal,
                        variant=variant,
                        eps=eps,
                        levels=whole_levels(eps),
                    )
                    records.append(
                        replace(
                            made,
                            clean_score=before,
                            float_score=before + 1.1 * share * change,
                            score=before + share * change,
                            gradient_l1=None,
                            linf=float(whole_levels(eps)),
                            ssim=0.97,
                        )
                    )
    described = {
        "models": {
            label: {
                "kind": "HyperIQA",
                "state": f"{place:016x}",
                "scale": {"low": 0.0, "high": 100.0},
                "protocol": "covering grid",
            }
            for place, label in enumerate(models)
        },
        "dataset": {"name": "made-up", "fingerprint": "0123456789abcdef", "n": count},
        "attacks": list(attacks),
        "variants": list(variants),
        "transfer": transfer,
        "batch_size": 1,
        "small": "refuse",
        "info": dict(info or {}),
    }
    return Evaluation(tuple(records), described)


def compared(count: int = 60, **options: Any) -> Evaluation:
    """A synthetic evaluation with its comparison, calibration and commands."""
    info = {"comparison": COMPARISON, "calibration": CALIBRATION, "commands": ["make demo"], "title": "Made-up models"}
    return synthetic(count, info=info, **options)
