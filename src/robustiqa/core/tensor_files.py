"""Files of named tensors that say what they are for: safetensors with metadata, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from robustiqa.core.errors import WeightsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SCHEMA_VERSION = 1
METADATA_KEY = "robustiqa"


@dataclass(frozen=True)
class TensorFile:
    """What such a file holds.

    Attributes:
        tensors: By name.
        metadata: Anything JSON holds; empty for files of others.
    """

    tensors: dict[str, Tensor] = field(repr=False)
    metadata: dict[str, Any]


def read_tensors(path: Path, *, tensors: bool = True) -> TensorFile:
    """Reads a safetensors file.

    Args:
        path: The file.
        tensors: Whether to read them, too; the metadata alone is quick.

    Raises:
        WeightsError: if the file is missing, no safetensors file, or cut short, or its metadata is no JSON object.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.")
    try:
        with safe_open(path, "pt" if tensors else "np") as file:
            metadata = _metadata_in(file.metadata(), path)
            names = file.keys() if tensors else []
            return TensorFile({name: file.get_tensor(name) for name in names}, metadata)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file or is cut short ({error}).") from None


def _metadata_in(header: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    try:
        said = json.loads((header or {}).get(METADATA_KEY, "{}"))
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise WeightsError(f"{path} has metadata that is no JSON object; the file was not written by robustiqa.")
    return said


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Writes a safetensors file beside the target, syncs and renames it, so that no kill leaves half.

    Args:
        path: Where to.
        tensors: By name.
        metadata: Anything JSON holds; the schema version is added.
        dtype: What to store floating-point tensors as; their own type if None.
    """
    from safetensors.torch import save_file  # imports torch, which reading metadata does not need

    stored = {
        name: value.detach().to("cpu", dtype if dtype and value.is_floating_point() else None).contiguous()
        for name, value in tensors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = json.dumps({"schema_version": SCHEMA_VERSION, **metadata}, sort_keys=True)
    save_file(stored, beside, metadata={METADATA_KEY: text})
    beside.chmod(0o644)  # safetensors makes it private
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 16 hexadecimal digits; what records name weights by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


FileStamp = tuple[str, int, int]


def file_stamp(path: Path) -> FileStamp:
    """Path, time of change and size: what tells a file that was replaced from the one that was read.

    Raises:
        WeightsError: if there is no such file.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.")
    known = path.stat()
    return str(path), known.st_mtime_ns, known.st_size


def known_hash(path: Path) -> str:
    """As `file_hash`, but a file that has not changed since is not read again.

    Raises:
        WeightsError: if there is no such file.
    """
    return _hash_of(file_stamp(path))


@lru_cache(maxsize=64)
def _hash_of(stamp: FileStamp) -> str:
    return file_hash(Path(stamp[0]))
