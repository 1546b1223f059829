"""Example photographs: a good one that an attack has a model call bad, a bad one that it has called good.

Source: Liu et al. 2024, Figure 2 (DBCNN; a photograph of high opinion scored low after the attack, and the reverse).
Deviations: a rule chooses the photographs, on the plain and on the defended model alike, so that neither's worst case
is missing; scores of both stand beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustiqa.evaluation.measures import Condition
from robustiqa.evaluation.records import Record
from robustiqa.report.benchmark_study import BenchmarkStudy, Pair
from robustiqa.report.benchmark_tables import star_note
from robustiqa.report.captions import notes
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

EXAMPLES = "examples"  # the view's name
WAYS = {"lower": "high to low", "raise": "low to high"}  # goal, and how the paper's figure calls it
RULE = (
    "Chosen by a rule: of the third of the photographs with the highest {quality} the one that the attack lowers "
    "farthest on the plain model and the one that it lowers farthest on the defended model; of the lowest third those "
    "that it raises farthest. They are the worst of each, not typical."
)
PICTURES = "Pictures need photographs and models: the page that a run writes into its folder has them."


@dataclass(frozen=True)
class Example:
    """One photograph under an attack toward a goal.

    Attributes:
        pair: The models that it is shown for, the first seed of each.
        attack: Label of the attack.
        goal: `lower` or `raise`.
        key: The photograph.
        farthest_on: Labels of the models that it was chosen for; one or both.
    """

    pair: Pair
    attack: str
    goal: str
    key: str
    farthest_on: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, str]:
        """The plain and the defended model."""
        return self.pair.base.labels[0], self.pair.defended.labels[0]

    @property
    def chosen(self) -> str:
        """For which models it was chosen, in words."""
        titles = dict(zip(self.labels, (self.pair.base.name, self.pair.defended.name), strict=True))
        return " and ".join(titles[label] for label in self.farthest_on)


def examples(read: BenchmarkStudy) -> list[Example]:
    """The examples of every pair, attack and direction, in the order of the table; see `RULE`."""
    return [
        example
        for pair in read.pairs
        for attack in _attacks(read, pair)
        for goal in WAYS
        for example in _chosen(read, pair, attack, goal)
    ]


def _attacks(read: BenchmarkStudy, pair: Pair) -> list[str]:
    """Those that both models met in both directions."""
    found = read.study.evaluation
    labels = (pair.base.labels[0], pair.defended.labels[0])
    return [attack for attack in read.attacks if all(set(WAYS) <= set(found.goals(label, attack)) for label in labels)]


def _chosen(read: BenchmarkStudy, pair: Pair, attack: str, goal: str) -> Iterator[Example]:
    labels = (pair.base.labels[0], pair.defended.labels[0])
    runs = [read.study.evaluation.attacked(label, attack, goal).records for label in labels]
    quality = {r.key: r.clean_score if r.mos is None or not read.study.has_mos else r.mos for r in runs[0]}
    order = sorted(quality, key=lambda key: (quality[key], key))
    third = max(1, len(order) // 3)
    wanted = set(order[-third:] if goal == "lower" else order[:third])
    sign = -1 if goal == "lower" else 1
    farthest: dict[str, list[str]] = {}
    for label, records in zip(labels, runs, strict=True):
        moved = {record.key: sign * (record.score - record.clean_score) for record in records if record.key in wanted}
        farthest.setdefault(min(moved, key=lambda key: (-moved[key], key)), []).append(label)
    for key, of in farthest.items():
        yield Example(pair, attack, goal, key, tuple(of))


def examples_table(read: BenchmarkStudy) -> Table | None:
    """Opinion, scores of both models before and after, and SSIM of each example, model by model."""
    found = examples(read)
    blocks = [
        Block(tuple(_row(read, example) for example in found if example.pair == pair), pair.title)
        for pair in dict.fromkeys(example.pair for example in found)
    ]
    if not blocks:
        return None
    quality = "opinions" if read.study.has_mos else "clean scores on the plain model"
    heads = [Column(title, side) for side in ("base", "+NT") for title in ("before", "after", "SSIM")]
    return Table(
        EXAMPLES,
        "Examples of attacked photographs",
        "Direction, attack, photograph",
        (Column("Opinion"), *heads, Column("Farthest on")),
        tuple(blocks),
        notes(
            read.study,
            list(read.groups()),
            list(dict.fromkeys(Condition(example.attack, example.goal) for example in found)),
            RULE.format(quality=quality),
            PICTURES,
            *star_note(read),
            interval=False,
        ),
    )


def example_sentences(read: BenchmarkStudy) -> Iterator[str]:
    """The photograph that moves farthest on any plain model, beside the one that does on its defended model."""
    found = examples(read)
    if not found:
        return
    plain = max((one for one in found if one.labels[0] in one.farthest_on), key=lambda one: _moved(read, one, 0))
    here = [one for one in found if (one.pair, one.attack, one.goal) == (plain.pair, plain.attack, plain.goal)]
    defended = next(one for one in here if one.labels[1] in one.farthest_on)
    mos = _record(read, plain.labels[0], plain).mos if read.study.has_mos else None
    rated = "" if mos is None else f", rated {number(mos, 1)} by people,"
    other = "the same photograph" if defended == plain else defended.key
    yield (
        f"{read.attacks[plain.attack]} moves {plain.key}{rated} {_from_to(read, plain, 0)} on {plain.pair.base.name}; "
        f"on {plain.pair.defended.name} the farthest that way is {other}, {_from_to(read, defended, 1)}."
    )


def _moved(read: BenchmarkStudy, example: Example, side: int) -> float:
    record = _record(read, example.labels[side], example)
    return abs(record.score - record.clean_score)


def _from_to(read: BenchmarkStudy, example: Example, side: int) -> str:
    record = _record(read, example.labels[side], example)
    return f"from {number(record.clean_score, 1)} to {number(record.score, 1)}"


def _row(read: BenchmarkStudy, example: Example) -> Row:
    records = [_record(read, label, example) for label in example.labels]
    opinion = Cell() if records[0].mos is None else Cell(text=number(records[0].mos, 1))
    sides = [
        Cell(text=text)
        for record in records
        for text in (number(record.clean_score, 1), number(record.score, 1), number(record.ssim, 3))
    ]
    title = f"{WAYS[example.goal]}, {read.attacks[example.attack]}, {example.key}"
    return Row(title, (opinion, *sides, Cell(text=example.chosen)))


def _record(read: BenchmarkStudy, label: str, example: Example) -> Record:
    records: Sequence[Record] = read.study.evaluation.attacked(label, example.attack, example.goal).records
    return next(record for record in records if record.key == example.key)
