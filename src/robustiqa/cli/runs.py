"""Evaluation runs on disk: their records, and beside them what a report must know but the records don't say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.core.errors import InputError

if TYPE_CHECKING:
    from robustiqa.evaluation.views import Evaluation

NOTES_FILE = "notes.json"
DEFENSE = "NT"

Base = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="Baseline of the comparison; again for each further seed."),
]
Defended = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]LABEL",
        help="Model with the defense, which tables call +NAME (NT if it is left out); as often as --base, seeds paired "
        "by position.",
    ),
]
Control = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=LABEL", help="Model that the defense must beat, such as noise=LABEL; repeatable."),
]


def comparison_notes(
    base: Sequence[str] | None, defended: Sequence[str] | None, controls: Sequence[str] | None
) -> dict[str, Any] | None:
    """What a report compares, or None where nothing is compared.

    Raises:
        InputError: if one side is named without the other, a control has no name, or a defense has several.
    """
    if not (base or defended or controls):
        return None
    if not (base and defended):
        raise InputError("a comparison needs --base LABEL and --defended LABEL; give both.")
    grouped: dict[str, list[str]] = {}
    for text in controls or ():
        name, equals, label = text.partition("=")
        if not (name and equals and label):
            raise InputError(f"--control takes NAME=LABEL, got {text!r}.")
        grouped.setdefault(name, []).append(label)
    pairs = [text.rpartition("=") for text in defended]
    names = {name if equals else DEFENSE for name, equals, _ in pairs}
    if len(names) > 1 or not all(names):
        raise InputError(
            f"--defended takes LABEL or NAME=LABEL, with one NAME for all seeds, got {', '.join(defended)}."
        )
    return {
        "base": list(base),
        "defended": [label for _, _, label in pairs],
        "defense": names.pop(),
        "controls": grouped,
    }


def check_labels(comparison: Mapping[str, Any] | None, labels: Sequence[str]) -> None:
    """Refuses a comparison of models that are not there, before hours are spent on it.

    Raises:
        InputError: naming the first.
    """
    if comparison is None:
        return
    controls = [label for named in comparison["controls"].values() for label in named]
    for label in (*comparison["base"], *comparison["defended"], *controls):
        if label not in labels:
            raise InputError(f"the comparison names {label!r}, but the models are labeled {', '.join(labels)}.")


def write_notes(folder: Path, notes: Mapping[str, Any]) -> None:
    """Keeps notes beside the records, so that `robustiqa report` finds them."""
    from robustiqa.core.run_folder import write_atomically

    write_atomically(folder / NOTES_FILE, json.dumps(notes, indent=1, sort_keys=True) + "\n")


def read_runs(folders: Sequence[Path], comparison: Mapping[str, Any] | None = None) -> Evaluation:
    """The evaluation that run folders hold together.

    Args:
        folders: Of `robustiqa evaluate`, or exported records; all of the same photographs.
        comparison: What to compare, instead of what their notes say.

    Raises:
        InputError: if a folder holds no records, or one of other photographs.
    """
    from robustiqa.evaluation.exported import merge

    parts = [_read_run(folder) for folder in folders]
    for folder, part in zip(folders, parts, strict=True):
        if part.info["dataset"] != parts[0].info["dataset"]:
            raise InputError(f"{folder} is of other photographs than {folders[0]}; report them one at a time.")
    notes: dict[str, Any] = {}
    for part in parts:
        by_model = {
            name: {**notes.get(name, {}), **part.info["info"].get(name, {})} for name in ("calibration", "probes")
        }
        notes |= part.info["info"] | by_model
    if comparison is not None:
        notes["comparison"] = comparison
    notes.setdefault("commands", [f"robustiqa report {' '.join(map(str, folders))}"])
    return merge(parts, notes)


def holds_records(folder: Path) -> bool:
    """Whether a folder is a run of `robustiqa evaluate`, or of exported records."""
    from robustiqa.core.run_folder import SPEC_FILE
    from robustiqa.evaluation.exported import INFO_FILE
    from robustiqa.evaluation.records import RECORDS_FILE

    return (folder / INFO_FILE).is_file() or all((folder / name).is_file() for name in (SPEC_FILE, RECORDS_FILE))


def _read_run(folder: Path) -> Evaluation:
    from robustiqa.core.run_folder import SPEC_FILE
    from robustiqa.evaluation.exported import INFO_FILE, load_exported
    from robustiqa.evaluation.records import RECORDS_FILE, Record
    from robustiqa.evaluation.views import Evaluation

    if not holds_records(folder):
        raise InputError(f"{folder} holds no records; give the --out folder of `robustiqa evaluate`.")
    if (folder / INFO_FILE).is_file():
        return load_exported(folder)
    run = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
    whole = (folder / RECORDS_FILE).read_bytes().rpartition(b"\n")[0]  # a run in progress may be within a line
    records = tuple(Record.from_line(line) for line in whole.decode().splitlines())
    notes_file = folder / NOTES_FILE
    notes = json.loads(notes_file.read_text(encoding="utf-8")) if notes_file.is_file() else {}
    info = {**run["spec"], "environment": run["environment"]}
    return Evaluation(records, {**info, "info": {**info.get("info", {}), **notes}})
