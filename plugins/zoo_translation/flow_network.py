"""A small network that finds flow, in the place of FlowNet2 (Ilg et al., arXiv 1612.01925), which vid2vid refers to.

Blocks of both pictures are compared under all shifts of a window, as in `match_blocks`. As in PWC-Net (Sun et al.,
arXiv 1709.02371, section 3) convolutions see all of these differences and so go by the neighbourhood: they weight the
shifts, whose mean is the flow, and correct it. A flow is found at half the size first; then, by the same weights, what
is left of it after the picture is moved.

Trained by `benchmarks/train_flow.py` on `motion.pairs`; `flow.safetensors` holds its weights.

Shapes: B batch, C channels, F features, S shifts, H, W height and width.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from zoo.nn.flow import resize_flow, warp

WEIGHTS = Path(__file__).parent / "flow.safetensors"


class FlowNetwork(nn.Module):
    """Flow between two pictures of -1 to 1.

    Args:
        features: F, that are seen of the second picture.
        width: channels of the layers.
        reach: the largest shift at the size of the pictures; twice as much at half of it.
    """

    def __init__(self, features: int = 12, width: int = 40, reach: int = 4) -> None:
        super().__init__()
        self.reach = reach
        count = (2 * reach + 1) ** 2
        self.look = nn.Sequential(nn.Conv2d(3, features, 3, 1, 1), nn.LeakyReLU(0.1))
        self.first = nn.Conv2d(count + features, width, 1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(2))
        self.last = nn.Conv2d(width, count + 2, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.sharpness = nn.Parameter(torch.tensor(30.0))
        axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("shifts", torch.stack([x.flatten(), y.flatten()]), persistent=False)  # 2 S

    def forward(self, previous: torch.Tensor, current: torch.Tensor) -> list[torch.Tensor]:
        """Flows (B, 2, H, W) in pixels, backward, of pictures (B, C, H, W), -1 to 1, that get better; the last counts.

        Sides must be even. No gradient goes from a flow to the one before.
        """
        previous, current = (x.expand(-1, 3, -1, -1) for x in (previous, current))
        small = [F.avg_pool2d(x, 2) for x in (previous, current)]
        coarse = resize_flow(self._found(*small), *current.shape[2:])
        given = coarse.detach()
        return [coarse, given + self._found(warp(previous, given), current)]

    def _found(self, previous: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        """A flow of at most `reach` pixels, and a bit."""
        cost = differences(previous, current, self.reach)
        x = F.leaky_relu(self.first(torch.cat([cost, self.look(current)], 1)), 0.1)
        for layer in self.layers:
            x = x + F.leaky_relu(layer(x), 0.1)
        found = self.last(x)
        weights = (found[:, :-2] - self.sharpness * cost).softmax(1)
        return torch.einsum("bshw,cs->bchw", weights, self.shifts) + found[:, -2:]


@torch.no_grad()
def differences(previous: torch.Tensor, current: torch.Tensor, reach: int) -> torch.Tensor:
    """How much blocks of 3x3 pixels differ under each shift of up to `reach` pixels, row by row: (B, S, H, W)."""
    height, width = current.shape[2:]
    padded = F.pad(previous, (reach,) * 4, mode="replicate")
    places = [(row, column) for row in range(2 * reach + 1) for column in range(2 * reach + 1)]
    costs = [(padded[:, :, r : r + height, c : c + width] - current).abs().mean(1) for r, c in places]
    return F.avg_pool2d(torch.stack(costs, 1), 3, 1, 1, count_include_pad=False)


@cache
def pretrained() -> FlowNetwork:
    """The network with its weights, for float32 on the CPU, without gradients."""
    network = FlowNetwork()
    network.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    return network.requires_grad_(False).eval()


@torch.no_grad()
def find_flow(previous: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
    """The flow (B, 2, H, W), float32, in pixels and backward, that moves pictures (B, C, H, W), -1 to 1, to others."""
    network = pretrained()
    height, width = current.shape[2:]
    odd = (0, width % 2, 0, height % 2)
    pair = (F.pad(x.float(), odd, mode="replicate") if any(odd) else x.float() for x in (previous, current))
    if previous.device.type != "cpu":
        network = _on(str(previous.device))
    with torch.autocast(previous.device.type, enabled=False):
        return network(*pair)[-1][:, :, :height, :width]  # type: ignore[no-any-return]


@cache
def _on(device: str) -> FlowNetwork:
    """A copy of the network on another device."""
    network = FlowNetwork()
    network.load_state_dict(pretrained().state_dict())
    return network.requires_grad_(False).eval().to(device)
