"""Evaluations that cards can be made of: made-up runs with what `robustiqa.evaluate` would say about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from robustiqa.evaluation.cards import Card, RaisedFlag, Reading
from robustiqa.evaluation.cards_from_records import make_cards
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.views import Evaluation
from tests.evaluation.made_up import COUNT, both, clean_records

SAMPLES = 40
EPS = 4 / 255


def told(*runs: Iterable[Record], models: Iterable[str] = ("m",), count: int = COUNT, **info: Any) -> Evaluation:
    """Of some runs, with weights and photographs named."""
    return Evaluation(
        tuple(record for run in runs for record in run),
        {
            "models": {name: {"kind": "HyperIQA", "state": f"{name}-weights", "protocol": "whole"} for name in models},
            "dataset": {"name": "made-up", "fingerprint": "0123456789abcdef", "n": count},
            "attacks": [],
            "environment": {"robustiqa": "1.2.3"},
            "info": info,
        },
    )


def card(model: str = "m", change: float | None = 1.0, flags: Iterable[str] = (), **fields: Any) -> Card:
    """An entry with one number to rank by."""
    made = make_cards(told(clean_records(), both("ifgsm(eps=4/255)", 2.0)), samples=SAMPLES)[0]
    worst = replace(made.worst[0], change_over_spread=Reading(change, change, change))
    raised = tuple(RaisedFlag(name, f"{name} was seen.") for name in flags)
    return replace(made, **{"model": model, "weights": f"{model}-weights", "worst": (worst,), "flags": raised} | fields)
