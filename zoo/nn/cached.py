"""A masked convolution evaluated one sub-pixel at a time (Ramachandran et al., Fast Generation for Convolutional
Autoregressive Models, 2017, arXiv 1704.06001), exact to rounding.

Shapes: B batch, I and O input and output features, W width of the map, k kernel size, c = k // 2, A rows above.

The kernel falls apart in two. What the rows above add is the same for all that happens within a row, so it is computed
for the whole row at once when the row begins. What is left for each pixel are the taps of its own row: a window of
c + 1 neighbouring columns, which in a row stored as (B, W + 2c, I) is one strided matrix, multiplied without a copy.
"""

from __future__ import annotations

import torch

from zoo.nn.masked import MaskedConv2d, group_bounds


class CachedConv:
    """The stepwise form of one `MaskedConv2d` of C channel groups.

    For each sub-pixel the caller writes the input features of its group to `slot(column, group)`, where mask B is to
    see them at once, and reads the group's output features from `step(column, group)`.
    """

    def __init__(self, conv: MaskedConv2d, batch: int, width: int) -> None:
        weight = conv.masked_weight().detach()  # (O, I, A + 1, k)
        self.centre, self.rows_above = conv.centre, conv.rows_above
        c = self.centre
        inputs, outputs = conv.in_features, conv.out_features
        self.out_features = outputs
        self.current = weight.new_zeros(batch, width + 2 * c, inputs)
        self.bias = conv.bias.detach()
        in_bounds, out_bounds = group_bounds(inputs, conv.groups), group_bounds(outputs, conv.groups)
        own = weight[:, :, -1, : c + 1].permute(2, 1, 0).reshape((c + 1) * inputs, outputs)
        self._weights, self._windows, self._slots, self._above, self._outputs = [], [], [], [], []
        # Column first, so that what addmm adds is contiguous: a broadcast or strided addend costs it a copy more.
        # Where the kernel has one row, the bias alone, until somebody writes what another stack adds, bias included.
        self.above = self.bias.repeat(width, batch, 1)  # W B O
        for g in range(conv.groups):
            seen = c * inputs + in_bounds[g + 1 if conv.mask_type == "B" else g]
            features = slice(out_bounds[g], out_bounds[g + 1])
            self._weights.append(own[:seen, features].contiguous())
            stride = self.current.stride(0)
            self._windows.append(
                [self.current.as_strided((batch, seen), (stride, 1), column * inputs) for column in range(width)]
            )
            self._slots.append(
                [self.current[:, column + c, in_bounds[g] : in_bounds[g + 1]] for column in range(width)]
            )
            self._above.append([self.above[column, :, features] for column in range(width)])
            self._outputs.append(weight.new_empty(batch, out_bounds[g + 1] - out_bounds[g]))
        if self.rows_above:
            self.weight_above = weight[:, :, :-1].permute(2, 3, 1, 0).reshape(-1, outputs)  # (A k I, O)
            self.rows = weight.new_zeros(batch, self.rows_above, width + 2 * c, inputs)
            size = (width, batch, self.rows_above, conv.kernel_size * inputs)
            strides = (inputs, self.rows.stride(0), self.rows.stride(1), 1)
            self._windows_above = self.rows.as_strided(size, strides)

    def reset(self) -> None:
        """Forget all rows."""
        self.current.zero_()
        if self.rows_above:
            self.rows.zero_()

    def start_row(self) -> None:
        """The current row moves up; compute what the rows above add to each column of the next."""
        if self.rows_above == 0:
            return
        if self.rows_above > 1:
            self.rows[:, :-1] = self.rows[:, 1:].clone()
        self.rows[:, -1] = self.current
        windows = self._windows_above.flatten(0, 1).flatten(1)  # (W B, A k I), a copy: the windows overlap
        torch.addmm(self.bias, windows, self.weight_above, out=self.above.view(-1, self.out_features))

    def slot(self, column: int, group: int) -> torch.Tensor:
        """Where the input features of a group belong, (B, I_g), a view."""
        return self._slots[group][column]

    def step(self, column: int, group: int, out: torch.Tensor | None = None) -> torch.Tensor:
        """The output features of a group at a column, (B, O_g), in `out` or a buffer of this layer."""
        result = self._outputs[group] if out is None else out
        return torch.addmm(self._above[group][column], self._windows[group][column], self._weights[group], out=result)

    def add(self, column: int, group: int) -> torch.Tensor:
        """`step` without its copy: the result stands in `above`, which must be written anew for each row."""
        return self._above[group][column].addmm_(self._windows[group][column], self._weights[group])
