"""Weights files: safetensors with metadata, and every form published checkpoints come in; loaded strictly."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from robustiqa.core.errors import WeightsError

SCHEMA_VERSION = 1
METADATA_KEY = "robustiqa"
NESTED_UNDER = ("model", "state_dict", "params")  # published files wrap the state dict in one of these


@dataclass(frozen=True)
class KeyMap:
    """How the names of a published checkpoint become ours.

    Attributes:
        renames: (published prefix, our prefix); the first that matches is replaced.
        discards: Published prefixes of entries that nothing uses.
    """

    renames: tuple[tuple[str, str], ...]
    discards: tuple[str, ...] = ()

    def apply(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict under our names."""
        kept = {name: value for name, value in state.items() if not name.startswith(self.discards or ("\0",))}
        return {self._rename(name): value for name, value in kept.items()}

    def _rename(self, name: str) -> str:
        for published, ours in self.renames:
            if name.startswith(published):
                return ours + name[len(published) :]
        return name


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file holds: the state dict without wrapping or prefix, and our metadata if it has any.

    Attributes:
        state: Named tensors.
        metadata: Ours; empty for published checkpoints.
        beside: What stands beside a wrapped state dict, such as an optimizer or a fitted score mapping.
    """

    state: dict[str, Tensor] = field(repr=False)
    metadata: dict[str, Any]
    beside: dict[str, Any] = field(default_factory=dict, repr=False)


def read_weights(path: Path) -> WeightsFile:
    """Reads safetensors, or a pickle through `weights_only=True`; nested forms and `module.` prefixes are undone.

    Raises:
        WeightsError: if the file is missing, unreadable, or holds anything but named tensors.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.")
    metadata: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        with _opened(path) as file:
            metadata = _metadata_in(file.metadata(), path)
            state: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    else:
        state = _read_pickle(path)
    beside: dict[str, Any] = {}
    while isinstance(state, dict) and any(isinstance(state.get(name), dict) for name in NESTED_UNDER):
        wrapper = next(name for name in NESTED_UNDER if isinstance(state.get(name), dict))
        beside |= {name: value for name, value in state.items() if name != wrapper}
        state = state[wrapper]
    return WeightsFile(_checked_state(state, path), metadata, beside)


def read_metadata(path: Path) -> dict[str, Any]:
    """What a weights file says about itself, without reading its tensors; empty for any other file than safetensors.

    Raises:
        WeightsError: if the file is missing or unreadable.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.")
    if path.suffix != ".safetensors":
        return {}
    with _opened(path) as file:
        return _metadata_in(file.metadata(), path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
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


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            with _numpy_numbers():
                return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}).") from None
    except Exception as error:  # bytes that are no pickle fail in any way at all
        called = re.search(r"GLOBAL (\S+)", str(error))
        if called is not None:
            raise WeightsError(
                f"{path} is refused, for loading it would run {called[1]}; weights files hold plain tensors only."
            ) from None
        raise WeightsError(
            f"{path} is not a weights file, or is cut short; safetensors and torch.save are read."
        ) from None


def _numpy_numbers() -> AbstractContextManager[None]:
    """Lets `weights_only=True` read numpy's floating-point numbers, which fitted values in checkpoints often are.

    Old files know numpy's function for them by its old name, which torch before 2.6 can't be told.
    """
    if TorchVersion(torch.__version__) < "2.6":
        return nullcontext()
    scalar: Any = np.float64().__reduce__()[0]
    names: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return torch.serialization.safe_globals([*names, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8"))])


def _checked_state(state: Any, path: Path) -> dict[str, Tensor]:
    named = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    )
    if not named or not state:
        raise WeightsError(f"{path} does not hold a state dict of named tensors.")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return dict(state)


@dataclass(frozen=True)
class Mismatch:
    """Where a state dict and a module differ; each sorted by name.

    Attributes:
        missing: Entries of the module that the state dict lacks.
        unknown: Entries that the module has no place for.
        misshapen: Entries of both whose shapes differ.
    """

    missing: list[str]
    unknown: list[str]
    misshapen: list[str]


def compare_entries(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Mismatch:
    """Where a state dict differs from a module's own, by names and shapes."""
    return Mismatch(
        missing=sorted(set(wanted) - set(state)),
        unknown=sorted(set(state) - set(wanted)),
        misshapen=[name for name in sorted(set(wanted) & set(state)) if wanted[name].shape != state[name].shape],
    )


def check_entries(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    """Checks that a state dict has a module's entries, all of them and no other, each of the same shape.

    Raises:
        WeightsError: naming the first entry that is missing, left over, or of another shape.
    """
    found = compare_entries(wanted, state)
    for problem, names in (("lack", found.missing), ("hold unknown", found.unknown)):
        if names:
            raise WeightsError(
                f"weights for {what} {problem} {names[0]!r} (first of {len(names)}); "
                "the file is for another model, backbone or version."
            )
    for name in found.misshapen:
        raise WeightsError(
            f"weights for {what} have {name!r} of shape {tuple(state[name].shape)}, "
            f"expected {tuple(wanted[name].shape)}; the file is for another model, backbone or version."
        )


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Copies a state dict into a module; every name and shape must match.

    Raises:
        WeightsError: naming the first entry that is missing, left over, or of another shape.
    """
    check_entries(module.state_dict(), state, what)
    module.load_state_dict(dict(state))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 16 hexadecimal digits; what records name weights by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def state_hash(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of a module's state, 16 hexadecimal digits; equal weights, equal hash."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_weights(module: nn.Module, path: Path, metadata: Mapping[str, Any], dtype: torch.dtype | None = None) -> None:
    """Writes a module's state dict as `save_state` does.

    Args:
        module: Whose state dict to write.
        path: Where to.
        metadata: Model name and options, scale, calibration, dataset, training spec: anything JSON holds.
        dtype: What to store floating-point entries as; their own type if None.
    """
    state = {
        name: value.detach().to("cpu", dtype if dtype and value.is_floating_point() else None).contiguous()
        for name, value in module.state_dict().items()
    }
    save_state(state, path, metadata)


def save_state(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a safetensors file with metadata: beside the target, synced, then renamed, so that no kill leaves half.

    Args:
        state: Named tensors on the CPU, contiguous, each with memory of its own.
        path: Where to.
        metadata: Anything JSON holds; the schema version is added.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = json.dumps({**metadata, "schema_version": SCHEMA_VERSION}, sort_keys=True)
    save_file(dict(state), beside, metadata={METADATA_KEY: text})
    beside.chmod(0o644)  # safetensors makes it private
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)
