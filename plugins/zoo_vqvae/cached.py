"""A prior evaluated one code at a time, for sampling; equal to its forward pass.

Shapes: B batch, K codes, h, w height and width of the map, p width, r features within a gated layer, A attention
heads, N = h w positions.

What the rows above add is computed once a row: the whole vertical stream. A code costs one column of the horizontal
stream. Keys and values of attention are appended when a code is known, and never computed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn.cached import CachedConv

if TYPE_CHECKING:
    from zoo_vqvae.prior import CausalAttention, Prior, VerticalConv2d


class Linear:
    """A 1x1 convolution of features last."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.weight = conv.weight.detach()[:, :, 0, 0]
        self.bias = None if conv.bias is None else conv.bias.detach()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., I) -> (..., O)."""
        return F.linear(x, self.weight, self.bias)


def gate(x: torch.Tensor) -> torch.Tensor:
    """tanh of the first half of the features times sigmoid of the second, (..., 2r) -> (..., r)."""
    tanh, sigmoid = x.chunk(2, -1)
    return tanh.tanh() * sigmoid.sigmoid()


class CachedVertical:
    """The stepwise form of a vertical convolution: a whole row at a time."""

    def __init__(self, conv: VerticalConv2d, batch: int, width: int) -> None:
        outputs, inputs, rows, k = conv.weight.shape
        self.bias, self.centre = conv.bias.detach(), conv.centre
        self.weight = conv.weight.detach().permute(2, 3, 1, 0).reshape(-1, outputs)  # (rows k I, O)
        self.rows = conv.weight.new_zeros(batch, rows, width + 2 * self.centre, inputs)
        strides = (inputs, self.rows.stride(0), self.rows.stride(1), 1)
        self.windows = self.rows.as_strided((width, batch, rows, k * inputs), strides)

    def step(self, row: torch.Tensor) -> torch.Tensor:
        """Take in the next row of the input, (w, B, I); the output's next row, (w, B, O)."""
        if self.rows.shape[1] > 1:
            self.rows[:, :-1] = self.rows[:, 1:].clone()
        self.rows[:, -1, self.centre : self.rows.shape[2] - self.centre] = row.transpose(0, 1)
        return torch.addmm(self.bias, self.windows.flatten(0, 1).flatten(1), self.weight).view(*row.shape[:2], -1)


class CachedAttention:
    """The stepwise form of causal attention."""

    def __init__(self, attention: CausalAttention, batch: int) -> None:
        self.heads, self.width = attention.heads, attention.coordinates.shape[2]
        self.query, self.output = Linear(attention.query), Linear(attention.output)
        self.from_codes, self.from_features = Linear(attention.from_codes), Linear(attention.from_features)
        weight = attention.query.weight
        self.places = attention.coordinates.to(weight.dtype).flatten(1).T.contiguous()  # N 2
        n, size = len(self.places), weight.shape[0] // self.heads
        self.keys = weight.new_zeros(batch, self.heads, n, size)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.arange(n, device=weight.device)
        self.features = weight.new_zeros(batch, weight.shape[0])

    def read(self, features: torch.Tensor, at: torch.Tensor, past: int | None) -> torch.Tensor:
        """(B, p): what position `at`, (1,), reads from those before it; `past` is their number where the host knows."""
        self.features.copy_(features)
        place = self.places.index_select(0, at).expand(len(features), -1)
        q = self.query(torch.cat([features, place], 1)).unflatten(1, (self.heads, 1, -1))  # B A 1 p/A
        if past == 0:
            read = torch.zeros_like(q)
        elif past is not None:
            read = F.scaled_dot_product_attention(q, self.keys[:, :, :past], self.values[:, :, :past])
        else:  # on CUDA the same graph is replayed for every row, so what is past is a mask
            allowed = (self.positions < at) | ((self.positions == 0) & (at == 0))
            read = F.scaled_dot_product_attention(q, self.keys, self.values, attn_mask=allowed[None])
            read = read * (at > 0)
        return self.output(read.flatten(1))

    def append(self, codes: torch.Tensor, at: torch.Tensor) -> None:
        """The embedded codes (B, p) of a position; its features are those of the last `read`."""
        place = self.places.index_select(0, at).expand(len(codes), -1)
        memory = self.from_codes(torch.cat([codes, place], 1)) + self.from_features(self.features)
        key, value = memory.unflatten(1, (2, self.heads, 1, -1)).unbind(1)  # B A 1 p/A each
        self.keys.index_copy_(2, at, key)
        self.values.index_copy_(2, at, value)


class CachedPrior:
    """The stepwise form of a `Prior`."""

    def __init__(self, model: Prior, batch: int, **conditions: torch.Tensor) -> None:
        self.model, self.batch = model, batch
        _, self.height, self.width = model.image_shape
        self.first_vertical = CachedVertical(model.vertical, batch, self.width)
        self.first = CachedConv(model.horizontal, batch, self.width)
        self.layers = [
            (
                CachedVertical(layer.vertical, batch, self.width),
                Linear(layer.vertical_out),
                Linear(layer.link),
                CachedConv(layer.horizontal, batch, self.width),
                Linear(layer.horizontal_out),
                None if layer.condition is None else Linear(layer.condition),
                None if layer.attention is None else CachedAttention(layer.attention, batch),
            )
            for layer in model.layers
        ]
        self.outputs = [(Linear(layer.inner), Linear(layer.outer)) for layer in model.output_layers]
        self.output = Linear(model.output)
        # The number of the row lives on the device, so that one captured graph draws every row; on a CPU the host
        # knows it too, and attention reads no further than the past.
        self.row = torch.zeros(1, dtype=torch.int64, device=model.device)
        self.rows_begun = 0
        self.condition = self._condition(conditions) if conditions else None

    def _condition(self, conditions: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """(h, w, B, p), or (1, 1, B, p) if it is the same everywhere."""
        mixed = self.model.condition_map(**conditions)
        return None if mixed is None else mixed.detach().permute(2, 3, 0, 1).contiguous()

    def reset(self, **conditions: torch.Tensor) -> None:
        if conditions and self.condition is not None:
            fresh = self._condition(conditions)
            assert fresh is not None
            self.condition.copy_(fresh)
        self.row.fill_(-1)
        self.rows_begun = 0
        self.first.reset()
        self.first_vertical.rows.zero_()
        for vertical, _, _, horizontal, _, _, _ in self.layers:
            vertical.rows.zero_()
            horizontal.reset()

    def start_row(self) -> None:
        self.row.add_(1).remainder_(self.height)
        self.rows_begun += 1
        centre = self.first.centre
        codes = self.first.current[:, centre : centre + self.width].transpose(0, 1)  # w B p: of the row above
        v = self.first_vertical.step(codes)
        torch.add(v, self.first.bias, out=self.first.above)
        condition = None
        if self.condition is not None:
            whole = self.condition
            condition = whole.index_select(0, self.row)[0] if len(whole) > 1 else whole[0]  # w B p or 1 B p
        for vertical, vertical_out, link, horizontal, _, to_gates, _ in self.layers:
            x = vertical.step(v)
            if to_gates is not None and condition is not None:
                to_v, to_h = to_gates(condition).chunk(2, -1)
                x = x + to_v
            v = v + vertical_out(gate(x))
            torch.add(link(v), horizontal.bias, out=horizontal.above)
            if to_gates is not None and condition is not None:
                horizontal.above += to_h

    def logits(self, column: int, channel: int) -> torch.Tensor:
        at = self.row * self.width + column
        past = None if self.row.is_cuda else (self.rows_begun - 1) * self.width + column
        h = self.first.step(column, 0)  # B p
        for _, _, _, horizontal, horizontal_out, _, attention in self.layers:
            horizontal.slot(column, 0).copy_(h)
            h = h + horizontal_out(gate(horizontal.step(column, 0)))
            if attention is not None:
                h = h + attention.read(h, at, past)
        for inner, outer in self.outputs:
            h = h + outer(inner(h.relu()).relu_())
        return self.output(h.relu())

    def put(self, column: int, channel: int, levels: torch.Tensor) -> None:
        codes = self.model.embedding(levels)
        self.first.slot(column, 0).copy_(codes)
        at = self.row * self.width + column
        for *_, attention in self.layers:
            if attention is not None:
                attention.append(codes, at)
