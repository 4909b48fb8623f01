"""PixelCNN: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016, arXiv 1601.06759,
sections 3.2 to 3.5 and table 1.

Against the PixelRNN of the same paper it trades the unbounded context of the recurrent layers for convolutions, which
train over all pixels at once. Stacked masked convolutions leave a blind spot: a wedge to the upper right of the pixel
is never seen. That is the paper's model; Gated PixelCNN mends it. Left out: the multi-scale variant (section 3.6).

Shapes: B batch, C colour channels, H, W height and width, L levels, h width.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn.autoregressive import AutoregressiveModel
from zoo.nn.masked import MaskedConv2d
from zoo_pixelcnn.cached import CachedPixelCNN


class ResidualBlock(nn.Module):
    """Figure 5, left: ReLU, 1x1 from 2h to h, ReLU, 3x3, ReLU, 1x1 from h to 2h, plus the input; all mask B."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.reduce = MaskedConv2d(2 * width, width, 1, mask="B", groups=groups)
        self.spread = MaskedConv2d(width, width, 3, mask="B", groups=groups)
        self.expand = MaskedConv2d(width, 2 * width, 1, mask="B", groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.reduce(F.relu(x))  # B h H W
        hidden = self.spread(F.relu(hidden))
        return x + self.expand(F.relu(hidden))  # B 2h H W


class PixelCNN(AutoregressiveModel):
    """PixelCNN with R, G, B channel masks in features and logits.

    Args:
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel.
        n_layers: residual blocks; 15 in the paper.
        width: h, half the features between blocks; 128 in the paper, for CIFAR-10.
        head_width: features of the head; 32 for MNIST and 1024 for CIFAR-10 in the paper.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        levels: int = 256,
        n_layers: int = 15,
        width: int = 128,
        head_width: int = 1024,
    ) -> None:
        super().__init__(image_shape=image_shape, levels=levels)
        if n_layers < 0 or min(width, head_width) < 1:
            raise ValueError("n_layers must be at least 0, width and head_width at least 1")
        channels = image_shape[0]
        self.input = MaskedConv2d(channels, 2 * width, 7, mask="A", groups=channels)
        self.blocks = nn.ModuleList(ResidualBlock(width, channels) for _ in range(n_layers))
        self.head = MaskedConv2d(2 * width, head_width, 1, mask="B", groups=channels)
        self.output = MaskedConv2d(head_width, channels * levels, 1, mask="B", groups=channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every sub-pixel given those before it.

        Args:
            images: (B, C, H, W), integers from 0 to L - 1.

        Returns:
            (B, L, C, H, W).
        """
        x = self.input(self.scale(images)).contiguous(memory_format=torch.channels_last)  # B 2h H W
        for block in self.blocks:
            x = block(x)
        x = self.output(F.relu(self.head(F.relu(x))))  # B C*L H W, the logits of one channel side by side
        return x.unflatten(1, (self.image_shape[0], self.levels)).transpose(1, 2)

    def cached(self, batch: int) -> CachedPixelCNN:
        """This network evaluated sub-pixel by sub-pixel, for `batch` pictures."""
        return CachedPixelCNN(self, batch)
