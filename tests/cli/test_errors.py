"""Whatever goes wrong is one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from robustiqa.cli import app, listing
from robustiqa.core.errors import DataError, WorkFailedError
from tests.cli.conftest import Run


@pytest.fixture
def fail_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `robustiqa list` raise."""

    def plant(error: BaseException) -> None:
        def fail() -> listing.Entries:
            raise error

        monkeypatch.setattr(listing, "_weights", fail)

    return plant


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("scor",), "No such command 'scor'. Did you mean"),
        (("score", "a.png", "--ep", "3"), "No such option: --ep (Possible options: --eps"),
        (("score",), "Missing argument 'PATH"),
        (("score", "a.png", "--batch-size", "0"), "Invalid value for '--batch-size': "),
        (("train", "demo", "--out", "x"), "Missing option '--data'"),
        (("list", "attack"), "unknown kind 'attack'; did you mean 'attacks'? Known: models, attacks, fits, objectives"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(sentence)  # the parser's own words follow, which differ between its versions
    assert ran.err.count("\n") == 1


def test_a_wrong_option_says_where_help_is(run: Run) -> None:
    assert run("data", "info").err.endswith(" (see `robustiqa data info --help`).\n")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (DataError("there is no such dataset."), 2, "there is no such dataset."),
        (WorkFailedError("the loss is not finite."), 1, "the loss is not finite."),
        (
            ZeroDivisionError("division\nby zero"),
            1,
            "unexpected error ZeroDivisionError: division by zero; run with --debug for the traceback.",
        ),
        (
            PermissionError(13, "Permission denied", "/somewhere"),
            1,
            "/somewhere can't be used (Permission denied); check the path and its permissions.",
        ),
        (MemoryError(), 1, "the memory does not suffice; pass a smaller --batch-size."),
    ],
)
def test_an_error_of_the_work_is_one_sentence_and_its_exit_code(
    run: Run, fail_with: Callable[[BaseException], None], error: Exception, code: int, sentence: str
) -> None:
    fail_with(error)
    ran = run("list", "weights")
    assert (ran.code, ran.out, ran.err) == (code, "", f"{sentence}\n")


def test_with_json_the_error_is_also_the_document(run: Run, fail_with: Callable[[BaseException], None]) -> None:
    fail_with(DataError("there is no such dataset."))
    ran = run("list", "weights", "--json")
    assert ran.code == 2
    assert ran.document == {"schema_version": 1, "error": "there is no such dataset.", "exit_code": 2}
    assert ran.err == "there is no such dataset.\n"


@pytest.mark.parametrize("arguments", [("--debug", "list", "weights"), ("list", "weights", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(
    run: Run, fail_with: Callable[[BaseException], None], arguments: tuple[str, ...]
) -> None:
    fail_with(ZeroDivisionError("division by zero"))
    ran = run(*arguments)
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert ran.err.endswith("; run with --debug for the traceback.\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_is_quiet_and_130(
    run: Run, fail_with: Callable[[BaseException], None], error: BaseException
) -> None:
    fail_with(error)
    ran = run("list", "weights")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_an_unwritable_folder_is_a_sentence(run: Run, weights: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "below"
    ran = run("attack", photos / "ann.png", "--weights", weights["base"], "--attack", "random_sign", "--out", folder)
    assert ran.code == 1
    assert ran.err == f"{folder} can't be used (Not a directory); check the path and its permissions.\n"


def test_the_parser_whose_errors_are_caught_is_typers_own() -> None:
    assert app.UsageError.__name__ == "UsageError"
    assert issubclass(typer.BadParameter, app.UsageError)
