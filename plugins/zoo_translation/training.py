"""What the trainers of this plugin share: jitter, Adam with its fall at the end, checks.

Shapes: B batch, C channels, H, W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

RATE, BETAS = 2e-4, (0.5, 0.999)  # of Adam in pix2pix, pix2pixHD and Everybody Dance Now


def adam(parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """Adam; all of a step in one pass over the weights, which counts at a batch size of 1."""
    if not 0 < rate < math.inf:
        raise ValueError(f"learning_rate must be positive, not {rate}")
    return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True)


def falling(seen: int, examples: int, constant: float) -> float:
    """Factor of the learning rate: 1 over the first `constant` share of a run, then linearly down to 0."""
    share = min(seen / examples, 1.0)
    return 1.0 if share < constant or constant >= 1 else (1 - share) / (1 - constant)


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless a value is from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, not {value}")


def jitter(
    pictures: Sequence[torch.Tensor], pixels: int, *, mirror: bool, nearest: Sequence[bool]
) -> list[torch.Tensor]:
    """Enlarge pictures by some pixels, crop them at random, and flip half of them; all of an example alike.

    Args:
        pictures: uint8 (B, C, H, W) each; H and W are the same for all.
        pixels: by which both sides are enlarged; 0 to leave them.
        mirror: flip half of the examples left to right.
        nearest: which pictures are label maps, whose numbers must not be mixed.

    Returns:
        float32 of 0 to 255 in the same shapes, or uint8 of label maps and of pictures that are not enlarged.
    """
    count, _, height, width = pictures[0].shape
    changed = list(pictures)
    if pixels:
        tops, lefts = (torch.randint(0, pixels + 1, (count,)).tolist() for _ in range(2))
        size = (height + pixels, width + pixels)
        changed = [_enlarged(x, size, whole) for x, whole in zip(changed, nearest, strict=True)]
        crops = [(slice(top, top + height), slice(left, left + width)) for top, left in zip(tops, lefts, strict=True)]
        changed = [torch.stack([x[i, :, rows, columns] for i, (rows, columns) in enumerate(crops)]) for x in changed]
    if mirror:
        flip = (torch.rand(count) < 0.5).view(-1, 1, 1, 1).to(changed[0].device)
        changed = [torch.where(flip, x.flip(3), x) for x in changed]
    return changed


def _enlarged(x: torch.Tensor, size: tuple[int, int], nearest: bool) -> torch.Tensor:
    if nearest:
        return F.interpolate(x, size, mode="nearest-exact")
    return F.interpolate(x.float(), size, mode="bilinear")
