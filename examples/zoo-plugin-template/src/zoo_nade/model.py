"""NADE: Larochelle, Murray, The Neural Autoregressive Distribution Estimator, AISTATS 2011, JMLR W&CP 15:29-37.

A picture is a sequence of D sub-pixels x_1 ... x_D. The probability of each given those before it comes from one
hidden layer (section 3 of the paper):

    h_d = sigmoid(c + sum_{k<d} W_k x_k)        p(x_d | x_1 ... x_{d-1}) = softmax(b_d + V_d h_d)

All h_d share W, so h_{d+1} costs one column more than h_d: the likelihood and a sample both take O(D width) time.
Against the paper: sub-pixels of more than two levels (a softmax in place of the sigmoid, the level scaled to 0 ... 1 as
input), and raster order in place of a random one. Left out: the tying of V to W, ensembles over orders, and the deep
and convolutional variants of Uria et al., JMLR 17(205), 2016, arXiv 1605.02226.

Shapes: B batch, C colour channels, H, W height and width, L levels, D = H W C sub-pixels.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from zoo.nn.autoregressive import AutoregressiveModel


class NADE(AutoregressiveModel):
    """The neural autoregressive distribution estimator, in raster order, R before G before B.

    Args:
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel; 2 in the paper.
        width: hidden units; 500 in the paper, for binarised MNIST.
    """

    def __init__(self, *, image_shape: tuple[int, int, int] = (1, 28, 28), levels: int = 2, width: int = 500) -> None:
        super().__init__(image_shape=image_shape, levels=levels)
        size = math.prod(image_shape)
        if size < 2 or width < 1:
            raise ValueError("a picture needs at least 2 sub-pixels, and the hidden layer at least 1 unit")
        # The last sub-pixel is nobody's past: a row of W for it would never be trained.
        self.input_weight = nn.Parameter(torch.empty(size - 1, width))  # W
        self.input_bias = nn.Parameter(torch.zeros(width))  # c
        self.output_weight = nn.Parameter(torch.empty(size, levels, width))  # V
        self.output_bias = nn.Parameter(torch.zeros(size, levels))  # b
        nn.init.normal_(self.input_weight, std=1 / math.sqrt(size))
        nn.init.normal_(self.output_weight, std=1 / math.sqrt(width))

    def scale(self, images: torch.Tensor) -> torch.Tensor:
        """Levels 0 to L - 1 as floats from 0 to 1: as in the paper, black adds nothing."""
        exact = torch.promote_types(self.dtype, torch.float32)
        return (images.to(exact) / (self.levels - 1)).to(self.dtype)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every sub-pixel given those before it.

        Args:
            images: (B, C, H, W), integers from 0 to L - 1.

        Returns:
            (B, L, C, H, W).
        """
        channels, height, width = self.image_shape
        x = self.scale(images).permute(0, 2, 3, 1).flatten(1)  # B D: R, G, B of a pixel side by side
        added = x[:, :-1, None] * self.input_weight  # B D-1 width
        start = self.input_bias.expand(len(x), 1, -1)
        hidden = torch.cat((start, added), 1).cumsum(1).sigmoid()  # B D width: h_1 ... h_D
        logits = torch.einsum("bdk,dlk->bdl", hidden, self.output_weight) + self.output_bias  # B D L
        return logits.unflatten(1, (height, width, channels)).permute(0, 4, 3, 1, 2)

    def cached(self, batch: int) -> CachedNADE:
        """This network evaluated sub-pixel by sub-pixel, for `batch` pictures."""
        return CachedNADE(self, batch)


class CachedNADE:
    """The stepwise form of a `NADE`: the running sum under the sigmoid is all there is to remember.

    Every sub-pixel has weights of its own, but the zoo draws all rows by one and the same code, so that on CUDA a graph
    captured for one row can draw them all. So the number of the row lives on the device, and `start_row` fetches the
    weights of that row into buffers that never move.
    """

    def __init__(self, model: NADE, batch: int) -> None:
        channels, height, columns = model.image_shape
        self.scale, self.channels = model.scale, channels
        self.start = model.input_bias.detach()  # width
        rows = (height, columns * channels)
        # One row more for the last sub-pixel, whose value adds to nothing.
        input_weight = torch.cat((model.input_weight.detach(), torch.zeros_like(self.start)[None]))
        self.weights = tuple(
            tensor.unflatten(0, rows)
            for tensor in (input_weight, model.output_weight.detach(), model.output_bias.detach())
        )
        self.current = tuple(torch.empty_like(tensor[:1]) for tensor in self.weights)  # those of the row in progress
        self.row = torch.zeros(1, dtype=torch.int64, device=self.start.device)  # the number of the next row
        self.sum = self.start.repeat(batch, 1)  # B width: c + sum_{k<d} W_k x_k

    def reset(self) -> None:
        self.row.zero_()
        self.sum.copy_(self.start.expand_as(self.sum))

    def start_row(self) -> None:
        for current, weights in zip(self.current, self.weights, strict=True):
            torch.index_select(weights, 0, self.row, out=current)
        self.row += 1

    def logits(self, column: int, channel: int) -> torch.Tensor:
        _, weight, bias = (tensor[0, column * self.channels + channel] for tensor in self.current)
        return torch.addmm(bias, self.sum.sigmoid(), weight.T)  # B L

    def put(self, column: int, channel: int, levels: torch.Tensor) -> None:
        weight = self.current[0][0, column * self.channels + channel]
        self.sum += self.scale(levels)[:, None] * weight
