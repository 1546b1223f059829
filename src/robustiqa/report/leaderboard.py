"""A leaderboard as a table, in Markdown and as a page; what an entry's numbers are of stands below it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from robustiqa.evaluation.cards import Card, Reading
from robustiqa.evaluation.leaderboard import Leaderboard, budget_name, worst_at
from robustiqa.evaluation.measures import MEASURES, Estimate
from robustiqa.metrics.bootstrap import Interval
from robustiqa.report.tables import Block, Cell, Column, Row, Table

if TYPE_CHECKING:
    from robustiqa.report.html import Report

TITLE = "Leaderboard"
UNRELIABLE = "unreliable"
NO_FLAGS = "none"
READING = (
    "Ranked by the worst case: of each photograph, the 8-bit image of any attack of that budget, in either direction, "
    "that moved its score farthest; the root mean square of these changes over the standard deviation of the model's "
    "own clean scores. Models are attacked on themselves, end to end.",
    "Rank split: of each photograph, the worst image that lowers a score above the model's clean median, or raises "
    "one below it.",
    "Brackets: 95\u00a0% bootstrap intervals over photographs. They cover neither other seeds of training nor stronger "
    "attacks; where they overlap, the order is open.",
    "Unreliable: a check of the entry's records raised a flag, so that its attacks may have failed rather than its "
    "model held; ranked after the others. No flag is no proof.",
)


def leaderboard_table(board: Leaderboard) -> Table:
    """The entries, the ranking number first; flagged ones in a block of their own."""
    opinions = all(card.clean.srocc.value is not None for card in board.entries)
    parts: dict[str, list[Row]] = {"": [], UNRELIABLE.capitalize(): []}
    for place, card in enumerate(board.entries, 1):
        title = UNRELIABLE.capitalize() if card.unreliable else ""
        parts[title].append(Row(f"{place}. {card.model}", tuple(_cells(board, card, opinions))))
    return Table(
        "leaderboard",
        TITLE,
        "Model",
        tuple(_columns(board, opinions)),
        tuple(Block(tuple(rows), title) for title, rows in parts.items() if rows),
        (_of_what(board), *READING),
    )


def leaderboard_markdown(board: Leaderboard) -> str:
    """The table, what was flagged, and the attacks."""
    parts = [f"# {TITLE}\n", leaderboard_table(board).to_markdown()]
    flags = [f"- {sentence}" for sentence in flag_sentences(board)]
    if flags:
        parts.append("\n".join(["## Flags", "", *flags, ""]))
    parts.append("\n".join(["## Attacks", "", *(f"- {sentence}" for sentence in _attacks(board)), ""]))
    return "\n".join(parts)


def leaderboard_page(board: Leaderboard) -> Report:
    """The same as a page that needs nothing else."""
    from robustiqa.report.html import Report  # needs torch, by way of evaluations

    best = board.entries[0]
    change = worst_at(best, board.norm, board.eps).change_over_spread.value
    entries = f"{len(board.entries)} entr{'y' if len(board.entries) == 1 else 'ies'}"
    first = (
        f"{best.model} moves least at {budget_name(board.norm, board.eps)}: {change:.2f} of its clean spread."
        if change is not None and not best.unreliable
        else "No entry without flags has a worst case to rank by."
    )
    return Report(
        title=TITLE,
        subtitle=f"{entries}, {_photographs(board)}.",
        findings=(first, *flag_sentences(board)),
        keys=(),
        tables=(leaderboard_table(board),),
        figures=(),
        gallery=(),
        commands=(f"robustiqa leaderboard cards/*.json --eps {budget_name(board.norm, board.eps).split()[1]}",),
        method=(*READING, *_attacks(board)),
        facts=(("Models", tuple((card.title, _about(card)) for card in board.entries)),),
    )


def flag_sentences(board: Leaderboard) -> list[str]:
    """Of each flagged entry what was seen, once a flag."""
    found = []
    for card in board.entries:
        said = {flag.name: flag.sentence for flag in reversed(card.flags)}  # the first of each name
        found += [f"{card.title}, {name.replace('_', ' ')}: {said[name]}" for name in card.unreliable]
    return found


def _columns(board: Leaderboard, opinions: bool) -> Iterator[Column]:
    yield Column("Weights")
    for place, budget in enumerate(board.budgets):
        over = f"Worst case, {budget_name(*budget)}"
        yield Column(f"{MEASURES['change_over_spread'].title} ↓", over)
        if not place:
            yield Column("SROCC, rank split ↑" if opinions else "SROCC with before, rank split ↑", over)
    if opinions:
        yield from (Column(title, "Clean") for title in ("SROCC ↑", "PLCC ↑", "RMSE ↓"))
    yield Column("Flags")


def _cells(board: Leaderboard, card: Card, opinions: bool) -> Iterator[Cell]:
    yield Cell(text=card.weights[:8])
    for place, budget in enumerate(board.budgets):
        worst = worst_at(card, *budget)
        yield _cell(card, worst.change_over_spread, MEASURES["change_over_spread"].digits)
        if not place:
            yield _cell(card, worst.srocc_mos if opinions else worst.srocc_before)
    if opinions:
        yield _cell(card, card.clean.srocc)
        yield _cell(card, card.clean.plcc)
        yield _cell(card, card.clean.rmse, MEASURES["rmse_mos"].digits)
    names = ", ".join(name.replace("_", " ") for name in card.unreliable)
    yield Cell(text=f"{UNRELIABLE}: {names}" if names else NO_FLAGS)


def _cell(card: Card, reading: Reading, digits: int = 3) -> Cell:
    value, low, high = (math.nan if number is None else number for number in (reading.value, reading.low, reading.high))
    return Cell(Estimate(Interval(value, low, high, card.samples), (), card.protocol.photos), digits)


def _of_what(board: Leaderboard) -> str:
    met = worst_at(board.entries[0], board.norm, board.eps).photos
    few = f", {met} of them attacked at the ranking budget" if met < board.protocol.photos else ""
    prints = f"fingerprint {board.protocol.fingerprint}, split {board.protocol.split}"
    return f"n = {_photographs(board)}{few} ({prints}); {board.protocol.precision} images."


def _photographs(board: Leaderboard) -> str:
    protocol = board.protocol
    name = f" of {protocol.dataset}" if protocol.dataset else ""
    return f"{protocol.photos} photograph{'s' * (protocol.photos != 1)}{name}"


def _attacks(board: Leaderboard) -> list[str]:
    return [
        f"{run.attack}: {' and '.join(run.goals)}, {budget_name(run.norm, run.eps)}, on {run.photos} photographs."
        for run in board.protocol.attacks
    ]


def _about(card: Card) -> str:
    made = f", records of version {card.version}" if card.version else ""
    return f"{card.kind}, weights {card.weights}, {card.scoring}{made}"
