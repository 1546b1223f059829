"""Declared experiments as files: by name in `specs/`, or anybody's TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean


def read_spec(name: str | Path) -> dict[str, Any]:
    """The values of an experiment, by name or as a TOML file.

    Raises:
        SpecError: if there is none.
    """
    return read_toml(name, "specs", "experiment")


def spec_names() -> list[str]:
    """Names of the experiments that ship with the package."""
    return _names("specs")


def read_toml(name: str | Path, folder: str, what: str) -> dict[str, Any]:
    """The values of a file that ships in a folder of this package, by name, or of any TOML file.

    Args:
        name: Of the file without its ending, or a path.
        folder: Beside this module.
        what: It is, for the sentence that says there is none.

    Raises:
        SpecError: if there is none, or it is no TOML.
    """
    known = _names(folder)
    if Path(name).suffix == ".toml" and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    elif str(name) in known:
        text = (_folder(folder) / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise SpecError(f"unknown {what} {str(name)!r}{did_you_mean(str(name), known)} Known: {', '.join(known)}.")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{what} {name} is not valid TOML: {error}.") from None


def check_fields(values: Mapping[str, Any], what: str, needed: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Refuses a table of a file that has a field it can't have, or lacks one that it needs.

    Raises:
        SpecError: naming the first such field.
    """
    known = [*needed, *optional]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SpecError(f"{what} has no {unknown[0]!r}{did_you_mean(unknown[0], known)}")
    missing = [name for name in needed if name not in values]
    if missing:
        raise SpecError(f"{what} needs {missing[0]!r}.")


def _folder(name: str) -> Any:
    return resources.files("robustiqa.experiments") / name


def _names(folder: str) -> list[str]:
    return sorted(path.name.removesuffix(".toml") for path in _folder(folder).iterdir() if path.name.endswith(".toml"))
