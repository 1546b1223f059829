"""What a further pass of a training step shares with the first: what was drawn, and running statistics as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Lets batch norm in training mode use its batch's statistics without moving the running ones or the counter."""
    tracking = [part for part in _batch_norms(model) if part.training and part.track_running_stats]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True


def _batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


class Replay:
    """Remembers where the global generators stand; `with replay():` draws again what was drawn since then.

    Afterwards they stand where the first pass left them, so the penalty costs no extra draws.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = _generator_states(device)

    @property
    def drew(self) -> bool:
        """Whether anything was drawn since."""
        now = _generator_states(self._device)
        return any(
            one.numpy().tobytes() != other.numpy().tobytes() for one, other in zip(self._start, now, strict=True)
        )

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """The context of one repeated pass."""
        after = _generator_states(self._device)
        _set_generator_states(self._device, self._start)
        try:
            yield
        finally:
            _set_generator_states(self._device, after)


def _generator_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_generator_states(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
