"""Small texts that options hold: values, `name=value` pairs, `name:field=value,...` calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from robustiqa.core.errors import InputError


def parse_value(text: str) -> Any:
    """A number, `true`, `false`, numbers between commas as a tuple, or else the text itself."""
    text = text.strip()
    if "," in text:
        return tuple(parse_value(part) for part in text.split(","))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def parse_pairs(texts: Iterable[str], option: str) -> dict[str, Any]:
    """`name=value` texts as a mapping.

    Raises:
        InputError: naming the first text that has no `=` or no name.
    """
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{option} takes NAME=VALUE, got {text!r}.")
        pairs[name.strip()] = parse_value(value)
    return pairs


def parse_call(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """`ifgsm:eps=4/255,steps=10` as a name and its fields.

    Raises:
        InputError: if a field has no `=`.
    """
    name, _, rest = text.partition(":")
    parts = [part for part in rest.split(",") if part.strip()]
    if any("=" not in part for part in parts):
        raise InputError(f"{option} takes NAME or NAME:FIELD=VALUE,FIELD=VALUE, got {text!r}.")
    return name.strip(), parse_pairs(parts, option)
