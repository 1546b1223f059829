"""`robustiqa leaderboard`: entries of one protocol ranked, from records or from cards made of them before."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.cli import options, runs
from robustiqa.cli.output import Output
from robustiqa.core.errors import InputError, RobustIQAError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robustiqa.evaluation.cards import Card
    from robustiqa.evaluation.leaderboard import Leaderboard

PAGE, MARKDOWN = "leaderboard.html", "leaderboard.md"
BELOW = ("", "evaluation", "kept")  # where `evaluate`, `demo` and `reproduce` leave records in their run folders


def leaderboard(
    run: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Run folders of `robustiqa evaluate`, `demo` or `reproduce`, exported records, cards, or folders of "
            "an earlier --out.",
            show_default=False,
        ),
    ],
    eps: Annotated[
        str | None,
        typer.Option(metavar="EPS", help="Budget to rank at, such as 4/255.", show_default="the largest"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where one card an entry, leaderboard.md and leaderboard.html go."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Rank models by the worst that attacks do to them, from records alone.

    Entries must share photographs, attacks, budgets and 8-bit rule. Those that a check flags are marked
    unreliable and come last.

    Example: robustiqa leaderboard runs/mine runs/theirs --out board
    """
    from robustiqa.cli.showing import print_table
    from robustiqa.evaluation.leaderboard import rank
    from robustiqa.report.leaderboard import flag_sentences, leaderboard_table

    output = Output("leaderboard", json)
    cards: list[Card] = []
    left_out: list[Card] = []
    for path in run:
        whole, partial = _read(path)
        cards += whole
        left_out += partial
    board = rank(cards, _budget(eps))
    for card in left_out:
        output.note(f"{card.title} met only some of its run's attacks and is left out.")
    print_table(output, leaderboard_table(board))
    for sentence in flag_sentences(board):
        output.line(sentence)
    written: dict[str, Any] = {"page": None, "markdown": None, "cards": []}
    if out is not None:
        written = _write(board, out)
        output.line(f"\n{written['page']}")
    output.document(
        norm=board.norm,
        eps=board.eps,
        entries=[
            {"rank": place, "unreliable": list(card.unreliable), **asdict(card)}
            for place, card in enumerate(board.entries, 1)
        ],
        left_out=[card.model for card in left_out],
        **written,
    )
    return 0


def _budget(eps: str | None) -> float | None:
    if eps is None:
        return None
    from robustiqa.core.checks import parse_length

    return parse_length(eps)


def _read(path: Path) -> tuple[Sequence[Card], Sequence[Card]]:
    """The cards that a path holds, and those of models that met only some of their run's attacks.

    Raises:
        InputError: if there is nothing, it is neither run nor card, or it is damaged.
        SpecError: if a card or record is of another schema version.
    """
    from robustiqa.evaluation.cards import CARDS_FOLDER, read_card

    if not path.exists():
        raise InputError(f"there is no {path}; give run folders, exported records or cards.")
    if path.is_file():
        return [read_card(path)], []
    folders = [path / below for below in BELOW if runs.holds_records(path / below)]
    if folders:
        return _cards_of_run(folders[0])
    files = sorted((path if path.name == CARDS_FOLDER else path / CARDS_FOLDER).glob("*.json"))
    if not files:
        raise InputError(
            f"{path} is no run that was evaluated: it holds neither records nor cards; give the --out folder of "
            "`robustiqa evaluate`, `demo`, `reproduce` or `leaderboard`."
        )
    return [read_card(file) for file in files], []


def _cards_of_run(folder: Path) -> tuple[Sequence[Card], Sequence[Card]]:
    from zlib import error as ZlibError

    from robustiqa.evaluation.cards_from_records import make_cards
    from robustiqa.evaluation.leaderboard import without_partial

    try:
        evaluation = runs.read_runs([folder])
    except RobustIQAError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, ZlibError) as error:
        raise InputError(f"the records in {folder} are damaged ({type(error).__name__}); evaluate again.") from error
    return without_partial(make_cards(evaluation))


def _write(board: Leaderboard, folder: Path) -> dict[str, Any]:
    """Writes the cards and both pages; what was written, by kind."""
    from robustiqa.core.run_folder import write_atomically
    from robustiqa.evaluation.cards import CARDS_FOLDER
    from robustiqa.report.leaderboard import leaderboard_markdown, leaderboard_page

    cards = [card.write(folder / CARDS_FOLDER) for card in board.entries]
    write_atomically(folder / MARKDOWN, leaderboard_markdown(board))
    page = leaderboard_page(board).to_html(folder / PAGE)
    return {"page": page, "markdown": folder / MARKDOWN, "cards": cards}
