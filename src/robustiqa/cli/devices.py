"""From what `--device` says to a device that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustiqa.core.errors import InputError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a CUDA GPU where there is one, else the CPU.

    Raises:
        InputError: if torch has no such device, or it is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
    return device


def training_device(name: str) -> str:
    """The kind of device to train on; of several GPUs Accelerate picks the one of each process.

    Raises:
        InputError: if one GPU of several is named.
    """
    device = find_device(name)
    if device.index is not None:
        raise InputError(f"training takes --device auto, cpu or cuda, got {name!r}; choose by CUDA_VISIBLE_DEVICES.")
    return device.type
