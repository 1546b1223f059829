"""The photographs one by one, for the page: scores before and after each attack on the model itself, and distances.

Records become columns of numbers as they are shown, which keeps the page small. An objective that picks a direction
for each photograph is kept as that choice; what it chooses between is there once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustiqa.evaluation.measures import Group
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.study import HONEST, RANDOM, Study
from robustiqa.report.captions import objective_name
from robustiqa.report.tables import number

WAYS = ("lower", "raise")
SHOWN = 25  # rows before someone asks for more, and all there are without JavaScript
MOST_OUTCOMES = 60_000  # photographs times models, attacks and goals: less than two megabytes of page
DISTANCES = {"ssim": 3, "l2": 2, "lpips": 3}  # digits after the point


@dataclass(frozen=True)
class Outcomes:
    """What one goal of an attack did to photographs; one value each.

    Attributes:
        after: Scores of the 8-bit images.
        change: After minus before, rounded by itself.
        ssim: Structural similarity to the clean photograph; None where it is no number.
        linf: Largest change of a pixel, in 8-bit levels; likewise.
        l2: Euclidean length of the change, in [0, 1] units; likewise.
        lpips: None where it was not measured; empty if nowhere.
    """

    after: tuple[float, ...]
    change: tuple[float, ...]
    ssim: tuple[float | None, ...]
    linf: tuple[float | None, ...]
    l2: tuple[float | None, ...]
    lpips: tuple[float | None, ...]


@dataclass(frozen=True)
class Trial:
    """One attack on one model.

    Attributes:
        model: Label of the model, attacked and scoring.
        attack: Label of the attack, and its variant where that is not end to end.
        photos: Places in the explorer's photographs, ascending.
        before: Clean scores.
        goals: What was aimed at, `lower` and `raise` first.
        outcomes: Of each goal.
        choices: By objective, the place of the goal that counts for each photograph.
    """

    model: str
    attack: str
    photos: tuple[int, ...]
    before: tuple[float, ...]
    goals: tuple[str, ...]
    outcomes: tuple[Outcomes, ...]
    choices: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Explorer:
    """All that the page knows of single photographs.

    Attributes:
        photos: Their names.
        opinions: Their opinion scores on 0..100, None for those without.
        digits: By model, digits of its scores after the point: a thousandth of its scale.
        trials: The attack that the findings begin with comes first, and so does its most telling objective.
        left_out: Photographs that moved less and are not here, to keep the page small.
    """

    photos: tuple[str, ...]
    opinions: tuple[float | None, ...]
    digits: Mapping[str, int]
    trials: tuple[Trial, ...]
    left_out: int = 0

    @property
    def attacks(self) -> list[str]:
        """Labels of the attacks, the first one shown first."""
        return list(dict.fromkeys(trial.attack for trial in self.trials))

    @property
    def objectives(self) -> list[str]:
        """Objectives that some attack can be shown under, the first one shown first."""
        return list(dict.fromkeys(objective for trial in self.trials for objective in trial.choices))

    @property
    def has_opinions(self) -> bool:
        """Whether any photograph carries an opinion score."""
        return any(opinion is not None for opinion in self.opinions)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Names and headings of the table's columns, those first that a telephone must show."""
        scores = [("change", "Change"), ("before", "Before"), ("after", "After"), ("ssim", "SSIM")]
        opinion = [("opinion", "Opinion")] if self.has_opinions else []
        return [("photo", "Photograph"), ("model", "Model"), *scores, *opinion]

    def rows(self) -> list[tuple[str, ...]]:
        """Rows of the first attack and objective on every model, largest change first, cells as they are shown."""
        found: list[tuple[float, tuple[str, ...]]] = []
        for trial in self.trials:
            if trial.attack == self.attacks[0] and self.objectives[0] in trial.choices:
                found += self._rows_of(trial)
        return [cells for _, cells in sorted(found, key=lambda row: -row[0])]

    def _rows_of(self, trial: Trial) -> Iterator[tuple[float, tuple[str, ...]]]:
        """Size of the change and cells of each photograph."""
        digits = self.digits[trial.model]
        for place, goal in enumerate(trial.choices[self.objectives[0]]):
            photo, outcomes = trial.photos[place], trial.outcomes[goal]
            cells = [self.photos[photo], trial.model, number(outcomes.change[place], digits, signed=True)]
            cells += [number(score, digits) for score in (trial.before[place], outcomes.after[place])]
            cells.append(_said(outcomes.ssim[place], DISTANCES["ssim"]))
            if self.has_opinions:
                cells.append(_said(self.opinions[photo], 1))
            yield abs(outcomes.change[place]), tuple(cells)

    def document(self) -> dict[str, Any]:
        """What the page's script reads: names once, then places in them and columns of numbers."""
        models, attacks, objectives = list(self.digits), self.attacks, self.objectives
        return {
            "photos": self.photos,
            "opinions": self.opinions,
            "models": models,
            "digits": list(self.digits.values()),
            "attacks": attacks,
            "objectives": [objective_name(objective) for objective in objectives],
            "shown": SHOWN,
            "trials": [
                {
                    "model": models.index(trial.model),
                    "attack": attacks.index(trial.attack),
                    "photos": None if trial.photos == tuple(range(len(self.photos))) else trial.photos,
                    "before": trial.before,
                    "outcomes": [
                        {name: values for name, values in vars(outcomes).items() if values}
                        for outcomes in trial.outcomes
                    ],
                    "choices": {
                        objectives.index(objective): _packed(choice) for objective, choice in trial.choices.items()
                    },
                }
                for trial in self.trials
            ],
        }


def explorer(studies: Sequence[Study], names: Sequence[str] = ("",)) -> Explorer | None:
    """Gathers every photograph under every attack on the model that scores it; None where nothing was attacked.

    Args:
        studies: Evaluations ready to be read.
        names: Of the evaluations, put before their attacks; empty where there is one.
    """
    photos: list[str] = []
    opinions: list[float | None] = []
    digits: dict[str, int] = {}
    trials: list[Trial] = []
    left_out = 0
    for read, name in zip(studies, names, strict=True):
        farthest, more = _farthest(read, MOST_OUTCOMES // len(studies))
        left_out += more
        places = {key: len(photos) + place for place, key in enumerate(farthest)}
        photos += farthest
        opinions += [None if opinion is None else round(opinion, 1) for opinion in farthest.values()]
        for label in read.labels:
            digits[label] = max(digits.get(label, 0), _digits(read.evaluation.scale(label).span))
        for attack in [*read.attacks, *(other for other in read.budgets if other.startswith(RANDOM))]:
            for variant in read.variants:
                for label in read.labels:
                    shown = f"{name}: {attack}" if name else attack
                    shown += "" if variant == "end_to_end" else f", {variant}"
                    trials += _trials(read, label, attack, variant, shown, places, digits[label])
    return Explorer(tuple(photos), tuple(opinions), digits, tuple(trials), left_out) if trials else None


def _farthest(read: Study, most: int) -> tuple[dict[str, float | None], int]:
    """Photographs by name, with their opinions: all, or those that moved farthest if there are too many outcomes."""
    moved: dict[str, float] = {}
    opinions: dict[str, float | None] = {}
    outcomes = 0
    for record in read.evaluation.records:
        if _shows(read, record):
            outcomes += 1
            share = abs(record.score - record.clean_score) / read.evaluation.scale(record.scored_by).span
            moved[record.key] = max(moved.get(record.key, 0.0), share)
            opinions[record.key] = record.mos
    count = len(moved) if outcomes <= most else max(1, most * len(moved) // outcomes)
    kept = sorted(moved, key=lambda key: (-moved[key], key))[:count]
    return {key: opinions[key] for key in sorted(kept)}, len(moved) - count


def _shows(read: Study, record: Record) -> bool:
    return record.attack != CLEAN and record.scored_by == record.attacked_on and record.scored_by in read.labels


def _trials(
    read: Study, label: str, attack: str, variant: str, shown: str, places: Mapping[str, int], digits: int
) -> Iterator[Trial]:
    """An attack on a model: one trial for each set of photographs that some of its goals met."""
    met: dict[tuple[str, ...], dict[str, tuple[Record, ...]]] = {}
    for goal in sorted(read.evaluation.goals(label, attack, variant), key=lambda goal: (goal not in WAYS, goal)):
        records = read.evaluation.attacked(label, attack, goal, variant=variant).records
        met.setdefault(tuple(record.key for record in records), {})[goal] = records
    for keys, runs in met.items():
        goals = tuple(runs)
        chosen: dict[str, Sequence[Record]] = {
            objective: read.evaluation.attacked(label, attack, objective, variant=variant).records
            for objective in read.objectives(attack, variant, [Group(label, (label,))])
            if objective in runs or (objective in HONEST and set(WAYS) <= set(goals))
        }
        wanted = [place for place, key in enumerate(keys) if key in places]
        if not wanted:
            continue
        first = runs[goals[0]]
        yield Trial(
            label,
            shown,
            tuple(places[keys[place]] for place in wanted),
            tuple(_rounded(first[place].clean_score, digits) for place in wanted),
            goals,
            tuple(_outcomes([records[place] for place in wanted], digits) for records in runs.values()),
            {
                objective: tuple(goals.index(records[place].goal) for place in wanted)
                for objective, records in {**chosen, **runs}.items()
            },
        )


def _outcomes(records: Sequence[Record], digits: int) -> Outcomes:
    lpips = _distances([one.lpips for one in records], DISTANCES["lpips"])
    return Outcomes(
        tuple(_rounded(one.score, digits) for one in records),
        tuple(_rounded(one.score - one.clean_score, digits) for one in records),
        _distances([one.ssim for one in records], DISTANCES["ssim"]),
        _distances([one.linf for one in records], None),
        _distances([one.l2 for one in records], DISTANCES["l2"]),
        () if all(value is None for value in lpips) else lpips,
    )


def _digits(span: float) -> int:
    """Digits after the point that show a thousandth of a scale."""
    return max(0, math.ceil(3 - math.log10(span)))


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # no minus before a zero


def _distances(values: Sequence[float | None], digits: int | None) -> tuple[float | None, ...]:
    """Rounded; to whole numbers where digits are None."""
    return tuple(None if value is None or not math.isfinite(value) else round(value, digits) for value in values)


def _said(value: float | None, digits: int) -> str:
    return number(math.nan if value is None else value, digits)


def _packed(choice: Sequence[int]) -> int | str:
    """The place of the one goal, or a digit a photograph: objectives choose between the first two only."""
    return choice[0] if len(set(choice)) == 1 else "".join(map(str, choice))
