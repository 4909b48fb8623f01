"""PixelCNN and Gated PixelCNN evaluated one sub-pixel at a time, for sampling; equal to their forward passes.

Shapes: B batch, C colour channels, H, W height and width, I input features, p width, k kernel size, F features of h.

What the rows above add is computed once a row. For a sub-pixel every layer computes its own column, and of it only the
sub-pixel's channel group.
"""

from __future__ import annotations

import torch
from torch import nn

from zoo.nn.autoregressive import AutoregressiveModel
from zoo.nn.cached import CachedConv
from zoo.nn.masked import MaskedConv2d


class CachedPixelCNN:
    """The stepwise form of a `PixelCNN`: for each sub-pixel, only its own column and its own channel group."""

    def __init__(self, model: AutoregressiveModel, batch: int) -> None:
        def cache(conv: MaskedConv2d) -> CachedConv:
            return CachedConv(conv, batch, model.image_shape[2])

        self.scale = model.scale
        self.input = cache(model.input)
        self.blocks = [(cache(b.reduce), cache(b.spread), cache(b.expand)) for b in model.blocks]
        self.head, self.output = cache(model.head), cache(model.output)
        self.layers = [self.input, *(layer for block in self.blocks for layer in block), self.head, self.output]

    def reset(self) -> None:
        for layer in self.layers:
            layer.reset()

    def start_row(self) -> None:
        for layer in self.layers:
            layer.start_row()

    def logits(self, column: int, channel: int) -> torch.Tensor:
        x = self.input.add(column, channel)  # B 2h/C: the residual stream of this channel's group
        for reduce, spread, expand in self.blocks:
            torch.clamp_min(x, 0, out=reduce.slot(column, channel))
            reduce.step(column, channel, out=spread.slot(column, channel)).relu_()
            torch.clamp_min(spread.add(column, channel), 0, out=expand.slot(column, channel))
            x += expand.step(column, channel)
        torch.clamp_min(x, 0, out=self.head.slot(column, channel))
        self.head.step(column, channel, out=self.output.slot(column, channel)).relu_()
        return self.output.step(column, channel)

    def put(self, column: int, channel: int, levels: torch.Tensor) -> None:
        self.input.slot(column, channel)[:, 0] = self.scale(levels)


class CachedVertical:
    """The stepwise form of one layer's vertical convolution: a whole row at a time."""

    def __init__(self, conv: nn.Module, batch: int, width: int) -> None:
        c, (outputs, inputs, rows, k) = conv.centre, conv.weight.shape
        self.bias, self.shifted, self.centre = conv.bias.detach(), conv.shifted, c
        self.weight = conv.weight.detach().permute(2, 3, 1, 0).reshape(-1, outputs)  # (rows k I, O)
        self.rows = conv.weight.new_zeros(batch, rows, width + 2 * c, inputs)
        strides = (inputs, self.rows.stride(0), self.rows.stride(1), 1)
        self.windows = self.rows.as_strided((width, batch, rows, k * inputs), strides)
        self.out = conv.weight.new_empty(width * batch, outputs)

    def step(self, row: torch.Tensor) -> torch.Tensor:
        """Take in the next row of the input, (B, W, I); the pre-gate features of the next row, (W B, 2p)."""
        if self.rows.shape[1] > 1:
            self.rows[:, :-1] = self.rows[:, 1:].clone()
        self.rows[:, -1, self.centre : self.rows.shape[2] - self.centre] = row
        return torch.addmm(self.bias, self.windows.flatten(0, 1).flatten(1), self.weight, out=self.out)


class CachedGatedPixelCNN:
    """The stepwise form of a `GatedPixelCNN`: the vertical stack once a row, one column of the horizontal stack for
    each sub-pixel, and of it only the sub-pixel's channel group."""

    def __init__(self, model: AutoregressiveModel, batch: int, condition: torch.Tensor | None = None) -> None:
        self.scale, self.width, self.batch = model.scale, model.image_shape[2], batch
        width = self.width
        self.vertical = [CachedVertical(layer.vertical, batch, width) for layer in model.layers]
        self.links = [
            (layer.link.weight.detach()[:, :, 0, 0].T, layer.link.bias.detach() + layer.horizontal.bias.detach())
            for layer in model.layers
        ]
        self.horizontal = [CachedConv(layer.horizontal, batch, width) for layer in model.layers]
        self.gates = [_gates(horizontal, model.image_shape[0]) for horizontal in self.horizontal]
        self.project, self.skip = (
            [CachedConv(conv, batch, width) for conv in convs if conv is not None]
            for convs in zip(*((layer.project, layer.skip) for layer in model.layers), strict=True)
        )
        self.head, self.output = CachedConv(model.head, batch, width), CachedConv(model.output, batch, width)
        self.layers = model.layers
        self.conditions = [] if condition is None else self._condition_rows(condition)
        # The number of the next row lives on the device, so that one captured graph draws every row.
        self.row = torch.zeros(1, dtype=torch.int64, device=model.device)

    def reset(self, condition: torch.Tensor | None = None) -> None:
        if condition is not None:
            for kept, rows in zip(self.conditions, self._condition_rows(condition), strict=True):
                torch._foreach_copy_(kept, rows)
        self.row.zero_()
        for layer in (*self.horizontal, *self.project, *self.skip, self.head, self.output):
            layer.reset()
        for vertical in self.vertical:
            vertical.rows.zero_()

    def _condition_rows(self, condition: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [_condition_rows(layer, condition) for layer in self.layers]

    def start_row(self) -> None:
        first = self.horizontal[0]
        centre = first.centre
        row = first.current[:, centre : centre + self.width]  # B W C: the row above, scaled
        layers = zip(self.vertical, self.links, self.horizontal, strict=True)
        for i, (vertical, (weight, bias), horizontal) in enumerate(layers):
            v = vertical.step(row)  # W B, 2p
            torch.addmm(bias, v, weight, out=horizontal.above.flatten(0, 1))
            v = v.view(self.width, self.batch, -1)
            if self.conditions:
                to_vertical, to_horizontal = (rows.index_select(0, self.row)[0] for rows in self.conditions[i])
                v = v + to_vertical
                horizontal.above += to_horizontal
            tanh, sigmoid = v.transpose(0, 1).chunk(2, dim=2)
            row = tanh.tanh() * sigmoid.sigmoid()  # B W p
        if self.conditions:
            self.row.add_(1).remainder_(len(self.conditions[0][0]))

    def logits(self, column: int, channel: int) -> torch.Tensor:
        read = self.head.slot(column, channel)
        following = [*(layer.slot(column, channel) for layer in self.horizontal[1:]), read]
        if self.skip:
            read.zero_()
        for i, horizontal in enumerate(self.horizontal):
            horizontal.add(column, channel)
            tanh, sigmoid = self.gates[i][channel][column]  # B p/C each
            reader = self.skip[i] if self.skip else self.project[i]
            gated = torch.mul(tanh.tanh_(), sigmoid.sigmoid_(), out=reader.slot(column, channel))
            if self.skip:
                read += self.skip[i].step(column, channel)
                if i == len(self.project):
                    break
                self.project[i].slot(column, channel).copy_(gated)
            h = self.project[i].step(column, channel, out=following[i])
            if i:
                h += horizontal.slot(column, channel)
        read.relu_()
        self.head.step(column, channel, out=self.output.slot(column, channel)).relu_()
        return self.output.step(column, channel)

    def put(self, column: int, channel: int, levels: torch.Tensor) -> None:
        self.horizontal[0].slot(column, channel)[:, 0] = self.scale(levels)


def _gates(horizontal: CachedConv, groups: int) -> list[list[tuple[torch.Tensor, ...]]]:
    """The two halves of every gate, views of what `horizontal.add` gives, by channel and column."""
    parts = [group.unflatten(2, (2, -1)) for group in horizontal.above.chunk(groups, 2)]  # W B 2 p/C
    return [[column.unbind(1) for column in part] for part in parts]


def _condition_rows(layer: nn.Module, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a condition adds to the gates of both stacks, (H, W, B, 2p), or (1, 1, B, 2p) if the same everywhere."""
    horizontal = layer.condition_horizontal(condition).detach().permute(2, 3, 0, 1).contiguous()
    if layer.is_last:
        return torch.zeros_like(horizontal), horizontal
    return layer.condition_vertical(condition).detach().permute(2, 3, 0, 1).contiguous(), horizontal
