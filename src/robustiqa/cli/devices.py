"""From what `--device` says to a device that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustiqa.cli.processes import this_process
from robustiqa.core.errors import InputError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a CUDA GPU where there is one, else the CPU; each process has its own GPU.

    Raises:
        InputError: if torch has no such device, or it is not there.
    """
    import torch

    if name == "auto":
        return _own_gpu() if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device takes auto, cpu, cuda, cuda:N or mps, got {name!r}.") from None
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= there:
        raise InputError(f"device {name!r} was asked for, but torch finds none here; use --device cpu.")
    return _own_gpu() if name == "cuda" else device


def _own_gpu() -> torch.device:
    """The GPU of this process: of several processes on a machine, each has the next."""
    import torch

    process = this_process()
    if process.count == 1:
        return torch.device("cuda")
    return torch.device("cuda", process.local_rank % torch.cuda.device_count())


def training_device(name: str) -> str:
    """The kind of device to train on; of several GPUs Accelerate picks the one of each process.

    Raises:
        InputError: if one of several is named.
    """
    device = find_device(name)
    if ":" in name:
        raise InputError(
            f"this verb takes --device auto, cpu, cuda or mps, got {name!r}; choose a GPU by CUDA_VISIBLE_DEVICES."
        )
    return device.type
