"""The two discriminators of DVD-GAN (section 3.2 of arXiv 1907.06571v2): D_S of frames, D_T of motion.

D_S sees k frames of a clip at full size, each alone, and adds up their scores. D_T sees all frames at half the size;
its first two residual blocks are three-dimensional and halve time with space (the paper does not say how time is
pooled), the others see the frames one by one. Both tell classes by projection (Miyato and Koyama, arXiv 1802.05637).

Shapes: B batch, T frames, C features, H, W height and width, K classes.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from zoo_videogan.spectral import Conv2d, Conv3d, Embedding, Linear


class DBlock(nn.Module):
    """A residual block of BigGAN's discriminator, over pictures (B, C, H, W) or, with dims 3, clips (B, C, T, H, W).

    Args:
        down: factor by which all sides become smaller, 1 or 2; time only where there are two frames or more.
        first: whether it sees pixels, which are not rectified.
    """

    def __init__(self, c_in: int, c_out: int, *, down: int, dims: int = 2, first: bool = False) -> None:
        super().__init__()
        conv: type[Conv2d] | type[Conv3d] = Conv2d if dims == 2 else Conv3d
        self.down, self.dims, self.first = down, dims, first
        self.convs = nn.ModuleList((conv(c_in, c_out), conv(c_out, c_out)))
        self.skip = conv(c_in, c_out, 1) if c_in != c_out or down > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.convs[0](x if self.first else x.relu())
        h = self._pooled(self.convs[1](h.relu()))
        short = self._pooled(x)
        return h + (short if self.skip is None else self.skip(short))

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        if self.down == 1:
            return x
        if self.dims == 2:
            return F.avg_pool2d(x, self.down)
        return F.avg_pool3d(x, (min(self.down, x.shape[2]), self.down, self.down))


class Head(nn.Module):
    """Features of frames to their scores: summed over space, one number by a linear layer, one by the class."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = Linear(features, 1, bias=False)
        self.embedding = Embedding(classes, features) if classes else None

    def forward(self, x: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """(B, C, H, W) and (B,) to (B,)."""
        h = x.relu().float().sum((2, 3))
        scores: torch.Tensor = self.linear(h)[:, 0].float()
        return scores if self.embedding is None else scores + (self.embedding(label) * h).sum(1)


class SpatialDiscriminator(nn.Module):
    """D_S: each frame by itself."""

    def __init__(self, channels: int, widths: list[int], classes: int) -> None:
        super().__init__()
        pairs = list(itertools.pairwise([channels, *widths]))
        blocks = [DBlock(a, b, down=2, first=not i) for i, (a, b) in enumerate(pairs)]
        self.blocks = nn.Sequential(*blocks, DBlock(widths[-1], widths[-1], down=1))
        self.head = Head(widths[-1], classes)

    def forward(self, frames: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """Frames (B, k, C, H, W) and classes (B,) to scores (B,), the sums over the frames."""
        b, k = frames.shape[:2]
        label = None if label is None else label.repeat_interleave(k)
        scores: torch.Tensor = self.head(self.blocks(frames.flatten(0, 1)), label)
        return scores.view(b, k).sum(1)


class TemporalDiscriminator(nn.Module):
    """D_T: the whole clip at half its size."""

    def __init__(self, channels: int, widths: list[int], classes: int) -> None:
        super().__init__()
        pairs = list(itertools.pairwise([channels, *widths]))
        self.moving = nn.ModuleList(DBlock(a, b, down=2, dims=3, first=not i) for i, (a, b) in enumerate(pairs[:2]))
        still = [DBlock(a, b, down=2) for a, b in pairs[2:]]
        self.still = nn.Sequential(*still, DBlock(widths[-1], widths[-1], down=1))
        self.head = Head(widths[-1], classes)

    def forward(self, clips: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """Clips (B, T, C, H, W) and classes (B,) to scores (B,), the sums over what is left of the frames."""
        x = F.avg_pool3d(clips.transpose(1, 2), (1, 2, 2))  # B C T H/2 W/2
        for block in self.moving:
            x = block(x)
        b, _, t = x.shape[:3]
        x = self.still(x.transpose(1, 2).flatten(0, 1))
        label = None if label is None else label.repeat_interleave(t)
        scores: torch.Tensor = self.head(x, label)
        return scores.view(b, t).sum(1)


class Discriminators(nn.Module):
    """Both; features double from `width` up to 8 times as many.

    Args:
        levels: how often a frame's side is halved down to 4.
    """

    def __init__(self, channels: int, width: int, levels: int, classes: int) -> None:
        super().__init__()
        widths = [width * min(8, 1 << i) for i in range(levels)]
        self.spatial = SpatialDiscriminator(channels, widths, classes)
        self.temporal = TemporalDiscriminator(channels, widths[: max(1, levels - 1)], classes)
