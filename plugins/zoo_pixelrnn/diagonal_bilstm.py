"""Diagonal BiLSTM: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016,
arXiv 1601.06759, sections 3.2 to 3.5, figures 3 and 4 and table 1.

Two LSTMs read the picture along its diagonals. The state of the left one at pixel (i, j) comes from those at (i, j-1)
and (i-1, j); the right one is its mirror image, from (i, j+1) and (i-1, j). As (i, j+1) is not past, the right one's
states are shifted down by one row before the sum: pixel (i, j) gets the state at (i-1, j), which knows the rows above
alone. (Clearing a row in place of the shift, as some codes do, shows a pixel to its own distribution.)

Against the paper:
- The right LSTM of the first layer also reads the pixel itself, in all channels: after the shift it is past. The 7x7
  convolution of mask A shows a pixel only to features that come later, and the last pixel of a row has none of these in
  its own row. So in the paper's network, however deep, a pixel sees the last one of the row above from three columns
  away at most.
- The state before the first pixel of a row is the learned one in every row. In a padded skewed map it would be what the
  LSTM makes of the padding, which depends on the row.
Left out: skip connections from every layer to the output, and the multi-scale variant (section 3.6).

Shapes: B batch, C colour channels, H, W height and width, L levels, h width; 2 is left and right; a diagonal has n
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn.masked import MaskedConv2d
from zoo_pixelrnn.cached import CachedDiagonalBiLSTM
from zoo_pixelrnn.network import PixelRNN, lstm


class Skew(nn.Module):
    """Figure 3: each row is moved one column further than the row above, so that diagonals become columns, W + H - 1
    of them; for the right LSTM on the mirror image.

    Of the columns only their pixels are kept, from top to bottom, and no padding: that is half of a square picture's.
    """

    order: torch.Tensor
    raster: torch.Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        # First and last row of every diagonal.
        self.rows = [(max(0, k - width + 1), min(k, height - 1)) for k in range(height + width - 1)]
        pixels = [(i, k - i) for k, (first, last) in enumerate(self.rows) for i in range(first, last + 1)]
        # Where in the raster each pixel of the diagonals is, on the mirror image for the right LSTM; and the reverse.
        left = torch.tensor([i * width + j for i, j in pixels], device="cpu")
        right = torch.tensor([i * width + width - 1 - j for i, j in pixels], device="cpu")
        device = torch.get_default_device()
        self.register_buffer("order", torch.stack((left, right)).to(device), persistent=False)  # 2 HW
        self.register_buffer("raster", torch.stack((left.argsort(), right.argsort())).to(device), persistent=False)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> list[torch.Tensor]:
        """Two maps (B, F, H, W) as diagonals, W + H - 1 times (2, n, B, F)."""
        maps = (x.permute(2, 3, 0, 1).flatten(0, 1) for x in (left, right))  # HW B F
        skewed = torch.stack([x.index_select(0, order) for x, order in zip(maps, self.order, strict=True)])
        return list(skewed.split([last + 1 - first for first, last in self.rows], dim=1))

    def undo(self, diagonals: Sequence[torch.Tensor], width: int) -> list[torch.Tensor]:
        """The two maps (B, F, H, W) of their diagonals."""
        skewed = torch.cat(list(diagonals), 1)  # 2 HW B F
        maps = (x.index_select(0, raster) for x, raster in zip(skewed, self.raster, strict=True))
        return [x.unflatten(0, (-1, width)).permute(2, 3, 0, 1) for x in maps]


def shift_down(x: torch.Tensor) -> torch.Tensor:
    """Every row of (B, F, H, W) moves down by one; zeros come in on top."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


class DiagonalLayer(nn.Module):
    """Section 3.2 within the residual connection of figure 5, right.

    Args:
        width: h.
        groups: C.
        is_first: the right LSTM reads the picture, too.
    """

    def __init__(self, width: int, groups: int, *, is_first: bool) -> None:
        super().__init__()
        self.groups = groups
        self.input_to_left = MaskedConv2d(2 * width, 4 * width, 1, mask="B", groups=groups)
        self.input_to_right = MaskedConv2d(2 * width, 4 * width, 1, mask="B", groups=groups)
        self.pixel_to_right = nn.Conv2d(groups, 4 * width, 1, bias=False) if is_first else None
        # K_ss, 2 x 1, without a mask: the other pixels are past for all. First the state above, then the one beside.
        bound = 1 / math.sqrt(2 * width)
        self.state_to_state = nn.Parameter(torch.empty(2, 2 * width, 4 * width).uniform_(-bound, bound))
        self.first_h = nn.Parameter(torch.zeros(2, width))  # the states before the first pixel of each row
        self.first_c = nn.Parameter(torch.zeros(2, width))
        self.lift = MaskedConv2d(width, 2 * width, 1, mask="B", groups=groups)

    def forward(self, x: torch.Tensor, pixels: torch.Tensor, skew: Skew) -> torch.Tensor:
        """(B, 2h, H, W), with the scaled picture (B, C, H, W) -> (B, 2h, H, W)."""
        left, right = self.input_to_left(x), self.input_to_right(x)  # B 4h H W
        if self.pixel_to_right is not None:
            right = right + self.pixel_to_right(pixels)
        left, right = skew.undo(self.states(skew(left, right), skew.rows), x.shape[3])  # B h H W
        return x + self.lift(left + shift_down(right))

    def states(self, diagonals: Sequence[torch.Tensor], rows: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
        """h of each diagonal, (2, n, B, h), of what the input adds to its gates, (2, n, B, 4h).

        Both directions advance in one product a diagonal.
        """
        batch = diagonals[0].shape[2]
        first_h, first_c = (x[:, None, None].expand(-1, -1, batch, -1) for x in (self.first_h, self.first_c))
        padding = torch.zeros_like(first_h)  # of the 2 x 1 convolution, above the first row
        h, c = padding[:, :0], padding[:, :0]
        states = []
        for k, (gates, (first, last)) in enumerate(zip(diagonals, rows, strict=True)):
            # Of the diagonal before, rows first - 1 to last: a row ends from k = W on, and one begins while k < H.
            ended, begins = int(first > 0), int(last == k)
            h = torch.cat((padding[:, ended:], h, first_h[:, :begins]), 1)  # 2 n+1 B h
            c = torch.cat((c[:, ended:], first_c[:, :begins]), 1)  # 2 n B h
            windows = torch.cat((h[:, :-1], h[:, 1:]), -1)  # 2 n B 2h
            sums = torch.baddbmm(gates.flatten(1, 2), windows.flatten(1, 2), self.state_to_state)
            h, c = lstm(sums.view_as(gates), c, self.groups)
            states.append(h)
        return states


class DiagonalBiLSTM(PixelRNN):
    """PixelRNN of Diagonal BiLSTM layers, with R, G, B channel masks.

    Args:
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel.
        n_layers: BiLSTM layers; 12 in the paper for CIFAR-10, 7 or 1 for binarized MNIST.
        width: h, half the features between layers, a multiple of C; in the paper 128 for CIFAR-10, for binarized MNIST
            16 with 7 layers and 32 with 1.
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
        self.skew = Skew(*image_shape[1:])
        self.layers = nn.ModuleList(DiagonalLayer(width, image_shape[0], is_first=i == 0) for i in range(n_layers))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every sub-pixel given those before it.

        Args:
            images: (B, C, H, W), integers from 0 to L - 1.

        Returns:
            (B, L, C, H, W).
        """
        pixels = self.scale(images)
        x = self.input(pixels)  # B 2h H W
        for layer in self.layers:
            x = layer(x, pixels, self.skew)
        return self.logits(x)

    def cached(self, batch: int) -> CachedDiagonalBiLSTM:
        """This network evaluated sub-pixel by sub-pixel, for `batch` pictures."""
        return CachedDiagonalBiLSTM(self, batch)
