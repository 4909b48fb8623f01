"""What the Row LSTM and the Diagonal BiLSTM have in common: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent
Neural Networks, ICML 2016, arXiv 1601.06759, sections 3.1 to 3.4 and table 1.

Shapes: B batch, C colour channels, H, W height and width, L levels, h width.

Features are in C contiguous groups, R, G, B. The 4h features of the gates keep the four gates of a group side by side:
group 0's o, f, i and g, then group 1's, and so on. So a masked convolution to 4h features in C groups masks each gate
as it masks h features.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn.autoregressive import AutoregressiveModel
from zoo.nn.masked import MaskedConv2d

KERNEL_SIZE = 3  # k of Row LSTM; the paper takes "3 or larger"


def lstm(gates: torch.Tensor, c: torch.Tensor, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 3: hidden and cell state, (..., h) each, of gates before their nonlinearities, (..., 4h), and the last c."""
    gates = gates.unflatten(-1, (groups, 4, -1))  # ... C 4 h/C
    o, f, i = gates[..., :3, :].sigmoid().unbind(-2)
    g = gates[..., 3, :].tanh()
    c = f * c.unflatten(-1, (groups, -1)) + i * g
    return (o * c.tanh()).flatten(-2), c.flatten(-2)


def neighbours(h: torch.Tensor) -> torch.Tensor:
    """What the k x 1 convolution multiplies at each column, (W, B, h) -> (W, B, k h); zeros beyond the edges."""
    centre = KERNEL_SIZE // 2
    padded = F.pad(h, (0, 0, 0, 0, centre, centre))
    return torch.cat([padded[tap : tap + len(h)] for tap in range(KERNEL_SIZE)], -1)


class PixelRNN(AutoregressiveModel):
    """Table 1: a 7x7 convolution of mask A, residual LSTM layers, and two 1x1 convolutions of mask B.

    Subclasses set `layers`, each (B, 2h, H, W) -> (B, 2h, H, W), and say how they are stepped.

    Args:
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel.
        n_layers: LSTM layers.
        width: h, a multiple of C.
        head_width: features of the head.
    """

    layers: nn.ModuleList

    def __init__(
        self, *, image_shape: tuple[int, int, int], levels: int, n_layers: int, width: int, head_width: int
    ) -> None:
        super().__init__(image_shape=image_shape, levels=levels)
        if min(n_layers, width, head_width) < 1:
            raise ValueError("n_layers, width and head_width must be at least 1")
        channels = image_shape[0]
        if width % channels:
            nearest = max(round(width / channels), 1) * channels
            raise ValueError(f"width must be a multiple of the {channels} channels; take {nearest}, not {width}")
        self.input = MaskedConv2d(channels, 2 * width, 7, mask="A", groups=channels)
        self.head = MaskedConv2d(2 * width, head_width, 1, mask="B", groups=channels)
        self.output = MaskedConv2d(head_width, channels * levels, 1, mask="B", groups=channels)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, L, C, H, W) of the last layer's features (B, 2h, H, W)."""
        x = self.output(F.relu(self.head(F.relu(x))))  # B C*L H W, the logits of one channel side by side
        return x.unflatten(1, (self.image_shape[0], self.levels)).transpose(1, 2)
