from __future__ import annotations

import hashlib

import torch

from robustiqa.core.seeds import derive_seed, generator


def test_a_seed_is_the_first_63_bits_of_a_hash_of_its_parts() -> None:
    digest = hashlib.sha256(b"7\x1fcat.png\x1f0.5").hexdigest()
    assert derive_seed(7, "cat.png", 0.5) == int(digest[:16], 16) // 2


def test_every_part_and_their_order_count() -> None:
    seeds = {derive_seed(*parts) for parts in [(), (0,), (1,), (0, 0), (0, 1), (1, 0), ("0", "01"), ("00", "1")]}
    assert len(seeds) == 8


def test_a_thousand_photos_get_a_thousand_seeds() -> None:
    assert len({derive_seed(0, 0, f"{place}.png", 0) for place in range(1000)}) == 1000


def test_seeds_fit_what_torch_takes() -> None:
    for part in range(200):
        assert 0 <= derive_seed(part) < 2**63
        generator(part)


def test_the_same_parts_draw_the_same_numbers_and_the_global_generator_stands_still() -> None:
    before = torch.get_rng_state()
    first = torch.rand(5, generator=generator("crops", 1))
    second = torch.rand(5, generator=generator("crops", 1))
    other = torch.rand(5, generator=generator("crops", 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
