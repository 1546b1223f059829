"""The program `robustiqa`: its verbs, and how anything that goes wrong becomes one sentence and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from robustiqa.cli import (
    attack,
    data,
    demo,
    doctor,
    evaluate,
    fit,
    leaderboard,
    listing,
    output,
    processes,
    report,
    reproduce,
    score,
    train,
    weights_files,
)
from robustiqa.core.errors import RobustIQAError

FAILED, WRONG_REQUEST, INTERRUPTED = 1, 2, 130
UsageError = typer.BadParameter.__mro__[1]  # of the click that typer brings along, whichever that is

app = typer.Typer(
    name="robustiqa",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help needs no import of rich and takes a fifth of a second
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def robustiqa(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand after any verb.")
    ] = False,
) -> None:
    """Train, attack, measure and defend no-reference image quality models.

    Exit codes: 0 all is well, 1 the work or a part of the inputs failed, 2 the request was wrong.
    Run `robustiqa VERB --help` for a verb's options.
    """
    processes.refuse_alone(context.invoked_subcommand)


app.command()(demo.demo)
app.command()(score.score)
app.command()(attack.attack)
app.command()(train.train)
app.command()(fit.fit)
app.command()(evaluate.evaluate)
app.command()(report.report)
app.command()(leaderboard.leaderboard)
app.command()(reproduce.reproduce)
app.command("list")(listing.list_names)
app.add_typer(data.app, name="data")
app.add_typer(weights_files.app, name="weights")
app.command()(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: Without the program's name; those of the process if None.

    Returns:
        The exit code: 0 all is well, 1 the work or a part of the inputs failed, 2 the request was wrong,
        130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        with processes.only_the_first_prints():
            returned = typer.main.get_command(app).main(given, prog_name="robustiqa", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        sentence, code = _explain(error)
        if not processes.speaks():
            return code
        output.print_error(sentence)
        if "--json" in given:
            output.print_document({"schema_version": output.SCHEMA_VERSION, "error": sentence, "exit_code": code})
        return code
    return returned if isinstance(returned, int) else 0


def _explain(error: Exception) -> tuple[str, int]:
    """One sentence on an error, and its exit code."""
    if isinstance(error, RobustIQAError):
        return str(error), error.exit_code
    if isinstance(error, UsageError):
        return _explain_usage(error), WRONG_REQUEST
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} can't be used ({error.strerror}); check the path and its permissions.", FAILED
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's; not imported here
        return "the memory does not suffice; pass a smaller --batch-size.", FAILED
    said = " ".join(str(error).split())
    lost = processes.explain_lost(said)
    if lost is not None:
        return lost, FAILED
    return f"unexpected error {type(error).__name__}: {said}; run with --debug for the traceback.", FAILED


def _explain_usage(error: Exception) -> str:
    """The parser's complaint as one sentence that says where help is."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if message.startswith("Usage:"):  # nothing was asked for: the help itself
        return message
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "robustiqa"
    return f"{message.strip().rstrip('.')} (see `{command} --help`)."
