"""Convolution of 3x3 with a quarter of the multiplications, for drawing on a CPU in float32.

Winograd's algorithm F(4x4, 3x3) takes 6x6 tiles of the features, which overlap by two pixels, to a place where a
convolution of a tile is a product of 36 numbers with 36 others: Y = A'[(G g G') * (B' d B)]A for features d and weights
g (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, arXiv 1509.09308, section 4.2). Over
many features each of the 36 is a matrix product. In float32 the result is right to about 1e-5 of its largest value.

Shapes: B batch, I, O features in and out, H, W height and width, T tiles of all pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

FEWEST = 256  # features below which the transforms cost more than they save

# From the points 0, 1, -1, 2, -2 and infinity.
_TILES = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_WEIGHTS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUTS = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """(B, I, H, W) and (O, I, K, K), K odd, to (B, O, H, W): by `conv3x3` where that pays.

    Which way is taken doesn't depend on B, so that a picture does not either.
    """
    if (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= FEWEST
        and not torch.is_autocast_enabled("cpu")  # which would take the transforms in its precision
        and not torch.compiler.is_compiling()  # an exported graph is for any device
        and all(size >= 32 and size % 4 == 0 for size in x.shape[2:])
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
    ):
        x = conv3x3(x, weight)
        return x if bias is None else x + bias.view(-1, 1, 1)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def conv3x3(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, I, H, W) and (O, I, 3, 3) to (B, O, H, W), channels last; H and W are multiples of 4."""
    batch, inputs, height, width = x.shape
    rows, columns = height // 4, width // 4
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()  # B H+2 W+2 I
    of_sample, of_row, of_pixel, _ = x.stride()
    tiles = x.as_strided(
        (6, 6, batch, rows, columns, inputs), (of_row, of_pixel, of_sample, 4 * of_row, 4 * of_pixel, 1)
    )
    features = _both_ways(_TILES, tiles).view(36, -1, inputs)  # 36 T I
    weights = _both_ways(_WEIGHTS, weight.permute(2, 3, 1, 0)).view(36, inputs, -1)  # 36 I O
    products = torch.bmm(features, weights)
    outputs = _both_ways(_OUTPUTS, products.view(6, 6, -1)).view(4, 4, batch, rows, columns, -1)
    return outputs.permute(2, 3, 0, 4, 1, 5).reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def _both_ways(numbers: Sequence[Sequence[float]], x: torch.Tensor) -> torch.Tensor:
    """The matrix `numbers` applied to the first and to the second dimension of `x`."""
    matrix = x.new_tensor(numbers)
    once = (matrix @ x.reshape(len(x), -1)).view(len(matrix), x.shape[1], -1)
    return matrix @ once
