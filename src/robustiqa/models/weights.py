"""Weights files: safetensors with metadata, and every form published checkpoints come in; loaded strictly."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from robustiqa.core.errors import WeightsError
from robustiqa.core.tensor_files import file_hash as file_hash
from robustiqa.core.tensor_files import read_tensors, write_tensors

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
        file = read_tensors(path)
        metadata = file.metadata
        state: Any = file.tensors
    else:
        state = _read_pickle(path)
    beside: dict[str, Any] = {}
    while isinstance(state, dict) and any(isinstance(state.get(name), dict) for name in NESTED_UNDER):
        wrapper = next(name for name in NESTED_UNDER if isinstance(state.get(name), dict))
        beside |= {name: value for name, value in state.items() if name != wrapper}
        state = state[wrapper]
    return WeightsFile(_checked_state(state, path), metadata, beside)


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


def state_hash(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of a module's state, 16 hexadecimal digits; equal weights, equal hash."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_weights(module: nn.Module, path: Path, metadata: Mapping[str, Any], dtype: torch.dtype | None = None) -> None:
    """Writes a module's state dict as safetensors with metadata, whole or not at all.

    Args:
        module: Whose state dict to write.
        path: Where to.
        metadata: Model name and options, scale, calibration, dataset, training spec: anything JSON holds.
        dtype: What to store floating-point entries as; their own type if None.
    """
    write_tensors(path, module.state_dict(), metadata, dtype)
