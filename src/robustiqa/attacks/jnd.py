"""How much a pixel may change before an eye notices: the just noticeable difference (JND) of a photograph.

Luminance adaptation: changes hide in the dark and, less, in the bright. Contrast masking: they hide where the
neighborhood is busy, at edges less than in texture. Both together, less their overlap, bound each pixel.
Source: Liu, Lin, Paul, Deng and Zhang 2010, "Just Noticeable Difference for Images With Decomposition Model for
Separating Edge and Textured Regions", IEEE TCSVT; luminance from Chou and Li 1995, overlap from Yang et al. 2005. The
constants are those of the published code of Yang, Liu, Li and Jiang 2024 (score-boundary attack).
Deviations: that code subtracts the edge map from the grey image in 8 bits, which wraps to the grey level plus one; its
texture is the grey image in all but name, and here it is the grey image. Grey levels are not rounded. Edges are
kornia's Canny, whose gradient is measured in L2 where OpenCV's is in L1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustiqa.core.errors import MissingExtraError

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV turns RGB to grey
CANNY = (50 / 255, 150 / 255)  # published code: 50 and 150 levels of the Sobel gradient that is not normalized
EDGE_MASKING, TEXTURE_MASKING = 0.117, 0.351  # Liu et al. 2010: texture masks three times as much as edges
OVERLAP = 0.3  # Yang et al. 2005
WINDOW = 5  # side of the neighborhood whose contrast masks


def just_noticeable_difference(images: Tensor) -> Tensor:
    """The JND of every pixel, the same for its three channels.

    Args:
        images: Photographs, (N, 3, H, W), in [0, 1].

    Returns:
        (N, 1, H, W), in [0, 1] pixel units; at least 3/255, and 133.4/255 at the most.

    Raises:
        MissingExtraError: if kornia is not installed.

    Source: Liu et al. 2010; J = LA + CM - 0.3 * min(LA, CM).
    """
    levels = 255 * grey(images)
    luminance = luminance_adaptation(levels)
    masking = contrast_masking(levels, edge_map(images))
    return (luminance + masking - OVERLAP * torch.minimum(luminance, masking)) / 255


def luminance_adaptation(levels: Tensor) -> Tensor:
    """What hides in the brightness of a pixel: 20 levels in black, 3 at mid-grey, 6 in white.

    Args:
        levels: Grey levels, 0 to 255, of any shape.

    Source: Chou and Li 1995, here on the pixel itself, where they take the mean of its neighborhood.
    """
    dark = 17 * (1 - (levels.clamp(0, 127) / 127).sqrt()) + 3
    bright = 3 * (levels - 127) / 128 + 3
    return torch.where(levels <= 127, dark, bright)


def contrast_masking(levels: Tensor, edges: Tensor) -> Tensor:
    """What hides in the contrast of a pixel's 5x5 neighborhood, in levels.

    Args:
        levels: Grey levels, (N, 1, H, W), 0 to 255.
        edges: Edge map, same shape, of 0 and 1.
    """
    return EDGE_MASKING * _contrast(255 * edges) + TEXTURE_MASKING * _contrast(levels)


def edge_map(images: Tensor) -> Tensor:
    """Canny edges of the grey image, (N, 1, H, W), of 0 and 1; no blur comes first, as in OpenCV.

    Raises:
        MissingExtraError: if kornia is not installed.
    """
    try:
        from kornia.filters import canny  # heavy import
    except ImportError:
        raise MissingExtraError(
            "edge maps need kornia, which is not installed; install it with `pip install 'robustiqa[kornia]'`."
        ) from None
    shades = grey(images)
    found = [canny(shade[None], *CANNY, kernel_size=(1, 1))[1] for shade in shades]  # one by one: none sees another
    return torch.cat(found)


def grey(images: Tensor) -> Tensor:
    """Luma of RGB images (N, 3, H, W), (N, 1, H, W), in the same units."""
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device)
    return (weights[:, None, None] * images).sum(1, keepdim=True)


def _contrast(values: Tensor) -> Tensor:
    """Largest less smallest value of each 5x5 neighborhood, cut at the border; (N, 1, H, W)."""
    largest = F.max_pool2d(values, WINDOW, stride=1, padding=WINDOW // 2)
    smallest = -F.max_pool2d(-values, WINDOW, stride=1, padding=WINDOW // 2)
    return largest - smallest
