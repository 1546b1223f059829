"""Pictures with the statistics of photographs, painted from a seed.

Occlusion makes natural images: opaque shapes of all sizes, each with its own color and texture, hide one
another ("dead leaves"; with radii that follow a power law the picture looks alike at any distance, as
photographs do). Here the shapes are ellipses and rectangles over a graded ground; textures are fields with a
power-law spectrum; a slow light falls over all.

Source: A. Lee, D. Mumford and J. Huang, Occlusion models for natural images, IJCV 41, 2001 (leaves with a
cubic law of radii); D. Field, Relations between the statistics of natural images and the response properties
of cortical cells, JOSA A 4, 1987 (amplitude falls as 1/f).
Deviations: a fixed number of shapes instead of coverage to the last pixel; mean and spread of the luminance
are brought near those of a well exposed photograph, so that a change of exposure or contrast can be seen
without a reference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustiqa.core.pixels import quantize
from robustiqa.core.seeds import generator

SHAPES = 140
LARGEST_RADIUS, SMALLEST_RADIUS = 0.30, 0.02  # of the side
SATURATION = 0.35  # of what independent channels would have
_LUMINANCE = torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)  # ITU-R BT.601


def paint_scene(seed: int, name: str, size: int) -> Tensor:
    """Paints one scene.

    Args:
        seed: Of the dataset.
        name: Of the scene; another name, another picture.
        size: Side in pixels.

    Returns:
        An 8-bit picture, (3, size, size), float32 in [0, 1].
    """
    rng = generator(seed, name, "scene")
    textures = [power_law_field(size, slope, rng) for slope in (1.0, 1.3, 1.7)]
    palette = _muted(torch.rand(6, 3, generator=rng), torch.rand(6, 1, generator=rng))
    canvas = _ground(size, palette, textures[2])
    _scatter_shapes(canvas, palette, textures, rng)
    light = 1 + 0.12 * power_law_field(size, 2.5, rng)
    return quantize(_expose(canvas * light, rng)[None])[0]


def power_law_field(size: int, slope: float, rng: torch.Generator) -> Tensor:
    """A random field with amplitude spectrum 1 / f**slope, mean 0 and standard deviation 1; (size, size)."""
    vertical = torch.fft.fftfreq(size)[:, None]
    horizontal = torch.fft.rfftfreq(size)[None, :]
    frequency = torch.hypot(vertical, horizontal)
    frequency[0, 0] = math.inf  # no mean
    spectrum = torch.fft.rfft2(torch.randn(size, size, generator=rng)) / frequency**slope
    field: Tensor = torch.fft.irfft2(spectrum, s=(size, size))
    return field / field.std()


def _muted(colors: Tensor, lightness: Tensor) -> Tensor:
    """Colors (K, 3) of the given lightness (K, 1), less saturated than they came."""
    return lightness + SATURATION * (colors - colors.mean(1, keepdim=True))


def _ground(size: int, palette: Tensor, texture: Tensor) -> Tensor:
    """A vertical gradient between two colors of the palette, slightly textured; (3, size, size)."""
    share = torch.linspace(0, 1, size).reshape(1, size, 1)
    ground = palette[0].reshape(3, 1, 1) * (1 - share) + palette[1].reshape(3, 1, 1) * share
    return ground + 0.05 * texture


def _scatter_shapes(canvas: Tensor, palette: Tensor, textures: list[Tensor], rng: torch.Generator) -> None:
    """Lays shapes over the canvas, in place; each only touches its own window."""
    size = canvas.shape[-1]
    draws = torch.rand(SHAPES, 10, generator=rng)
    colors = palette[torch.randint(len(palette), (SHAPES,), generator=rng)]
    colors = colors + 0.12 * torch.randn(SHAPES, 1, generator=rng)
    shifts = torch.randint(size, (SHAPES, 2), generator=rng).tolist()
    near, far = (LARGEST_RADIUS * size) ** -2, (SMALLEST_RADIUS * size) ** -2
    radii = (near + draws[:, 0] * (far - near)) ** -0.5  # density ~ radius**-3
    radii[: SHAPES // 8] = size * (0.1 + 0.2 * draws[: SHAPES // 8, 0])  # some large ones at the back
    for shape, (along, color, shift) in enumerate(zip(draws.tolist(), colors, shifts, strict=True)):
        radius = float(radii[shape])
        center_y, center_x = along[1] * size, along[2] * size
        top, bottom = _window(center_y, radius, size)
        left, right = _window(center_x, radius, size)
        y = torch.arange(top, bottom)[:, None] + 0.5 - center_y
        x = torch.arange(left, right)[None, :] + 0.5 - center_x
        angle, slimness = math.pi * along[3], 0.4 + 0.6 * along[4]
        u = (math.cos(angle) * x + math.sin(angle) * y) / radius
        v = (math.cos(angle) * y - math.sin(angle) * x) / (radius * slimness)
        distance = torch.hypot(u, v) if along[5] < 0.6 else torch.maximum(u.abs(), v.abs()) * math.sqrt(2)
        cover = ((1 - distance) * radius * slimness + 0.5).clamp(0, 1)  # edges one pixel soft
        texture = textures[shape % len(textures)].roll(tuple(shift), (0, 1))[top:bottom, left:right]
        shading = 0.15 * (along[6] - 0.5) * u + (0.02 + 0.10 * along[7]) * texture
        window = canvas[:, top:bottom, left:right]
        window += cover * (color.reshape(3, 1, 1) + shading - window)


def _window(center: float, radius: float, size: int) -> tuple[int, int]:
    return max(0, math.floor(center - radius - 1)), min(size, math.ceil(center + radius + 1))


def _expose(picture: Tensor, rng: torch.Generator) -> Tensor:
    """Brings the luminance to a mean near .46 and a standard deviation near .21, then clips to [0, 1]."""
    wish = torch.rand(2, generator=rng)
    mean, spread = 0.43 + 0.06 * float(wish[0]), 0.19 + 0.04 * float(wish[1])
    luminance = (picture * _LUMINANCE).sum(0)
    return ((picture - luminance.mean()) * (spread / luminance.std()) + mean).clamp(0, 1)
