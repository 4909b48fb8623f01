"""A condition that knows where: the network m of van den Oord et al., arXiv 1606.05328, section 2.3, with s = m(h).

The paper says "a deconvolutional neural network" and no more; how many layers, and how wide, is ours.

Shapes: B batch, F features of h, S maps of s, H, W height and width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

DOUBLINGS = 3


class LocationNetwork(nn.Sequential):
    """h as maps of the picture's size: one deconvolution to an eighth of it, then three that double it.

    Args:
        features: F.
        maps: S.
        size: (H, W); what goes beyond is cut off.
    """

    def __init__(self, features: int, maps: int, size: tuple[int, int]) -> None:
        self.size = size
        start = tuple(-(-side // 2**DOUBLINGS) for side in size)
        first = nn.ConvTranspose2d(features, 4 * maps, start)  # type: ignore[arg-type]
        nn.init.normal_(first.weight, std=math.sqrt(2 / features))
        layers: list[nn.Module] = [first]
        for before, after in pairwise((4 * maps, 2 * maps, maps, maps)):
            layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
            nn.init.normal_(layers[-1].weight, std=math.sqrt(2 / (4 * before)))  # a pixel has 2x2 of the 4x4 weights
        super().__init__(*layers)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """(B, F, 1, 1) -> (B, S, H, W)."""
        height, width = self.size
        return super().forward(h)[:, :, :height, :width]
