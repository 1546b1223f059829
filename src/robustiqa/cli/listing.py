"""`robustiqa list`: the names that other verbs take, each with a line on what it is."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from robustiqa.cli import options
from robustiqa.cli.output import Output
from robustiqa.core.errors import UnknownNameError
from robustiqa.core.registry import did_you_mean

REGISTRIES = {
    "models": "robustiqa.models:models",
    "attacks": "robustiqa.attacks:attacks",
    "objectives": "robustiqa.attacks.objectives:objectives",
    "defenses": "robustiqa.defenses:penalties",
    "estimators": "robustiqa.defenses:estimators",
    "datasets": "robustiqa.datasets:datasets",
    "metrics": "robustiqa.metrics:metrics",
}
DESCRIBED_BY_MODULE = ("models", "datasets")  # their files open with a card; other files hold several things
Entries = list[tuple[str, str]]


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help=f"{', '.join(REGISTRIES)}, recipes, experiments or weights.",
            show_default="all kinds",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """List the names that other verbs take.

    Example: robustiqa list attacks
    """
    output = Output("list", json)
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
        output.table(["name", "what it is"], entries or [("none", "")], title="" if kind else name, words=2)
    output.document(
        **{name: [{"name": entry, "summary": text} for entry, text in entries] for name, entries in found.items()}
    )
    return 0


def _registered(kind: str) -> Entries:
    module, _, attribute = REGISTRIES[kind].partition(":")
    registry = getattr(importlib.import_module(module), attribute)
    entries = []
    for name in registry.names():
        thing = registry.get(name)
        described = sys.modules[thing.__module__] if kind in DESCRIBED_BY_MODULE else thing
        entries.append((name, _first_line(described.__doc__)))
    return entries


def _first_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[0].rstrip(".") if lines else ""


def _files(package: str, folder: str) -> Entries:
    """Recipes or experiments by name; each file opens with a comment that says what it is."""
    from importlib import resources

    files = [path for path in (resources.files(package) / folder).iterdir() if path.name.endswith(".toml")]
    texts = {path.name.removesuffix(".toml"): path.read_text(encoding="utf-8") for path in files}
    return [(name, _first_line(texts[name].lstrip("# "))) for name in sorted(texts)]


def _weights() -> Entries:
    from robustiqa.models.loading import shipped_weights
    from robustiqa.models.weights import file_hash

    return [
        (name, f"{path.stat().st_size / 1e6:.1f} MB, SHA-256 {file_hash(path)}")
        for name, path in shipped_weights().items()
    ]
