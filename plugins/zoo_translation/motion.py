"""Synthetic motion: pictures of textured shapes that move over a ground, with the flow that they move by.

What the flow network learns from, and what flows are measured on, since nobody knows the flow of real films.

Shapes: B batch, L layers, H, W height and width.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

LAYERS = 6  # the ground and five shapes
TEXTURE = 24  # side of a texture, in pixels of its own


def pairs(
    count: int, side: int, shift: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two pictures in succession, and the flow from the second to the first.

    Each layer moves by an amount of its own, up to `shift` pixels along each axis, not in whole pixels. Half of the
    grounds stand still.

    Args:
        count: B.
        side: H and W.
        shift: the most pixels.
        generator: of the CPU.

    Returns:
        previous and current, (B, 3, H, W), -1 to 1; and the flow, (B, 2, H, W) in pixels, backward: current at x is
        previous at x + flow(x), but for what was hidden.
    """

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    move = uniform(LAYERS, 2, low=-shift, high=shift)
    still = uniform(1, 1).lt(0.5) & torch.arange(LAYERS).eq(0).view(1, -1, 1)
    move = torch.where(still, 0.0, move)
    middle, radius = uniform(LAYERS, 2, low=0.0, high=side), uniform(LAYERS, 2, low=0.08 * side, high=0.3 * side)
    radius[:, 0] = 4.0 * side  # the ground is everywhere
    power = 2.0 + 6.0 * uniform(LAYERS, 1).round()  # of an ellipse, or nearly a rectangle
    textures = _textures(count, generator)
    scale = uniform(LAYERS, 1, low=1.0, high=3.0)  # pixels of a texture's pixel
    frames, flow = [], torch.zeros(count, 2, side, side)
    for offset in (torch.zeros_like(move), move):
        canvas = torch.zeros(count, 3, side, side)
        flow = torch.zeros(count, 2, side, side)
        for layer in range(LAYERS):
            place = _grid(side) - (middle + offset)[:, layer, None, None]  # B H W 2, from the layer's middle
            distance = (
                (place / radius[:, layer, None, None]).abs().pow(power[:, layer, None, None]).sum(3, keepdim=True)
            )
            # An edge of about one pixel, so that half a pixel of motion is seen.
            edge = ((1 - distance) * radius[:, layer].min(1).values.view(-1, 1, 1, 1) / 2 + 0.5).clamp(0, 1)
            cover = edge.permute(0, 3, 1, 2)
            inside = place / (scale[:, layer, None, None] * TEXTURE / 2)
            colour = F.grid_sample(textures[:, layer], inside, padding_mode="reflection", align_corners=False)
            canvas = cover * colour + (1 - cover) * canvas
            flow = torch.where(cover > 0.5, -move[:, layer, :, None, None], flow)
        frames.append(canvas)
    return frames[0], frames[1], flow


def _grid(side: int) -> torch.Tensor:
    """(1, H, W, 2), x and y in pixels."""
    axis = torch.arange(side, dtype=torch.float32)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), 2).unsqueeze(0)


def _textures(count: int, generator: torch.Generator) -> torch.Tensor:
    """(B, L, 3, S, S), -1 to 1: a colour with coarse and fine spots, of which some are nearly plain."""
    total = torch.rand(count, LAYERS, 3, 1, 1, generator=generator) * 2 - 1
    for cells, weight in ((3, 0.5), (8, 0.4), (TEXTURE, 0.25)):
        spots = torch.randn(count * LAYERS, 3, cells, cells, generator=generator)
        spots = F.interpolate(spots, (TEXTURE, TEXTURE), mode="bilinear").view(count, LAYERS, 3, TEXTURE, TEXTURE)
        total = total + weight * torch.rand(count, LAYERS, 1, 1, 1, generator=generator) * spots
    return total.clamp(-1, 1)
