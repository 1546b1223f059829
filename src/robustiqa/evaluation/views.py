"""Views of an evaluation: scores before and after, photo by photo, under any objective.

Records hold what each goal did. An objective that only picks a direction for each photo (`farther_end`,
`worst_of_both`, `rank_split`) is a choice between the `lower` and the `raise` record of that photo, so all of them
come from the same two runs of an attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from robustiqa.core.errors import InputError
from robustiqa.core.scale import ScoreScale
from robustiqa.evaluation.records import CLEAN, Record

Array = npt.NDArray[np.float64]
DIRECTED = ("lower", "raise", "farther_end", "worst_of_both", "rank_split")


@dataclass(frozen=True)
class Scores:
    """Scores of the same photos before and after an attack, sorted by key.

    Attributes:
        records: The record that counts for each photo.
        objective: What was chosen between, or the goal itself.
    """

    records: tuple[Record, ...]
    objective: str

    def __len__(self) -> int:
        return len(self.records)

    def _column(self, name: str) -> Array:
        return np.array([getattr(record, name) for record in self.records], dtype=np.float64)

    @property
    def keys(self) -> list[str]:
        """The photos."""
        return [record.key for record in self.records]

    @cached_property
    def mos(self) -> Array | None:
        """Opinion scores on 0..100, (N,), or None if any photo lacks one."""
        return None if any(record.mos is None for record in self.records) else self._column("mos")

    @cached_property
    def before(self) -> Array:
        """Clean scores, (N,)."""
        return self._column("clean_score")

    @cached_property
    def after(self) -> Array:
        """Scores of the 8-bit adversarial images, (N,)."""
        return self._column("score")

    @cached_property
    def float_after(self) -> Array:
        """Scores of the float adversarial images, (N,)."""
        return self._column("float_score")

    @property
    def change(self) -> Array:
        """After minus before, (N,)."""
        return self.after - self.before


@dataclass(frozen=True)
class Evaluation:
    """Records and what they are of; everything shown is computed from these.

    Attributes:
        records: In the order they were made.
        info: `models` (label to name, weights hash, role, scale), `dataset` (name, part, fingerprint, n), `protocol`,
            `attacks`: what a table's caption needs, as plain values.
    """

    records: tuple[Record, ...]
    info: dict[str, Any]

    @property
    def models(self) -> list[str]:
        """Labels of the models that scored, in the order they were given."""
        return list(dict.fromkeys(record.scored_by for record in self.records))

    @property
    def attacks(self) -> list[str]:
        """Labels of the attacks, in the order they were given."""
        return list(dict.fromkeys(record.attack for record in self.records if record.attack != CLEAN))

    def scale(self, model: str) -> ScoreScale:
        """The score scale of a model."""
        known = self.info.get("models", {}).get(model, {}).get("scale")
        return ScoreScale(**known) if known else ScoreScale()

    def clean(self, model: str) -> Scores:
        """Clean scores of one model.

        Raises:
            InputError: if there is no such model.
        """
        found = self._runs.get((model, model, CLEAN, "end_to_end"), {}).get(CLEAN)
        if not found:
            raise InputError(f"no clean scores of {model!r}; the evaluation holds: {', '.join(self.models)}.")
        return Scores(_sorted(found), CLEAN)

    @cached_property
    def _runs(self) -> dict[tuple[str, str, str, str], dict[str, list[Record]]]:
        """Goals to records, by (scored by, attacked on, attack, variant)."""
        found: dict[tuple[str, str, str, str], dict[str, list[Record]]] = {}
        for record in self.records:
            run = (record.scored_by, record.attacked_on, record.attack, record.variant)
            found.setdefault(run, {}).setdefault(record.goal, []).append(record)
        return found

    def goals(self, model: str, attack: str, variant: str = "end_to_end") -> list[str]:
        """Goals that were run for a white-box attack on a model."""
        return list(self._runs.get((model, model, attack, variant), {}))

    def keys(self, model: str, attack: str, goal: str, attacked_on: str | None = None) -> set[str]:
        """Photos that a model scored after an attack on it, or on another, with one goal, end to end."""
        run = (model, attacked_on or model, attack, "end_to_end")
        return {record.key for record in self._runs.get(run, {}).get(goal, ())}

    def attacked(
        self,
        model: str,
        attack: str,
        objective: str,
        *,
        variant: str = "end_to_end",
        attacked_on: str | None = None,
    ) -> Scores:
        """Scores of `model` before and after `attack` under `objective`.

        Args:
            model: Label of the model that scored.
            attack: Label of the attack.
            objective: A goal that was run, or one that picks between `lower` and `raise`.
            variant: `end_to_end` or `patchwise`.
            attacked_on: Label of the model that was attacked; `model` (white-box) by default.

        Raises:
            InputError: if the records that this needs were not made.
        """
        source = model if attacked_on is None else attacked_on
        runs = self._runs.get((model, source, attack, variant), {})
        if objective in runs:
            return Scores(_sorted(runs[objective]), objective)
        lowered, raised = self._both_ways(model, source, attack, variant, objective)
        seen = (lowered, raised)
        if source != model:  # whoever transfers an attack chooses by what the attacked model says
            seen = self._both_ways(source, source, attack, variant, objective)
            if [record.key for record in seen[0]] != [record.key for record in lowered]:
                raise InputError(
                    f"{attack} on {source!r} was scored by {model!r} on other photos; finish the evaluation."
                )
        take_raised = _direction(objective, *seen, self.scale(source))
        chosen = [up if take else down for down, up, take in zip(lowered, raised, take_raised, strict=True)]
        return Scores(tuple(chosen), objective)

    def _both_ways(
        self, model: str, source: str, attack: str, variant: str, objective: str
    ) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        """The `lower` and the `raise` records, of the same photos in the same order."""
        runs = self._runs.get((model, source, attack, variant), {})
        if objective not in DIRECTED or not {"lower", "raise"} <= set(runs):
            raise InputError(
                f"no records of {attack} on {source!r} for objective {objective!r}; goals that were run: "
                f"{', '.join(runs) or 'none'}."
            )
        lowered, raised = _sorted(runs["lower"]), _sorted(runs["raise"])
        if [record.key for record in lowered] != [record.key for record in raised]:
            raise InputError(
                f"{attack} on {source!r} was run for other photos in each direction; finish the evaluation."
            )
        return lowered, raised


def _direction(
    objective: str, lowered: Sequence[Record], raised: Sequence[Record], scale: ScoreScale
) -> npt.NDArray[np.bool_]:
    """Whether each photo's score is raised (else lowered) under an objective that picks a direction; (N,)."""
    clean = np.array([record.clean_score for record in lowered])
    if objective == "farther_end":
        return np.asarray(clean <= scale.middle)
    if objective == "rank_split":
        return np.asarray(clean <= np.median(clean))
    down = np.array([abs(record.score - record.clean_score) for record in lowered])
    up = np.array([abs(record.score - record.clean_score) for record in raised])
    return np.asarray(up > down)


def _sorted(records: Sequence[Record]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=lambda record: record.key))
