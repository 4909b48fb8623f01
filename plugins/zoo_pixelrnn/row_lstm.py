"""Row LSTM: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016, arXiv 1601.06759,
sections 3.1 and 3.3 to 3.5, figure 4 and table 1.

Rows are read from top to bottom, each at once. The state at a pixel comes from three states of the row above and from
the layer's input at the pixel and its left neighbour. So the context widens by one column a row: a triangle above the
pixel, past pixels outside of which are never seen. Diagonal BiLSTM mends this. Left out: skip connections from every
layer to the output, and the multi-scale variant (section 3.6).

Shapes: B batch, C colour channels, H, W height and width, L levels, h width, k = 3.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from zoo.nn.masked import MaskedConv2d
from zoo_pixelrnn.cached import CachedRowLSTM
from zoo_pixelrnn.network import KERNEL_SIZE, PixelRNN, lstm, neighbours


class RowLSTMLayer(nn.Module):
    """Section 3.1 within the residual connection of figure 5, right."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.input_to_state = MaskedConv2d(2 * width, 4 * width, KERNEL_SIZE, mask="B", groups=groups, rows_above=0)
        # K_ss without a mask: the row above is past for all. Its bias would be that of K_is once more.
        bound = 1 / math.sqrt(KERNEL_SIZE * width)
        self.state_to_state = nn.Parameter(torch.empty(KERNEL_SIZE * width, 4 * width).uniform_(-bound, bound))
        self.first_h = nn.Parameter(torch.zeros(width))  # the states above the first row, the same for each column
        self.first_c = nn.Parameter(torch.zeros(width))
        self.lift = MaskedConv2d(width, 2 * width, 1, mask="B", groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 2h, H, W) -> (B, 2h, H, W)."""
        batch, _, _, columns = x.shape
        rows = self.input_to_state(x).permute(2, 3, 0, 1).contiguous().unbind()  # of all rows at once: H times W B 4h
        h, c = (state.expand(columns, batch, -1) for state in (self.first_h, self.first_c))
        states = []
        for row in rows:
            gates = torch.addmm(row.flatten(0, 1), neighbours(h).flatten(0, 1), self.state_to_state)
            h, c = lstm(gates.view_as(row), c, self.groups)  # W B h
            states.append(h)
        return x + self.lift(torch.stack(states).permute(2, 3, 0, 1))


class RowLSTM(PixelRNN):
    """PixelRNN of Row LSTM layers, with R, G, B channel masks.

    Args:
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel.
        n_layers: LSTM layers; 12 in the paper, for CIFAR-10.
        width: h, half the features between layers, a multiple of C; 128 in the paper, for CIFAR-10.
        head_width: features of the head; 32 for MNIST and 1024 for CIFAR-10 in the paper.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        levels: int = 256,
        n_layers: int = 12,
        width: int = 126,
        head_width: int = 1024,
    ) -> None:
        super().__init__(image_shape=image_shape, levels=levels, n_layers=n_layers, width=width, head_width=head_width)
        self.layers = nn.ModuleList(RowLSTMLayer(width, image_shape[0]) for _ in range(n_layers))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every sub-pixel given those before it.

        Args:
            images: (B, C, H, W), integers from 0 to L - 1.

        Returns:
            (B, L, C, H, W).
        """
        x = self.input(self.scale(images))  # B 2h H W
        for layer in self.layers:
            x = layer(x)
        return self.logits(x)

    def cached(self, batch: int) -> CachedRowLSTM:
        """This network evaluated sub-pixel by sub-pixel, for `batch` pictures."""
        return CachedRowLSTM(self, batch)
