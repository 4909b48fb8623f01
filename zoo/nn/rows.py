"""The fast form of a masked convolution of one row on a CPU.

Shapes: B batch, I and O input and output features, H, W height and width, k kernel size, c = k // 2.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def row_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    link: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """A 1 x k convolution whose taps right of the centre are masked, (B, I, H, W) -> (B, O, H, W).

    One matrix product over channels-last features and the c + 1 taps that are left; faster than conv2d, forward and
    backward. The weight is (O, I, 1, k). A link, (B, J, H, W) and its 1 x 1 weight (O, J, 1, 1), is added within the
    same product.
    """
    centre, width = weight.shape[3] // 2, x.shape[3]
    rows = x.permute(0, 2, 3, 1)  # B H W I
    parts = [rows]
    if centre:
        padded = F.pad(rows, (0, 0, centre, 0))
        parts = [padded[:, :, tap : tap + width] for tap in range(centre + 1)]
    taps = weight[:, :, 0, : centre + 1].transpose(1, 2).flatten(1)
    if link is not None:
        features, linked = link
        parts.append(features.permute(0, 2, 3, 1))
        taps = torch.cat([taps, linked[:, :, 0, 0]], 1)
    rows = torch.cat(parts, 3) if len(parts) > 1 else rows
    return F.linear(rows, taps, bias).permute(0, 3, 1, 2)
