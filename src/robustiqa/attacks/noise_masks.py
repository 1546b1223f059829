"""First directions of the score-boundary attack: texture, where quality models and eyes look.

A photograph is changed at its edges and in its salient parts only, by a crop of a photographed texture of high
frequency.
Source: Yang, Liu, Li and Jiang 2024, "Exploring Vulnerabilities of No-Reference Image Quality Assessment Models: A
Query-Based Black-Box Method", IEEE TCSVT, initial attack directions; saliency from Zhang, Sclaroff, Lin, Shen, Price
and Mech 2015, "Minimum Barrier Salient Object Detection at 80 FPS".
Deviations: the two texture photographs of the published code are not public; grass and gravel of scikit-image stand in
for them, grey. Saliency is the minimum barrier distance alone, without the color contrast, smoothing and contrast
stretch that make the published MB+; it is found by sweeps along rows and columns. A photograph in which nothing
stands out is masked nowhere, so that it can be changed at all. The published code crops its saliency maps elsewhere
than its photographs; here they lie on one another.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from robustiqa.attacks.jnd import edge_map
from robustiqa.core.errors import DataError
from robustiqa.core.image_files import read_image

TEXTURES = ("grass.png", "gravel.png")  # in scikit-image's data folder, 512x512, public domain
SALIENT = 0.225  # published code: saliency / 0.225 > 1, for it divides by ImageNet's standard deviation
SWEEPS = 3  # rounds of the four directions; Zhang et al. 2015 find three scans enough


def noise_mask(images: Tensor) -> Tensor:
    """Where the first directions may change a photograph: within a pixel of an edge, or where it is salient.

    Args:
        images: Photographs, (N, 3, H, W), in [0, 1].

    Returns:
        (N, 1, H, W), of booleans; all true for a photograph without edges and salient parts.

    Raises:
        MissingExtraError: if kornia is not installed.
    """
    near_edges = F.max_pool2d(edge_map(images), 3, stride=1, padding=1) > 0  # as a 3x3 blur of the edges
    mask = near_edges | (minimum_barrier_saliency(images) > SALIENT)
    return mask | ~mask.flatten(1).any(1)[:, None, None, None]


def minimum_barrier_saliency(images: Tensor) -> Tensor:
    """How far each pixel is from the image's border by barriers, the mean over channels, as a share of the farthest.

    Args:
        images: (N, 3, H, W), in [0, 1].

    Returns:
        (N, 1, H, W); the largest value of each photograph is 1, or all are 0 where it is flat.
    """
    saliency = minimum_barrier_distance(images).mean(1, keepdim=True)
    largest = saliency.flatten(1).amax(1)[:, None, None, None]
    return saliency / torch.where(largest > 0, largest, 1.0)


def minimum_barrier_distance(values: Tensor) -> Tensor:
    """How much of a step there is between a pixel and the border, whichever way one goes.

    A path's barrier is its largest value less its smallest; a pixel's distance is the least barrier of the paths from
    it to the border, by steps along rows and columns. Background is connected to the border and close to zero. Paths
    of more turns than the sweeps allow are not found: the distance may come out too large, never too small.

    Args:
        values: (N, C, H, W); each channel by itself.

    Returns:
        Same shape, not negative; 0 at the border.

    Source: Zhang et al. 2015, the minimum barrier distance and its raster scans, here along rows and columns in turn.
    """
    lowest, highest = values.clone(), values.clone()  # of the best path so far
    distance = torch.full_like(values, torch.inf)
    for side in (distance[..., :1, :], distance[..., -1:, :], distance[..., :1], distance[..., -1:]):
        side.zero_()
    for _ in range(SWEEPS):
        for axis in (2, 3):
            _sweep(values, lowest, highest, distance, axis, backward=False)
            _sweep(values, lowest, highest, distance, axis, backward=True)
    return distance


def _sweep(values: Tensor, lowest: Tensor, highest: Tensor, distance: Tensor, axis: int, *, backward: bool) -> None:
    """Lets each line of pixels go on from the line before it, where that makes a smaller barrier; writes in place."""
    size = values.shape[axis]
    order = range(size - 2, -1, -1) if backward else range(1, size)
    for here in order:
        before = here + 1 if backward else here - 1
        own = values.select(axis, here)
        low = torch.minimum(lowest.select(axis, before), own)
        high = torch.maximum(highest.select(axis, before), own)
        better = high - low < distance.select(axis, here)
        for kept, found in ((lowest, low), (highest, high), (distance, high - low)):
            line = kept.select(axis, here)
            line.copy_(torch.where(better, found, line))


def texture_images() -> Tensor:
    """The photographed textures, (2, 512, 512), grey in [0, 1].

    Raises:
        DataError: if the installed scikit-image lacks them.
    """
    found = importlib.util.find_spec("skimage")  # the package itself is not imported, which is slow
    if found is None or found.origin is None:
        raise DataError("texture directions need scikit-image, which is not installed; install it.")
    folder = Path(found.origin).parent / "data"
    for name in TEXTURES:
        if not (folder / name).is_file():
            raise DataError(f"expected scikit-image's texture {folder / name}, found nothing; reinstall scikit-image.")
    return torch.stack([read_image(folder / name)[0] for name in TEXTURES])


def texture_crop(textures: Tensor, height: int, width: int, draw: torch.Generator) -> Tensor:
    """A random crop of a random texture, (height, width); textures go on as their own mirror images.

    Args:
        textures: (K, h, w).
        height: Of the crop.
        width: Of the crop.
        draw: What is random.
    """
    which, top, left = (int(torch.randint(size, (), generator=draw, device=draw.device)) for size in textures.shape)
    rows, columns = _mirrored(top, height, textures.shape[1]), _mirrored(left, width, textures.shape[2])
    return textures[which][rows[:, None], columns]


def _mirrored(start: int, length: int, size: int) -> Tensor:
    """Places start, start + 1, ... on a line of `size` that is walked to and fro."""
    places = torch.arange(start, start + length) % (2 * size)
    return torch.minimum(places, 2 * size - 1 - places)
