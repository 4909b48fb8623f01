"""Masked convolutions over channel groups (van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks,
ICML 2016, arXiv 1601.06759, section 3.4).

Shapes: B batch, I and O input and output features, H, W height and width, k kernel size, C colour channels.

Features are split into C contiguous groups, one a colour channel: R, G, B. The features of group c may depend on all
channels of the pixels before, in raster order, and on channels <= c of their own pixel (mask B), or < c (mask A).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn.rows import row_conv


def group_bounds(features: int, groups: int) -> list[int]:
    """Where the contiguous groups begin and end: group g holds features bounds[g] to bounds[g + 1] - 1."""
    return [g * features // groups for g in range(groups + 1)]


def group_of(features: int, groups: int) -> torch.Tensor:
    """The group of every feature, (features,)."""
    bounds = group_bounds(features, groups)
    sizes = torch.tensor([end - start for start, end in itertools.pairwise(bounds)], device="cpu")
    return torch.repeat_interleave(torch.arange(groups, device="cpu"), sizes)


class MaskedConv2d(nn.Module):
    """A k x k convolution that sees only the past in raster order; the size of the map is kept.

    The kernel's rows below the centre would be zero under every mask, so they do not exist: the weight is
    (O, I, rows_above + 1, k). The mask is multiplied in the graph, so that neither the weights nor the moments of an
    optimiser ever hold anything that the mask hides.

    Args:
        in_features, out_features: I and O; both at least `groups`.
        kernel_size: k, odd.
        mask: "A" hides the pixel's own channel, "B" shows it.
        groups: C, the number of colour channels.
        rows_above: how many rows above the pixel's own the kernel has; k // 2 unless given, 0 for a 1 x k kernel.
    """

    mask: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        mask: str,
        groups: int = 1,
        rows_above: int | None = None,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size}")
        if min(in_features, out_features) < groups:
            raise ValueError(f"{min(in_features, out_features)} features can't be split into {groups} channel groups")
        self.in_features, self.out_features = in_features, out_features
        self.kernel_size, self.mask_type, self.groups = kernel_size, mask, groups
        self.centre = kernel_size // 2
        self.rows_above = self.centre if rows_above is None else rows_above
        self.weight = nn.Parameter(torch.empty(out_features, in_features, self.rows_above + 1, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.register_buffer("mask", self._make_mask(), persistent=False)
        self.reset_parameters()

    def _make_mask(self) -> torch.Tensor:
        device = self.weight.device
        size = (self.out_features, self.in_features, self.rows_above + 1, self.kernel_size)
        if device.type == "meta":  # where a mask has no values
            return torch.empty(size, dtype=self.weight.dtype, device=device)
        source, target = (group_of(n, self.groups).to(device) for n in (self.in_features, self.out_features))
        before = source[None, :] < target[:, None] if self.mask_type == "A" else source[None, :] <= target[:, None]
        mask = torch.ones(size, dtype=self.weight.dtype, device=device)
        mask[:, :, -1, self.centre + 1 :] = 0
        mask[:, :, -1, self.centre] = before.to(mask.dtype)
        return mask

    def reset_parameters(self) -> None:
        """Uniform in +-1/sqrt(fan_in), the default of torch, with the fan-in that the mask leaves."""
        spatial = self.kernel_size * self.rows_above + self.centre + 1
        bound = 1 / math.sqrt(self.in_features * spatial)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def masked_weight(self) -> torch.Tensor:
        """The weight that acts, (O, I, rows_above + 1, k)."""
        return self.weight * self.mask

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) -> (B, O, H, W)."""
        if self.rows_above == 0 and x.device.type == "cpu":
            return row_conv(x, self.masked_weight(), self.bias)
        # Padding rows go above the map only; those that conv2d adds below give rows that are cut off again.
        padding = (self.rows_above, self.centre)
        return F.conv2d(x, self.masked_weight(), self.bias, padding=padding)[:, :, : x.shape[2]]

    def linked(self, x: torch.Tensor, features: torch.Tensor, link: nn.Conv2d) -> torch.Tensor:
        """`self(x) + link(features)`; the link is a 1 x 1 convolution. On a CPU one product, if this has one row."""
        if self.rows_above or x.device.type != "cpu":
            added: torch.Tensor = self(x) + link(features)
            return added
        bias = self.bias if link.bias is None else self.bias + link.bias
        return row_conv(x, self.masked_weight(), bias, (features, link.weight))

    def extra_repr(self) -> str:
        k = self.kernel_size
        return f"{self.in_features}, {self.out_features}, {k}x{k}, mask {self.mask_type}, groups={self.groups}"
