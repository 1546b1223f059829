"""Run folders: each holds the resolved spec it was made from; running again continues it, another spec is refused."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from robustiqa.core.errors import SpecError

SCHEMA_VERSION = 1
SPEC_FILE = "run.json"
WEIGHTS_FILE = "model.safetensors"  # what a training run leaves in the end
REPORTED_PACKAGES = ("robustiqa", "torch", "torchvision", "timm", "accelerate", "numpy", "scipy", "pillow")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes beside the target, syncs, renames: after a kill the old or the new content is there, never a part."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.part")  # of several machines, too
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Waits until renames in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def spec_hash(values: Mapping[str, Any]) -> str:
    """SHA-256 over plain values, 16 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def environment() -> dict[str, str]:
    """Versions of the packages that results depend on, and of the machine's kind."""
    versions = {name: metadata.version(name) for name in REPORTED_PACKAGES if _installed(name)}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        **versions,
    }


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def open_run_folder(folder: Path, spec: Mapping[str, Any]) -> str:
    """Makes a run folder, or checks that an existing one is of the same spec; returns the spec's hash.

    Raises:
        SpecError: if the folder is of another run, naming the first value that differs, or holds other files.
    """
    wanted = spec_hash(spec)
    path = folder / SPEC_FILE
    # Looked at before the file, which another process may be making.
    strange = folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())
    if path.is_file():
        found = _read(path)
        if found["spec_hash"] != wanted:
            raise SpecError(
                f"{folder} holds another run ({_first_difference(found['spec'], json.loads(json.dumps(spec)))}); "
                "choose another folder or remove it."
            )
        return wanted
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder} is a file, and a run needs a folder; choose another name.")
    if strange:
        raise SpecError(f"{folder} is not empty and not a run folder; choose another.")
    content = {
        "schema_version": SCHEMA_VERSION,
        "spec_hash": wanted,
        "spec": spec,
        "environment": environment(),
    }
    write_atomically(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return wanted


def known_spec(folder: Path) -> dict[str, Any]:
    """The spec of the run in a folder; empty if there is none yet.

    Raises:
        SpecError: if it is of another version.
    """
    path = folder / SPEC_FILE
    return dict(_read(path)["spec"]) if path.is_file() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        raise SpecError(f"{path} is not a run of this version, which writes schema {SCHEMA_VERSION}; choose another.")
    return found


def _first_difference(old: Any, new: Any, where: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(set(old) | set(new)):
            if json.dumps(old.get(name), sort_keys=True) != json.dumps(new.get(name), sort_keys=True):
                return _first_difference(old.get(name), new.get(name), f"{where}.{name}" if where else name)
    return f"{where} is {json.dumps(old)} there, {json.dumps(new)} now"


def slug(label: str) -> str:
    """A label in letters that file names may hold."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in label.lower()).replace("--", "-")
