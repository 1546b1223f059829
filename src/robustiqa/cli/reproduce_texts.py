"""What `robustiqa reproduce` is told, as texts: pairs, options that do not go together, the command that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from robustiqa.core.errors import InputError

# Option to the kinds of experiments that take it, and how they are called.
TAKEN_BY = {
    **dict.fromkeys(
        ("--backbone-weights", "--cache", "--workers", "--set"),
        (("comparison", "benchmark"), "a comparison that trains"),
    ),
    **dict.fromkeys(("--weights", "--lpips-weights"), (("plan",), "a plan of attacks")),
    **dict.fromkeys(("--model", "--trained", "--seeds"), (("benchmark",), "a benchmark of several models")),
}
DOES = {"comparison": "trains", "plan": "only attacks", "benchmark": "trains"}


def refuse_strange(kind: str, given: Mapping[str, object]) -> None:
    """Refuses options of another kind of experiment, which would be passed by in silence.

    Args:
        kind: `comparison`, `plan` or `benchmark`.
        given: Options to what was said; nothing where it is false.

    Raises:
        InputError: naming the first.
    """
    for option, (kinds, named) in TAKEN_BY.items():
        if given.get(option) and kind not in kinds:
            raise InputError(f"{option} goes with {named}, and this experiment {DOES[kind]}.")


def named_files(texts: Sequence[str] | None, option: str, name_of: str = "NAME") -> dict[str, str]:
    """`NAME=FILE` texts as names to files.

    Raises:
        InputError: if one is no pair, or names a file twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, source = text.partition("=")
        if not (name and equals and source):
            raise InputError(f"{option} takes {name_of}=FILE, got {text!r}.")
        if name in found:
            raise InputError(f"{option} is given twice for {name!r}; drop one.")
        found[name] = source
    return found


def shown_command(experiment: str, data: str, options: Mapping[str, Sequence[str]], quick: bool) -> str:
    """What makes a report again, anywhere: files by what they are, not by where they lie here.

    Args:
        experiment: Its name or file.
        data: The dataset, as it was named.
        options: Option to what it was given, in order.
        quick: Whether it was a quick run.
    """
    kind, separator, _ = data.partition(":")
    place = f"{kind}:PATH" if separator else data if data == "builtin" else "PATH"
    parts = [f"robustiqa reproduce {Path(experiment).name} --data {place} --out FOLDER"]
    parts += [f"{option} {_without_path(text)}" for option, texts in options.items() for text in texts]
    return " ".join([*parts, *(["--quick"] if quick else [])])


def _without_path(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"{name}=FILE" if "/" in value or "\\" in value else pair
