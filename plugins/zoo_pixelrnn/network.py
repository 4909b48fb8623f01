"""What the Row LSTM and the Diagonal BiLSTM have in common: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent
Neural Networks, ICML 2016, arXiv 1601.06759, sections 3.1 to 3.4 and table 1.

Shapes: B batch, C colour channels, H, W height and width, L levels, h width.

Features are in C contiguous groups, R, G, B. The 4h features of the gates keep the four gates of a group side by side:
group 0's o, f, i and g, then group 1's, and so on. So a masked convolution to 4h features in C groups masks each gate
as it masks h features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn.autoregressive import AutoregressiveModel
from zoo.nn.cached import CachedConv
from zoo.nn.masked import MaskedConv2d


def lstm(gates: torch.Tensor, c: torch.Tensor, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 3: hidden and cell state, (..., h) each, of gates before their nonlinearities, (..., 4h), and the last c."""
    gates = gates.unflatten(-1, (groups, 4, -1))  # ... C 4 h/C
    o, f, i = gates[..., :3, :].sigmoid().unbind(-2)
    g = gates[..., 3, :].tanh()
    c = f * c.unflatten(-1, (groups, -1)) + i * g
    return (o * c.tanh()).flatten(-2), c.flatten(-2)


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


class CachedLayer(Protocol):
    """One LSTM layer, evaluated one sub-pixel at a time."""

    def reset(self) -> None:
        """Back to the state before the first row."""

    def start_row(self) -> None:
        """The row in progress is complete; compute what it adds to the next."""

    def slot(self, column: int, channel: int) -> torch.Tensor:
        """Where the input features of a channel's group belong, (B, 2h/C), a view."""

    def step(self, column: int, channel: int, out: torch.Tensor) -> None:
        """The output features of the group, (B, 2h/C), the residual included."""


class CachedPixelRNN:
    """The stepwise form of a `PixelRNN`: for each sub-pixel one recurrent step a layer, of its channel group alone."""

    def __init__(self, model: PixelRNN, layers: Sequence[CachedLayer], batch: int) -> None:
        width = model.image_shape[2]
        self.scale, self.layers = model.scale, layers
        self.input, self.head, self.output = (
            CachedConv(conv, batch, width) for conv in (model.input, model.head, model.output)
        )

    def reset(self) -> None:
        for layer in (self.input, *self.layers, self.head, self.output):
            layer.reset()

    def start_row(self) -> None:
        for layer in (self.input, *self.layers):
            layer.start_row()

    def logits(self, column: int, channel: int) -> torch.Tensor:
        slots = [layer.slot(column, channel) for layer in (*self.layers, self.head)]
        self.input.step(column, channel, out=slots[0])
        for layer, following in zip(self.layers, slots[1:], strict=True):
            layer.step(column, channel, out=following)
        slots[-1].relu_()
        self.head.step(column, channel, out=self.output.slot(column, channel)).relu_()
        return self.output.step(column, channel)

    def put(self, column: int, channel: int, levels: torch.Tensor) -> None:
        self.input.slot(column, channel)[:, 0] = self.scale(levels)


class CachedGates:
    """The gates of one channel group of a layer, (B, 4h/C), whose parts are views that never move."""

    def __init__(self, like: torch.Tensor, batch: int, features: int) -> None:
        self.all = like.new_empty(batch, 4 * features)
        self.sigmoids, self.g = self.all[:, : 3 * features], self.all[:, 3 * features :]
        self.o, self.f, self.i = self.sigmoids.chunk(3, dim=1)

    def step(self, c: torch.Tensor, h: torch.Tensor) -> None:
        """Eq. 3 in place: `all` holds the sums before the nonlinearities; c moves on, and h is written."""
        self.sigmoids.sigmoid_()
        self.g.tanh_()
        c.mul_(self.f).addcmul_(self.i, self.g)
        torch.tanh(c, out=self.g)
        torch.mul(self.o, self.g, out=h)
