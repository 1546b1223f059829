"""Lazy registries: a table of `name -> "module:Class"` strings, so that listing names imports nothing."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from robustiqa.core.errors import InputError, UnknownNameError

T = TypeVar("T")


def did_you_mean(name: str, known: list[str]) -> str:
    """The half sentence `; did you mean 'fgsm'?`, or nothing when no known name is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else "."


class Registry(Generic[T]):
    """Names of one kind of thing and where each is defined; imports a module when its name is asked for.

    Args:
        kind: What the names are, in the singular: `attack`, `model`, ...
        table: `name -> "package.module:attribute"`.
    """

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def get(self, name: str) -> type[T]:
        """The class or factory behind `name`.

        Raises:
            UnknownNameError: with the closest known name and the list of all.
        """
        module, attribute = self._place(name)
        found: type[T] = getattr(importlib.import_module(module), attribute)
        return found

    def docstring(self, name: str, *, of_module: bool = False) -> str:
        """What the class or factory behind `name` says of itself, read off its source, so that nothing is imported.

        Args:
            name: One of `names`.
            of_module: Whether to take what its file says instead.

        Raises:
            UnknownNameError: as `get`.
        """
        module, attribute = self._place(name)
        tree = _syntax_tree(module)
        if of_module:
            return ast.get_docstring(tree) or ""
        kinds = ast.ClassDef | ast.FunctionDef
        defined = [part for part in tree.body if isinstance(part, kinds) and part.name == attribute]
        return ast.get_docstring(defined[-1]) or ""

    def _place(self, name: str) -> tuple[str, str]:
        """Module and attribute."""
        if name not in self._table:
            hint = did_you_mean(name, self.names())
            raise UnknownNameError(f"unknown {self.kind} {name!r}{hint} Known: {', '.join(self.names())}.")
        module, _, attribute = self._table[name].partition(":")
        return module, attribute

    def create(self, name: str, **options: Any) -> T:
        """Builds the thing called `name` from keyword options.

        Raises:
            UnknownNameError: if the registry does not hold `name`.
            InputError: if the thing takes no such option.
        """
        factory = self.get(name)
        accepted = [
            option
            for option, parameter in inspect.signature(factory).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD and option != "self"
        ]
        for option in options:
            if option not in accepted:
                hint = did_you_mean(option, accepted)
                raise InputError(f"{self.kind} {name!r} has no option {option!r}{hint} Options: {', '.join(accepted)}.")
        return factory(**options)


def _syntax_tree(module: str) -> ast.Module:
    """A module's source as a tree; its packages are imported, it is not."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no source of {module!r}", name=module)
    return ast.parse(Path(found.origin).read_text(encoding="utf-8"))
