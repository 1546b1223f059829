"""`robustiqa list`: the names that other verbs take, each with a line on what it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from robustiqa.cli import options
from robustiqa.cli.output import Output
from robustiqa.cli.weights_texts import metadata_document, metadata_text
from robustiqa.core.errors import InputError, UnknownNameError, WeightsError
from robustiqa.core.registry import Registry, did_you_mean

REGISTRIES = {
    "models": "robustiqa.models:models",
    "attacks": "robustiqa.attacks:attacks",
    "fits": "robustiqa.training.names:fits",
    "objectives": "robustiqa.attacks.names:objectives",
    "defenses": "robustiqa.defenses:penalties",
    "estimators": "robustiqa.defenses:estimators",
    "datasets": "robustiqa.datasets:datasets",
    "metrics": "robustiqa.metrics:metrics",
}
DESCRIBED_BY_MODULE = ("models", "datasets")  # their files open with a card; other files hold several things
Entry = dict[str, Any]  # at least a `name` and a `summary`
Entries = list[Entry]


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help=f"{', '.join(REGISTRIES)}, recipes, experiments or weights.",
            show_default="all kinds",
        ),
    ] = None,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Weights files, or folders that hold some.", show_default=False),
    ] = None,
    recursive: options.Recursive = False,
    json: options.Json = False,
) -> int:
    """List the names that other verbs take; of weights also what files or folders say about themselves.

    Example: robustiqa list attacks, or robustiqa list weights runs --recursive
    """
    output = Output("list", json)
    if kind == "weights" and paths:
        return _list_files(output, paths, recursive)
    if paths or recursive:
        raise InputError("PATH and --recursive go with `list weights PATH`; the other kinds have names alone.")
    sources: dict[str, Callable[[], Entries]] = {
        **{name: lambda name=name: _registered(name) for name in REGISTRIES},  # type: ignore[misc]
        "recipes": lambda: _files("robustiqa.training", "recipes"),
        "experiments": lambda: _files("robustiqa.experiments", "specs"),
        "weights": _weights,
    }
    if kind is not None and kind not in sources:
        raise UnknownNameError(f"unknown kind {kind!r}{did_you_mean(kind, list(sources))} Known: {', '.join(sources)}.")
    found = {name: list_entries() for name, list_entries in sources.items() if kind in (None, name)}
    for place, (name, entries) in enumerate(found.items()):
        if place:
            output.line()
        _print(output, entries, "" if kind else name)
    output.document(**found)
    return 0


def _print(output: Output, entries: Entries, title: str = "") -> None:
    rows = [[str(entry["name"]), entry["summary"]] for entry in entries] or [["none", ""]]
    output.table(["name", "what it is"], rows, title=title, words=2)


def _list_files(output: Output, paths: Sequence[Path], recursive: bool) -> int:
    """Lists weights files; one that can't be read is a problem with its sentence."""
    from robustiqa.models.files import find_weights_files

    entries, problems = [], []
    for path in find_weights_files(paths, recursive):
        try:
            entries.append(describe_file(str(path), path))
        except WeightsError as error:
            problems.append({"path": path, "sentence": str(error)})
    _print(output, entries)
    for problem in problems:
        output.note(str(problem["sentence"]))
    output.document(weights=entries, problems=problems)
    return 1 if problems else 0


def _registered(kind: str) -> Entries:
    """Names of one kind, each with the first line of what its source says; nothing of it is imported."""
    module, _, attribute = REGISTRIES[kind].partition(":")
    registry: Registry[Any] = getattr(importlib.import_module(module), attribute)
    of_module = kind in DESCRIBED_BY_MODULE
    return [
        {"name": name, "summary": _first_line(registry.docstring(name, of_module=of_module))}
        for name in registry.names()
    ]


def _first_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[0].rstrip(".") if lines else ""


def _files(package: str, folder: str) -> Entries:
    """Recipes or experiments by name; each file opens with a comment that says what it is."""
    from importlib import resources

    files = [path for path in (resources.files(package) / folder).iterdir() if path.name.endswith(".toml")]
    texts = {path.name.removesuffix(".toml"): path.read_text(encoding="utf-8") for path in files}
    return [{"name": name, "summary": _first_line(texts[name].lstrip("# "))} for name in sorted(texts)]


def _weights() -> Entries:
    from robustiqa.models.files import shipped_weights

    return [describe_file(name, path) for name, path in shipped_weights().items()]


def describe_file(name: str, path: Path) -> Entry:
    """What a weights file says about itself; its tensors are not read.

    Raises:
        WeightsError: if it can't be read, or what it says can't be meant.
    """
    from robustiqa.core.tensor_files import file_hash
    from robustiqa.models.files import read_metadata
    from robustiqa.models.metadata import parse_metadata

    said = parse_metadata(read_metadata(path), path)
    size, sha256 = path.stat().st_size, file_hash(path)
    return {
        "name": name,
        "summary": f"{metadata_text(said)}; {size / 1e6:.1f} MB, SHA-256 {sha256}",
        "path": path,
        "bytes": size,
        "sha256": sha256,
        **metadata_document(said),
    }
