"""What passes take is counted without making them, and what there is is read off Linux's own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.memory import available_memory, counted, gib, out_of_memory, pass_memory
from robustiqa.models.crop_average import CropAverage
from tests.toys import ConvModel, CountingModel, LinearModel, Nearness

CPU = torch.device("cpu")
SHAPE = (4, 3, 24, 24)
PICTURES = 4 * 3 * 24 * 24 * 4  # bytes of a batch
SMALL = 200  # bytes: scores and such
TOYS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: LinearModel.random(24),
    "convolutions": lambda: ConvModel().eval(),
    "crops in chunks": lambda: CropAverage(ConvModel(crop_size=16), chunk=3).eval(),
    "a wrapper": lambda: CountingModel(ConvModel()).eval(),
    "a tensor that is neither weight nor buffer": lambda: Nearness(torch.rand(3, 24, 24)).eval(),
}


class Chain(nn.Module):
    """The sum of `length` exponentials of one another: each keeps its result for the backward pass."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, images: Tensor) -> Tensor:
        for _ in range(self.length):
            images = images.exp()
        return images.flatten(1).sum(1)


class Choosing(ConvModel):
    """Decides by a value what it computes."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return super().raw_scores(2 * normalized if normalized.mean().item() > 1e6 else normalized)


class Refusing(ConvModel):
    """Raises what it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def raw_scores(self, normalized: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize("length", [2, 5])
def test_a_chain_takes_its_input_its_links_and_one_gradient_more(length: int) -> None:
    found = pass_memory(Chain(length), SHAPE, CPU)
    assert found is not None
    assert (length + 2) * PICTURES <= found < (length + 2) * PICTURES + SMALL


def test_without_a_gradient_two_links_are_alive_at_a_time() -> None:
    found = pass_memory(Chain(5), SHAPE, CPU, gradient=False)
    assert found is not None
    assert 3 * PICTURES <= found < 3 * PICTURES + SMALL


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("toy", TOYS)
def test_what_is_counted_without_data_is_what_a_real_pass_holds(toy: str, gradient: bool) -> None:
    def work(model: nn.Module) -> None:
        images = torch.full(SHAPE, 0.5).requires_grad_(gradient)
        for weight in model.parameters():
            weight.requires_grad_(False)
        with torch.set_grad_enabled(gradient):
            scores = model(images)
        if gradient:
            torch.autograd.grad(scores.sum(), images)

    model = TOYS[toy]()
    assert pass_memory(model, SHAPE, CPU, gradient=gradient) == counted(model, work, data=True)


def test_counting_asks_the_model_nothing_and_changes_nothing() -> None:
    model = CountingModel(ConvModel().eval())
    before = {name: held.clone() for name, held in model.state_dict().items()}
    state = torch.get_rng_state()
    for data in (False, True):
        counted(model, lambda copied: copied.train()(torch.rand(SHAPE)).sum().backward(), data=data)
    assert model.forwards == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(held, before[name]) for name, held in model.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert not model.training


def test_a_model_that_looks_at_values_is_counted_on_one_small_picture_in_proportion() -> None:
    plain = pass_memory(ConvModel().eval(), (4, 3, 240, 448), CPU)
    choosing = pass_memory(Choosing().eval(), (4, 3, 240, 448), CPU)
    assert plain is not None
    assert choosing == pytest.approx(plain, rel=0.05)


def test_of_a_model_that_fails_nothing_is_known_and_our_own_errors_come_through() -> None:
    assert pass_memory(Refusing(KeyError("strange")).eval(), SHAPE, CPU) is None
    with pytest.raises(InputError, match="too small"):
        pass_memory(Refusing(InputError("too small")).eval(), SHAPE, CPU)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal:       9000 kB\nMemAvailable:   4000 kB\nSwapFree:        1000 kB\n"}
STAT = "anon 5\ninactive_file 100\ntotal_inactive_file 70\n"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        (MACHINE, 5000 * 1024),
        (
            {  # version 2: the limit stands above the own group
                **MACHINE,
                "proc/self/cgroup": "0::/pod/own\n",
                "sys/fs/cgroup/pod/own/memory.max": "max\n",
                "sys/fs/cgroup/pod/own/memory.current": "7\n",
                "sys/fs/cgroup/pod/memory.max": "3000\n",
                "sys/fs/cgroup/pod/memory.current": "1000\n",
                "sys/fs/cgroup/pod/memory.stat": STAT,
            },
            3000 - 1000 + 100,
        ),
        (
            {  # version 1, in a container that sees its own group as the root
                **MACHINE,
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000\n",
                "sys/fs/cgroup/memory/memory.stat": STAT,
            },
            3000 - 2000 + 70,
        ),
        (
            {  # version 1 without a limit
                **MACHINE,
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000\n",
            },
            5000 * 1024,
        ),
    ],
)
def test_available_is_what_the_machine_or_the_tightest_group_has_left(
    files: dict[str, str], left: int | None, tmp_path: Path
) -> None:
    assert available_memory(CPU, write(tmp_path, files)) == left


def test_of_a_gpu_counts_what_is_free_and_what_torch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert available_memory(torch.device("cuda")) == 1300


def test_of_other_devices_nothing_is_known() -> None:
    assert available_memory(torch.device("mps")) is None


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: 9 bytes"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error: Exception, short: bool) -> None:
    assert out_of_memory(error) is short


def test_sizes_are_said_in_gibibytes() -> None:
    assert gib(1.26 * 2**30) == "1.3 GiB"
