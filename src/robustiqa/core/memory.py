"""How much memory a model's passes take, counted before they are made, and how much there is.

What it counts: each tensor's storage that is alive, at the worst moment of a pass that is really gone through, forward
and backward, on a copy of the model whose tensors have shapes and no data (`FakeTensorMode`). So a layer that keeps
nothing costs nothing, checkpoints count as they are, and a pass of any batch costs the time of its calls alone.
What it leaves out: scratch memory inside kernels (convolutions of the CPU and of cuDNN), what an allocator keeps for
later, the weights (they are there already), and the program itself.
How far off: on a CPU, a process took 1.2 to 1.4 times as much (HyperIQA, DBCNN, a training step; docs/memory.md, and a
slow test that measures again); on a GPU it has not been measured.
Where a model can't be run without data (a value decides what it computes), one real pass over a small picture stands
for it, in proportion to pixels; where that fails, too, nothing is known, and nothing refused.
"""

from __future__ import annotations

import copy
import re
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from robustiqa.core.errors import RobustIQAError

GIB = 2**30
SMALL_SIDE = 224  # of the picture in the one real pass


def available_memory(device: torch.device, root: Path = Path("/")) -> int | None:
    """Bytes that can still be taken: of a GPU, what is free and what torch keeps for later; of a CPU, what Linux says.

    That is `MemAvailable` and free swap, or what a control group (a container) leaves, if that is less.

    Args:
        device: `cuda` or `cpu`; of others nothing is known.
        root: Where `proc` and `sys` are.

    Returns:
        None where it is not known.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type != "cpu":
        return None
    left = [*_of_machine(root), *_of_groups(root)]
    return min(left, default=None)


def _of_machine(root: Path) -> Iterator[int]:
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), flags=re.MULTILINE))
    if "MemAvailable" in found:
        yield 1024 * (int(found["MemAvailable"]) + int(found.get("SwapFree", 0)))


def _of_groups(root: Path) -> Iterator[int]:
    """What is left of the limit of each control group that this process is in, and of those above it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own = Path(path.lstrip("/"))
        if not controllers:  # version 2
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        for group in (own, *own.parents):
            yield from _left(top / group, *names)


def _left(folder: Path, limit: str, used: str, file_cache: str) -> Iterator[int]:
    most, taken = _text(folder / limit).strip(), _text(folder / used).strip()
    if most.isdecimal() and taken.isdecimal():  # "max" is no limit
        cached = re.search(rf"^{file_cache} (\d+)$", _text(folder / "memory.stat"), flags=re.MULTILINE)
        yield max(int(most) - int(taken) + (int(cached.group(1)) if cached else 0), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the tensors that come to life while it is entered, as long as they live.

    Attributes:
        now: Bytes alive.
        peak: The most there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any operation of torch, as it is; the storages of what comes out are counted once."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name not in self._alive:
            self.now += size
            self.peak = max(self.peak, self.now)
            self._alive[name] = weakref.ref(storage, lambda _: self._release(name, size))

    def _release(self, name: int, size: int) -> None:
        self.now -= size
        del self._alive[name]


def counted(model: nn.Module, work: Callable[[nn.Module], object], *, data: bool = False) -> int:
    """Peak bytes of some work on a model, its weights left out; the model itself is left alone.

    Args:
        model: Copied, its parameters and buffers without their data.
        work: Is given the copy; what it makes itself counts.
        data: Whether the copy has data, and the work is really done.

    Raises:
        Exception: whatever the work raises, which may not go without data.
    """
    peak = PeakMemory()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[], enabled=data):
        warnings.simplefilter("ignore")  # they will be heard when the work is done
        if data:
            copied = copy.deepcopy(model)
            with peak:
                work(copied)
            return peak.peak
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        known = {id(tensor): fake.from_tensor(tensor) for tensor in (*model.parameters(), *model.buffers())}
        copied = copy.deepcopy(model, dict(known))
        with fake, peak:
            work(copied)
    return peak.peak


def pass_memory(model: nn.Module, shape: Sequence[int], device: torch.device, *, gradient: bool = True) -> int | None:
    """Peak bytes of one pass over a batch in float32, of its images besides; None where that can't be found out.

    Args:
        model: In eval mode.
        shape: Of the images, (N, 3, H, W).
        device: Where they lie.
        gradient: Whether scores are differentiated with respect to the images, as attacks do.
    """
    try:
        return counted(model, lambda copied: _pass(copied, shape, device, gradient))
    except RobustIQAError:
        raise
    except Exception:  # whatever a stranger's model does with values that are not there
        return _in_proportion(model, shape, device, gradient)


def _in_proportion(model: nn.Module, shape: Sequence[int], device: torch.device, gradient: bool) -> int | None:
    """What a real pass over one small picture takes, times pixels over its pixels."""
    count, _, height, width = shape
    small = (1, 3, min(height, SMALL_SIDE), min(width, SMALL_SIDE))
    try:
        found = counted(model, lambda copied: _pass(copied, small, device, gradient), data=True)
    except RobustIQAError:
        raise
    except Exception:  # it will say so itself, when it is asked
        return None
    return round(found * count * height * width / (small[2] * small[3]))


def _pass(model: nn.Module, shape: Sequence[int], device: torch.device, gradient: bool) -> None:
    images = torch.full(tuple(shape), 0.5, device=device)
    for weight in model.parameters():
        weight.requires_grad_(False)
    with torch.set_grad_enabled(gradient):
        scores = model(images.requires_grad_(gradient))
        if gradient:
            torch.autograd.grad(scores.sum(), images)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, of a GPU or of the CPU."""
    known = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    return known or "DefaultCPUAllocator: can't allocate" in str(error)


def gib(size: float) -> str:
    """Bytes in words: `1.2 GiB`."""
    return f"{size / GIB:.1f} GiB"
