"""What an attack spends: memory from a GPU's allocator, none from a CPU; the allocator here is played by a list."""

from __future__ import annotations

import pytest
import torch

from robustiqa.attacks.gradient import FGSM
from robustiqa.attacks.random_sign import RandomSign
from robustiqa.evaluation import batch_runs
from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.spending import Spent, spending
from tests.photos import tiny_dataset
from tests.toys import ConvModel

GPU = torch.device("cuda")


class Allocator:
    """What is held now, and the most since someone asked to forget."""

    def __init__(self, held: int) -> None:
        self.held = self.most = held

    def take(self, size: int) -> None:
        self.held += size
        self.most = max(self.most, self.held)

    def forget(self) -> None:
        self.most = self.held


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> Allocator:
    made = Allocator(1000)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: made.forget())
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: made.held)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: made.most)
    return made


def test_memory_is_the_most_held_at_once_beyond_what_was_there(allocator: Allocator) -> None:
    allocator.take(5000)
    allocator.take(-5000)  # earlier work, whose peak is not this one's
    with spending(GPU) as spent:
        for size in (300, 50, -340, 200):
            allocator.take(size)
    assert spent.memory == 350
    assert spent.seconds is not None and spent.seconds >= 0


def test_a_cpu_tells_no_memory_and_what_is_not_wanted_is_not_watched(allocator: Allocator) -> None:
    with spending(torch.device("cpu")) as spent:
        allocator.take(300)
    assert (spent.memory, spent.seconds is None) == (None, False)
    with spending(GPU, wanted=False) as spent:
        allocator.take(300)
    assert spent == Spent(None, None)
    assert allocator.most == 1600  # nobody asked it to forget


def test_only_attacks_that_use_gradients_need_the_memory_of_the_clean_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared pass over clean photographs, which holds 700 here, is where FGSM's only backward pass is."""
    held = iter([700, *[40] * 4] * 2)

    class Told:
        def __init__(self, device: torch.device, wanted: bool) -> None:
            assert wanted
            self.spent = Spent(1.0, next(held))

        def __enter__(self) -> Spent:
            return self.spent

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(batch_runs, "spending", Told)
    photos = tiny_dataset(train=0, validation=0, test=4, low=20, high=20)
    attacks = [FGSM(), RandomSign()]
    found = evaluate(ConvModel(seed=0).eval(), photos, attacks, batch_size=2, timed=True)
    memory = {(record.attack, record.peak_memory, record.seconds) for record in found.records}
    assert memory == {(CLEAN, None, None), (FGSM().label, 700, 0.5), (RandomSign().label, 40, 0.5)}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, whose allocator is asked")
def test_a_gpus_allocator_tells_the_size_of_a_tensor() -> None:
    with spending(GPU) as spent:
        torch.zeros(2**20, device=GPU)
        torch.zeros(2**21, device=GPU).sum().item()
    assert 2**23 <= (spent.memory or 0) < 2**23 + 2**21
