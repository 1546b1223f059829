"""Declared experiments as files: by name in `specs/`, or anybody's TOML."""

from __future__ import annotations

import tomllib
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
    folder = resources.files("robustiqa.experiments") / "specs"
    known = sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))
    if Path(name).suffix == ".toml" and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    elif str(name) in known:
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise SpecError(f"unknown experiment {str(name)!r}{did_you_mean(str(name), known)} Known: {', '.join(known)}.")
    return tomllib.loads(text)
