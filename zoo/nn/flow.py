"""Optical flow: pictures moved along it, and flow found by matching blocks.

A flow is in pixels and backward: the moved picture at x is the picture at x + flow(x). Channel 0 is along the width,
channel 1 along the height.

Shapes: B batch, C channels, S shifts, H, W height and width.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def warp(images: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Pictures (B, C, H, W) moved along flows (B, 2, H, W), bilinearly; beyond the border is the border's pixel."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).view(-1, 1)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    # With align_corners -1 and 1 are the middles of the first and the last pixel; without, even no flow would blur.
    x = 2 * (columns + flow[:, 0]) / max(width - 1, 1) - 1
    y = 2 * (rows + flow[:, 1]) / max(height - 1, 1) - 1
    grid = torch.stack([x, y], 3).to(images.dtype)  # B H W 2
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)


def resize_flow(flow: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A flow (B, 2, H, W) for pictures of another size: each component grows with its own axis."""
    scale = torch.tensor([width / flow.shape[3], height / flow.shape[2]], device=flow.device, dtype=flow.dtype)
    resized = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    return resized * scale.view(1, 2, 1, 1)


def end_point_error(flow: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean length of the difference of two flows (B, 2, H, W), in pixels; a scalar."""
    return (flow - truth).square().sum(1).sqrt().mean()


@torch.no_grad()
def match_blocks(previous: torch.Tensor, current: torch.Tensor, *, reach: int = 4, block: int = 5) -> torch.Tensor:
    """The flow that moves one picture to another, in whole pixels: of all shifts the one under which blocks agree most.

    Among shifts that agree equally, as on a plain ground, the shortest is taken. Memory grows with
    the number of shifts, (2 reach + 1)^2.

    Args:
        previous, current: (B, C, H, W); `current` is about `warp(previous, flow)`.
        reach: the largest shift along each axis.
        block: side of the blocks, an odd number.

    Returns:
        (B, 2, H, W), float32.
    """
    side = range(-reach, reach + 1)
    shifts = sorted(((y, x) for y in side for x in side), key=lambda shift: (shift[0] ** 2 + shift[1] ** 2, shift))
    padded = F.pad(previous.float(), (reach,) * 4, mode="replicate")
    channels, height, width = current.shape[1:]
    current = current.float()
    errors = [
        (padded[:, :, reach + y : reach + y + height, reach + x : reach + x + width] - current).square_().sum(1)
        for y, x in shifts
    ]
    # Means over blocks as products of matrices, in which CPUs are faster than in pooling.
    rows, columns = (_means(size, block, current.device) for size in (height, width))
    costs = rows / channels @ (torch.stack(errors, 1) @ columns.mT)  # B S H W
    best = (costs <= costs.amin(1, keepdim=True) + 1e-6).to(torch.uint8).argmax(1)  # the first, B H W
    flows = torch.tensor(shifts, device=current.device, dtype=torch.float32).flip(1)
    return flows[best].permute(0, 3, 1, 2).contiguous()


def _means(size: int, block: int, device: torch.device) -> torch.Tensor:
    """(size, size): the means of `block` numbers around each, of fewer at the ends."""
    place = torch.arange(size, device=device)
    near = ((place - place.view(-1, 1)).abs() <= block // 2).float()
    return near / near.sum(1, keepdim=True)
