"""Strided 4x4 convolutions of few positions as matrix products, for the middle of a U-Net on a CPU.

There a layer has millions of weights for a handful of pixels, and all of its time goes into bringing the weights into
the order that a convolution wants. A product with the patches as a matrix takes them as they lie.

Shapes: B batch, C channels in, D channels out, H, W height and width.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

MOST = 128  # positions of the smaller side, over the batch, up to which the product is the faster one


def halve(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """What a convolution of size 4, stride 2 and padding 1 gives: (B, C, H, W) to (B, D, H/2, W/2)."""
    batch, _, height, width = x.shape
    if x.device.type != "cpu" or batch * height * width > 4 * MOST:
        return layer(x)  # type: ignore[no-any-return]
    patches = F.unfold(x, 4, padding=1, stride=2).transpose(0, 1)  # 16C B HW/4
    y = layer.weight.flatten(1) @ patches.flatten(1)
    y = y if layer.bias is None else y + layer.bias[:, None]
    return y.view(-1, batch, height // 2, width // 2).transpose(0, 1)


def double(layer: nn.ConvTranspose2d, x: torch.Tensor) -> torch.Tensor:
    """What a transposed convolution of size 4, stride 2 and padding 1 gives: (B, C, H, W) to (B, D, 2H, 2W)."""
    batch, channels, height, width = x.shape
    if x.device.type != "cpu" or batch * height * width > MOST:
        return layer(x)  # type: ignore[no-any-return]
    patches = x.flatten(2).transpose(1, 2).reshape(-1, channels) @ layer.weight.flatten(1)  # BHW 16D
    patches = patches.view(batch, height * width, -1).transpose(1, 2)
    y = F.fold(patches, (2 * height, 2 * width), 4, padding=1, stride=2)
    return y if layer.bias is None else y + layer.bias[:, None, None]
