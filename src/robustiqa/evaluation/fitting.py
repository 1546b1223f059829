"""Batches that fit: taken apart where they would not, halved where memory runs out all the same.

Results do not depend on it, but for rounding in float: every draw follows the photograph, not its batch (a contract).
What is counted: a pass with its gradient (`pass_memory`) or SSIM of the result, whichever is more, and the copies of a
photograph that an attack holds meanwhile. Not counted: what attacks hold beyond I-FGSM (APGD 6 copies more; perceptual
ones differentiate SSIM), other models that score what was found, LPIPS. Where that is more than is there, a GPU's error
halves the batch; a CPU has no such error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

from robustiqa.core import pixels
from robustiqa.core.errors import InputError, WorkFailedError
from robustiqa.core.memory import available_memory, gib, out_of_memory, pass_memory
from robustiqa.core.model import QualityModel
from robustiqa.models.crop_average import CropAverage

T = TypeVar("T")
Tell = Callable[[str], None]
BATCHES = {"cuda": 8}  # photographs at a time, if nobody says how many; elsewhere one: runs that are there have one
SHARE = 0.7  # of what is available that a batch is planned for: kernels and allocators take more than tensors
COPIES = 12  # of a photograph, float32, beside its pass: the clean one, its gradient, and both goals of I-FGSM
SSIM_COPIES = 26  # of one, or of the part of a large one that is gone through at a time
LAVISH = 20_000  # bytes of a pass for each pixel that reaches a network; the hungriest of ours, ViT-B/8, takes half


def default_batch_size(device: torch.device | str) -> int:
    """Photographs at a time that a device is given, if they fit and nobody asked for a number."""
    return BATCHES.get(torch.device(device).type, 1)


def photo_memory(model: QualityModel, shape: Sequence[int], device: torch.device) -> int | None:
    """About how many bytes attacking a batch takes; None where that can't be found out.

    Args:
        model: In eval mode.
        shape: Of the batch, (N, 3, H, W).
        device: Where it lies.
    """
    found = pass_memory(model, shape, device)
    return None if found is None else _with_copies(found, shape)


def _with_copies(of_pass: int, shape: Sequence[int]) -> int:
    """A pass or the measures after it, and what is held beside them."""
    count, channels, height, width = shape
    measured = SSIM_COPIES * 4 * count * channels * min(height * width, pixels.LARGE)
    return max(of_pass, measured) + COPIES * 4 * prod(shape)


def _crops(model: CropAverage, shape: Sequence[int]) -> int:
    """How many crops of a batch go through the network at a time."""
    count, _, height, width = shape
    corners = model.offsets(max(height, model.side), max(width, model.side))
    return min(count * len(corners), model.chunk)


def _lavish(model: QualityModel, shape: Sequence[int]) -> int:
    """More than a batch takes, at no cost: most batches fit so clearly that nothing has to be counted."""
    count, _, height, width = shape
    passing = _crops(model, shape) * model.side**2 if isinstance(model, CropAverage) else count * height * width
    return _with_copies(LAVISH * passing, shape)


def refuse_too_many(
    models: Mapping[str, QualityModel], batch_size: int, sizes: Iterable[tuple[int, int]], device: torch.device
) -> None:
    """Refuses what can't fit before anything is computed: a batch of the largest photographs, or one of them.

    Args:
        models: By label, as they score whole photographs.
        batch_size: Photographs at a time.
        sizes: Heights and widths of the photographs.
        device: Where to compute.

    Raises:
        InputError: with the estimate.
    """
    batches = [(min(batch_size, times), 3, *size) for size, times in Counter(sizes).items()]
    there = available_memory(device)
    if not batches or there is None:
        return
    shape = max(batches, key=prod)
    count, _, height, width = shape
    for label, model in models.items():
        if count == 1:
            Fitting().at_once(model, shape, device)
        elif _lavish(model, shape) > there:
            needed = photo_memory(model, shape, device)
            if needed is not None and needed > there:
                raise InputError(
                    f"a batch of {count} photographs of {width}x{height} pixels takes about {gib(needed)} with "
                    f"{label!r}, and {gib(there)} are available; pass a smaller --batch-size, or leave it out."
                )


class Fitting:
    """Takes batches apart for one piece of work, and remembers what fitted.

    Args:
        tell: Called with a sentence the first time that memory ran out.
    """

    def __init__(self, tell: Tell | None = None) -> None:
        self._tell = tell
        self._fits: dict[tuple[int, ...], int] = {}  # by model, photographs asked for, height and width
        self._most: dict[tuple[int, ...], int] = {}  # by model, height and width, where memory ran out before

    def in_parts(self, model: QualityModel, images: Tensor, work: Callable[[slice], Iterable[T]]) -> list[T]:
        """What some work finds on a batch, a part of as many photographs at a time as fit; parts that are done stay.

        Args:
            model: That the work is on.
            images: The batch, (N, 3, H, W).
            work: Given which photographs of the batch; done again with half of them where memory runs out.

        Raises:
            InputError: if one photograph would not fit, by the estimate.
            WorkFailedError: if memory runs out with one.
        """
        found: list[T] = []
        start = 0
        while start < len(images):
            count = self.at_once(model, (len(images), *images.shape[1:]), images.device)
            part = slice(start, min(start + count, len(images)))
            done = _tried(work, part)
            if done is None:
                self._halve(model, (part.stop - start, *images.shape[1:]), images.device)
            else:
                found += done
                start = part.stop
        return found

    def at_once(self, model: QualityModel, shape: Sequence[int], device: torch.device) -> int:
        """How many photographs of a batch to take together.

        Args:
            model: In eval mode. Where one photograph does not fit, a `CropAverage` gets smaller chunks.
            shape: Of the batch, (N, 3, H, W).
            device: Where it lies.

        Raises:
            InputError: if one photograph would not fit, by the estimate.
        """
        asked, _, height, width = shape
        name = (id(model), asked, height, width)
        if name not in self._fits:
            self._fits[name] = _fitting(model, shape, device)
        return min(self._fits[name], self._most.get((id(model), height, width), asked))

    def _halve(self, model: QualityModel, shape: Sequence[int], device: torch.device) -> None:
        """After an error of memory: half the photographs from now on, or half the crops of one."""
        count, _, height, width = shape
        if device.type == "cuda":
            torch.cuda.empty_cache()
        what = f"{count} photographs of {width}x{height} pixels at a time"
        if count > 1:
            self._most[id(model), height, width] = count // 2
            going_on = f"{count // 2}"
        elif _halve_chunk(model, shape):
            what, going_on = f"one photograph of {width}x{height} pixels", f"{model.chunk} crops of it at a time"
        else:
            raise WorkFailedError(
                f"the memory of {device.type} ran out with one photograph of {width}x{height} pixels; shrink "
                "photographs with --max-side, or compute elsewhere with --device."
            )
        if self._tell is not None:
            self._tell(f"the memory of {device.type} ran out with {what}; going on with {going_on}.")
            self._tell = None


def _tried(work: Callable[[slice], Iterable[T]], part: slice) -> list[T] | None:
    """What came of the work; None if memory ran out. The error, and all that its traceback holds, is gone by then."""
    try:
        return list(work(part))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return None


def _halve_chunk(model: QualityModel, shape: Sequence[int]) -> bool:
    """Lets a model that averages crops take half as many at a time; false if there is nothing to halve."""
    if not isinstance(model, CropAverage) or _crops(model, shape) == 1:
        return False
    model.chunk = _crops(model, shape) // 2
    return True


def _fitting(model: QualityModel, shape: Sequence[int], device: torch.device) -> int:
    """How many photographs of a batch fit, by the estimate."""
    there = available_memory(device)
    count, _, height, width = shape
    while there is not None and _lavish(model, (count, 3, height, width)) > SHARE * there:
        needed = photo_memory(model, (count, 3, height, width), device)
        if needed is None or needed <= SHARE * there:
            break
        if count > 1:
            count //= 2
        elif not _halve_chunk(model, (1, 3, height, width)):
            if needed <= there:
                break
            raise InputError(
                f"one photograph of {width}x{height} pixels takes about {gib(needed)}, and {gib(there)} are available; "
                "shrink photographs with --max-side."
            )
    return count
