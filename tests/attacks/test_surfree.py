from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from robustiqa.attacks import surfree
from robustiqa.attacks.lockstep import Scored, Search, T
from robustiqa.attacks.surfree import LowFrequencies, SurFree, dct_matrix, zigzag_mask

Score = Callable[[Tensor], float]


def answered(search: Search[T], score: Score) -> tuple[T, list[Tensor]]:
    """What a search returns when its questions are answered, and what it asked."""
    asked: list[Tensor] = []
    try:
        asked.append(next(search))
        while True:
            asked.append(search.send(score(asked[-1])))
    except StopIteration as end:
        return end.value, asked


def random_image(seed: int, side: int) -> Tensor:
    return torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def walk(
    start: Tensor, is_past: Callable[[float], bool], *, queries: int = 100, seed: int = 0, bound: float = 1e9
) -> SurFree:
    return SurFree(
        start,
        start - bound,
        start + bound,
        is_past=is_past,
        basis=LowFrequencies(start[None]),
        generator=torch.Generator().manual_seed(seed),
        queries=queries,
    )


def flat(slopes: Tensor) -> Score:
    return lambda image: float((slopes * image).sum())


@pytest.mark.parametrize("size", [1, 2, 7, 24])
def test_the_transform_is_the_orthonormal_dct_of_scipy(size: int) -> None:
    like, image = torch.zeros(1, dtype=torch.float64), random_image(0, size)
    matrix = dct_matrix(size, like)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64))
    expected = dctn(image.numpy(), type=2, norm="ortho", axes=(1, 2))
    np.testing.assert_allclose((matrix @ image @ matrix.T).numpy(), expected, atol=1e-12)


def test_the_mask_keeps_the_first_coefficients_in_the_zigzag_order_of_jpeg() -> None:
    jpeg = [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)]
    for count in range(1, 11):
        kept = {(row, column) for row, column in zigzag_mask(8, 8, count / 64).nonzero().tolist()}
        assert kept == set(jpeg[:count])
    assert zigzag_mask(5, 9, 0.5).sum() == 22
    assert zigzag_mask(1, 1, 0.5).tolist() == [[True]]


def test_random_directions_are_signs_at_low_frequencies_and_nothing_above() -> None:
    basis, draw = LowFrequencies(torch.zeros(1, 3, 8, 12, dtype=torch.float64)), torch.Generator().manual_seed(0)
    drawn = np.stack([dctn(basis.draw(draw).numpy(), norm="ortho", axes=(1, 2)) for _ in range(50)])
    mask = zigzag_mask(8, 12, 0.5).numpy()
    np.testing.assert_allclose(drawn[..., ~mask], 0, atol=1e-12)
    low = drawn[..., mask].round()
    np.testing.assert_allclose(drawn[..., mask], low, atol=1e-12)
    shares = [(low == value).mean() for value in (-1, 0, 1)]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.02)


@pytest.mark.parametrize("degrees", [31, 38, 45, 59, 61, 80, -35, -50, -77])
def test_on_a_flat_boundary_a_turn_finds_the_foot_of_the_perpendicular(degrees: float) -> None:
    start, way, across = random_image(0, 4), torch.zeros(3, 4, 4).double(), torch.zeros(3, 4, 4).double()
    way[0, 0, 0], across[1, 2, 3] = 2.0, 2.0
    angle = math.radians(degrees)
    normal = (math.cos(angle) * way + math.sin(angle) * across) / 2
    level = flat(normal)(start + way) * (1 - 1e-12)
    search = walk(start, lambda score: score > level)
    circle = surfree._Circle(way, across)
    turned, asked = answered(search._turn(circle, surfree.FIRST_ANGLE), flat(normal))
    assert turned is not None
    found, foot = (turned.image - start).norm().item(), 2 * math.cos(angle)
    assert foot - 1e-9 <= found <= foot + 2 * surfree.GAIN_TOLERANCE
    assert len(asked) <= 2 + 3 + surfree.HALVINGS


@pytest.mark.parametrize("degrees", [-29, 0, 29])
def test_a_direction_whose_foot_is_nearer_than_the_first_angle_is_left(degrees: float) -> None:
    start, way, across = random_image(0, 4), torch.zeros(3, 4, 4).double(), torch.zeros(3, 4, 4).double()
    way[0, 0, 0], across[1, 2, 3] = 1.0, 1.0
    normal = math.cos(math.radians(degrees)) * way + math.sin(math.radians(degrees)) * across
    level = flat(normal)(start + way)
    turn = walk(start, lambda score: score > level)._turn(surfree._Circle(way, across), surfree.FIRST_ANGLE)
    turned, asked = answered(turn, flat(normal))
    assert turned is None
    assert len(asked) == 2


@pytest.mark.parametrize("seed", range(3))
def test_the_way_in_is_bisected_to_a_thousandth(seed: int) -> None:
    start, far, slopes = random_image(0, 4), random_image(seed + 1, 4), random_image(9, 4)
    score = flat(slopes if flat(slopes)(far - start) > 0 else -slopes)
    level = score(start) + 0.3 * (score(far) - score(start))
    nearest, asked = answered(walk(start, lambda value: value > level)._toward_start(Scored(far, score(far))), score)
    share = ((nearest.image - start).norm() / (far - start).norm()).item()
    assert 0.3 < share <= 0.3 + 2**-10
    assert nearest.score == score(nearest.image)
    assert len(asked) == 10


def test_distances_shrink_to_the_known_optimum_of_a_flat_boundary() -> None:
    start, side = random_image(0, 4), 4
    slopes = LowFrequencies(start[None]).draw(torch.Generator().manual_seed(5))
    score, level = flat(slopes), flat(slopes)(start) + 1.0
    optimum = 1 / slopes.norm().item()
    far = random_image(1, side)
    far = start + far * (10 if score(far) > 0 else -10)
    assert score(far) > level
    nearest, distances = Scored(far, score(far)), [(far - start).norm().item()]
    for seed in range(30):
        nearest, _ = answered(walk(start, lambda value: value > level, seed=seed).run(nearest), score)
        distances.append((nearest.image - start).norm().item())
        assert nearest.score == score(nearest.image) > level
    assert distances == sorted(distances, reverse=True)
    assert distances[1] < distances[0]
    assert optimum <= distances[-1] < 1.1 * optimum


@pytest.mark.parametrize("radius", [0.5, 5.0])
@pytest.mark.parametrize("outward", [False, True])
def test_a_sphere_is_approached_from_outside_and_from_inside(radius: float, outward: bool) -> None:
    start, center = random_image(0, 6), random_image(1, 6)
    gap = (center - start).norm().item()
    sign = -1.0 if outward else 1.0

    def score(image: Tensor) -> float:
        return sign * (radius - float((image - center).norm()))

    if outward:
        start = center + (start - center) * (0.5 * radius / gap)
        far, optimum = start + 3 * radius * (start - center).flip(2) / (0.5 * radius), 0.5 * radius
    else:
        far, optimum = center.clone(), gap - radius
    assert score(start) < 0 < score(far)
    reached = [(far - start).norm().item()]
    nearest = Scored(far, score(far))
    for seed in range(3):
        nearest, _ = answered(walk(start, lambda value: value > 0, seed=seed).run(nearest), score)
        reached.append((nearest.image - start).norm().item())
        assert score(nearest.image) > 0
    assert reached == sorted(reached, reverse=True)
    assert optimum <= reached[-1] < reached[0]


@pytest.mark.parametrize("queries", [1, 2, 9, 10, 11, 37, 100])
def test_it_spends_no_more_queries_than_it_is_given(queries: int) -> None:
    start, slopes = random_image(0, 6), random_image(1, 6)
    far = start + slopes
    search = walk(start, lambda value: value > flat(slopes)(start) + 1, queries=queries)
    nearest, asked = answered(search.run(Scored(far, flat(slopes)(far))), flat(slopes))
    assert len(asked) == queries  # a steepest way can only be shortened, so every direction fails and all are spent
    assert (nearest.image - start).norm() <= (far - start).norm()


def test_every_image_asked_about_lies_in_the_box_and_what_is_found_is_past_the_boundary() -> None:
    start, slopes = random_image(0, 8), random_image(1, 8)
    far = start + 0.3 * slopes.sign()
    level = flat(slopes)(start) + 0.9 * flat(slopes)(far - start)  # near the corner: turns would leave the box
    search = walk(start, lambda value: value > level, bound=0.3)
    nearest, asked = answered(search.run(Scored(far, flat(slopes)(far))), flat(slopes))
    assert all((image - start).abs().max() <= 0.3 + 1e-12 for image in asked)
    assert flat(slopes)(nearest.image) > level
    assert (nearest.image - start).norm() < (far - start).norm()


def test_directions_are_orthogonal_to_the_way_and_to_those_before_and_of_unit_length() -> None:
    search = walk(random_image(0, 6), lambda value: False)
    known = [random_image(1, 6) / random_image(1, 6).norm()]
    for _ in range(11):
        new = search._direction(known)
        assert new is not None
        assert new.norm().item() == pytest.approx(1)
        if len(known) > 1:
            known_matrix = torch.stack(known[1:]).flatten(1)
            assert (known_matrix @ new.flatten()).abs().max() < 1e-9
        known.append(new)


def test_where_no_direction_is_left_it_ends() -> None:
    start = torch.zeros(3, 1, 1).double()  # three directions in all
    far = torch.ones(3, 1, 1).double()
    nearest, asked = answered(walk(start, lambda value: value > 1).run(Scored(far, 3.0)), flat(far))
    assert 10 < len(asked) < 100
    assert nearest.image.norm().item() == pytest.approx(1 / math.sqrt(3), rel=2e-3)
