"""The PixelRNNs evaluated one sub-pixel at a time, for sampling; equal to their forward passes.

Shapes: B batch, C colour channels, H, W height and width, h width, k = 3, N layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from zoo.nn.cached import CachedConv
from zoo.nn.masked import group_bounds
from zoo_pixelrnn.network import PixelRNN, lstm, neighbours


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


class CachedRowLSTM(CachedPixelRNN):
    """The stepwise form of a `RowLSTM`."""

    def __init__(self, model: PixelRNN, batch: int) -> None:
        layers = [CachedRowLSTMLayer(layer, batch, model.image_shape[2]) for layer in model.layers]
        super().__init__(model, layers, batch)


class CachedRowLSTMLayer:
    """The stepwise form of a `RowLSTMLayer`: K_ss once a row, K_is and the gates for each sub-pixel."""

    def __init__(self, layer: nn.Module, batch: int, columns: int) -> None:
        self.input_to_state = CachedConv(layer.input_to_state, batch, columns)
        self.lift = CachedConv(layer.lift, batch, columns)
        self.h = self.lift.current  # B W h: the states of the row in progress, and of the one above until overwritten
        self.state_to_state = layer.state_to_state.detach()
        self.first_h, self.first_c = layer.first_h.detach(), layer.first_c.detach()
        width, groups = len(self.first_h), layer.groups
        self.gates = [CachedGates(self.first_h, batch, width // groups) for _ in range(groups)]
        bounds = group_bounds(width, groups)
        self.c = self.first_c.repeat(columns, batch, 1)  # W B h
        self.c_slots = [[self.c[j, :, bounds[g] : bounds[g + 1]] for j in range(columns)] for g in range(groups)]

    def reset(self) -> None:
        self.input_to_state.reset()
        self.h.copy_(self.first_h.expand_as(self.h))
        self.c.copy_(self.first_c.expand_as(self.c))

    def start_row(self) -> None:
        taps = neighbours(self.h.transpose(0, 1))  # W B kh
        above = self.input_to_state.above.flatten(0, 1)  # WB 4h, a view
        torch.addmm(self.input_to_state.bias, taps.flatten(0, 1), self.state_to_state, out=above)

    def slot(self, column: int, channel: int) -> torch.Tensor:
        return self.input_to_state.slot(column, channel)

    def step(self, column: int, channel: int, out: torch.Tensor) -> None:
        gates = self.gates[channel]
        self.input_to_state.step(column, channel, out=gates.all)
        gates.step(self.c_slots[channel][column], self.lift.slot(column, channel))
        self.lift.step(column, channel, out=out)
        out += self.input_to_state.slot(column, channel)


class CachedDiagonalBiLSTM(CachedPixelRNN):
    """The stepwise form of a `DiagonalBiLSTM`.

    The left LSTMs take a step for each sub-pixel. The right ones are one row behind, and the row that they read is
    complete, in all layers: they read it when the next row begins, all layers at once.
    """

    def __init__(self, model: PixelRNN, batch: int) -> None:
        self.groups = model.image_shape[0]
        layers = list(model.layers)
        width, columns = layers[0].first_h.shape[1], model.image_shape[2]
        first_h = layers[0].first_h.detach()
        self.right = first_h.new_zeros(len(layers), batch, columns, width)  # h of the row above the one in progress
        # 0 as long as there is no row above, on the device: one captured graph draws all rows.
        self.is_below = first_h.new_zeros(1)
        super().__init__(
            model,
            [CachedLeft(layer, batch, columns, right) for layer, right in zip(layers, self.right, strict=True)],
            batch,
        )
        self.pixel_weight = layers[0].pixel_to_right.weight.detach()[:, :, 0, 0].T  # C 4h
        convs = [layer.input_to_right for layer in layers]
        self.weight = torch.stack([conv.masked_weight().detach()[:, :, 0, 0].T for conv in convs])  # N 2h 4h
        self.bias = torch.stack([conv.bias.detach() for conv in convs])[:, None]
        state = torch.stack([layer.state_to_state.detach()[1] for layer in layers])  # N 2h 4h
        self.from_above, self.from_beside = state[:, :width].contiguous(), state[:, width:].contiguous()
        self.first_h, self.first_c = (
            torch.stack([getattr(layer, name).detach()[1] for layer in layers])[:, None].repeat(1, batch, 1)
            for name in ("first_h", "first_c")
        )  # N B h
        self.x = first_h.new_empty(len(layers), batch, columns, 2 * width)
        self.sums = first_h.new_empty(len(layers), batch, columns, 4 * width)
        self.gates = first_h.new_empty(len(layers), batch, 4 * width)

    def reset(self) -> None:
        super().reset()
        self.right.zero_()
        self.is_below.zero_()

    def start_row(self) -> None:
        self._read_row()
        super().start_row()

    def _read_row(self) -> None:
        """The right LSTMs read the row that is complete, from its end, all layers (N of them) at once."""
        columns, centre = self.right.shape[2], self.input.centre
        torch.stack([layer.x for layer in self.layers], out=self.x)  # N B W 2h
        sums = torch.baddbmm(self.bias, self.x.flatten(1, 2), self.weight, out=self.sums.flatten(1, 2))  # N BW 4h
        sums.baddbmm_(self.right.flatten(1, 2), self.from_above)
        pixels = self.input.current[:, centre : centre + columns]  # B W C
        sums[0].addmm_(pixels.flatten(0, 1), self.pixel_weight)
        h, c = self.first_h, self.first_c
        for column in reversed(range(columns)):
            gates = torch.baddbmm(self.sums[:, :, column], h, self.from_beside, out=self.gates)
            h, c = lstm(gates, c, self.groups)  # N B h
            self.right[:, :, column] = h
        self.right.mul_(self.is_below)
        self.is_below.fill_(1)


class CachedLeft:
    """The stepwise form of one layer: its left LSTM, and the sum with the right one's states, (B, W, h)."""

    def __init__(self, layer: nn.Module, batch: int, columns: int, right: torch.Tensor) -> None:
        self.input_to_state = CachedConv(layer.input_to_left, batch, columns)
        self.lift = CachedConv(layer.lift, batch, columns)
        self.x = self.input_to_state.current  # B W 2h: the input of the row in progress
        self.first_h, self.first_c = layer.first_h.detach()[0], layer.first_c.detach()[0]
        width, groups = len(self.first_h), layer.groups
        state = layer.state_to_state.detach()[0]  # 2h 4h
        self.from_above = state[:width].contiguous()
        self.from_beside = [part.contiguous() for part in state[width:].chunk(groups, dim=1)]
        self.gates = [CachedGates(self.first_h, batch, width // groups) for _ in range(groups)]
        bounds = group_bounds(width, groups)
        self.c = self.first_c.repeat(batch, 1)  # B h: of the pixel before
        self.c_slots = [self.c[:, start:end] for start, end in itertools.pairwise(bounds)]
        # Of every pixel in the row, and of the row above until overwritten; in front the learned state.
        self.h = self.first_h.repeat(columns + 1, batch, 1)  # W+1 B h
        self.h_slots = [[row[:, start:end] for row in self.h] for start, end in itertools.pairwise(bounds)]
        self.right_slots = [
            [right[:, column, start:end] for column in range(columns)] for start, end in itertools.pairwise(bounds)
        ]

    def reset(self) -> None:
        self.input_to_state.reset()
        self.h[1:].zero_()  # the zero padding of the 2 x 1 convolution

    def start_row(self) -> None:
        self.c.copy_(self.first_c.expand_as(self.c))
        above = self.input_to_state.above.flatten(0, 1)  # WB 4h, a view
        torch.addmm(self.input_to_state.bias, self.h[1:].flatten(0, 1), self.from_above, out=above)

    def slot(self, column: int, channel: int) -> torch.Tensor:
        return self.input_to_state.slot(column, channel)

    def step(self, column: int, channel: int, out: torch.Tensor) -> None:
        gates, h = self.gates[channel], self.h_slots[channel][column + 1]
        self.input_to_state.step(column, channel, out=gates.all)
        gates.all.addmm_(self.h[column], self.from_beside[channel])
        gates.step(self.c_slots[channel], h)
        torch.add(h, self.right_slots[channel][column], out=self.lift.slot(column, channel))
        self.lift.step(column, channel, out=out)
        out += self.input_to_state.slot(column, channel)
