"""Which weights files there are, and what they say about themselves; neither needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from robustiqa.core.errors import WeightsError
from robustiqa.core.registry import did_you_mean
from robustiqa.core.run_folder import WEIGHTS_FILE
from robustiqa.core.tensor_files import read_tensors

SUFFIXES = (".safetensors", ".pth", ".pt", ".pkl")


def shipped_weights() -> dict[str, Path]:
    """Names of the weights inside the package, and where they lie."""
    folder = Path(str(resources.files("robustiqa") / "models" / "shipped"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_weights_files(paths: Sequence[Path], recursive: bool = False) -> list[Path]:
    """Weights files that paths stand for, a folder for those in it, sorted; each once, hidden ones left out.

    Args:
        paths: Files of any name, and folders.
        recursive: Whether to look below the folders, too.

    Raises:
        WeightsError: if a path is not there, or a folder holds none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.glob("**/*" if recursive else "*") if _is_weights(file, path))
            if not inside:
                hint = "" if recursive else "; --recursive looks below it"
                raise WeightsError(f"there is no weights file ({', '.join(SUFFIXES)}) in {path}{hint}.")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise WeightsError(f"there is no weights file or folder {path}.")
    return list(found)


def _is_weights(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix in SUFFIXES and file.is_file() and not hidden


def find_weights(weights: str | Path) -> Path:
    """The file that a path, a training run's folder or the name of shipped weights stands for.

    Raises:
        WeightsError: if there is neither such a file nor such a name.
    """
    path = Path(weights)
    shipped = shipped_weights()
    for file in (path, path / WEIGHTS_FILE):
        if file.is_file():
            return file
    if str(weights) in shipped:
        return shipped[str(weights)]
    hint = did_you_mean(str(weights), list(shipped))
    raise WeightsError(f"there is no weights file {weights}{hint} Shipped weights: {', '.join(shipped) or 'none'}.")


def read_metadata(path: Path) -> dict[str, Any]:
    """What a weights file says about itself, without reading its tensors; empty for any other file than safetensors.

    Raises:
        WeightsError: if the file is missing or unreadable.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.")
    if path.suffix != ".safetensors":
        return {}
    return read_tensors(path, tensors=False).metadata
