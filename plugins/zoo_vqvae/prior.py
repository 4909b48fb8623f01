"""The priors of VQ-VAE-2 over maps of codes: Razavi, van den Oord, Vinyals, arXiv 1906.00446, section 3.2, table 4 of
the appendix; attention as in PixelSNAIL (Chen, Mishra, Rohaninejad, Abbeel, arXiv 1712.09763, section 2).

A stack of gated causal convolutions in two streams, as in Gated PixelCNN (arXiv 1606.05328): the vertical stream sees
the rows above, the horizontal one the codes to the left, so that no past code is out of sight. Now and then attention
with several heads looks at all past codes. Its keys and values are made of each code itself and of the features that
stand for what came before it; the query has no code of its own position. A prior below the top reads the maps above it
through residual blocks.

Choices of ours: both streams have residual connections, and a prior of the third level reads both maps above it.

Shapes: B batch, K codes, h, w height and width of the map, p width, r features within a gated layer, A attention
heads, N = h w positions in raster order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.nn.autoregressive import AutoregressiveModel
from zoo.nn.masked import MaskedConv2d
from zoo_vqvae.cached import CachedPrior
from zoo_vqvae.vqvae import Residual


def gate(x: torch.Tensor) -> torch.Tensor:
    """tanh of the first half times sigmoid of the second, (B, 2r, h, w) -> (B, r, h, w)."""
    tanh, sigmoid = x.chunk(2, 1)
    return tanh.tanh() * sigmoid.sigmoid()


class VerticalConv2d(nn.Module):
    """A convolution over whole rows: `rows` of them ending at the own row, or at the one above if `shifted`.

    Its input at row i, if it is not the map itself, holds rows < i alone, so its own row is past.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, rows: int, *, shifted: bool) -> None:
        super().__init__()
        self.rows, self.shifted, self.centre = rows, shifted, kernel_size // 2
        bound = 1 / math.sqrt(inputs * rows * kernel_size)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, rows, kernel_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, h, w) -> (B, O, h, w)."""
        height = x.shape[2]
        x = F.pad(x, (self.centre, self.centre, self.rows if self.shifted else self.rows - 1, 0))
        return F.conv2d(x, self.weight, self.bias)[:, :, :height]


class CausalAttention(nn.Module):
    """Multi-headed attention of every position to those before it.

    Args:
        width: p, a multiple of `heads`.
        heads: A.
        shape: (h, w); the coordinates enter queries and keys.
    """

    coordinates: torch.Tensor

    def __init__(self, width: int, heads: int, shape: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(width + 2, width, 1)
        self.from_codes = nn.Conv2d(width + 2, 2 * width, 1)  # what a code itself gives to its key and value
        self.from_features = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.output = nn.Conv2d(width, width, 1)
        rows, columns = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in shape)
        self.register_buffer("coordinates", torch.stack(torch.meshgrid(rows, columns, indexing="ij")), persistent=False)

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """What is read from the past, (B, p, h, w).

        Args:
            features: (B, p, h, w), of position i made of codes before i.
            codes: (B, p, h, w), the embedded code of position i itself, not shifted.
        """
        batch, width, height, columns = features.shape
        place = self.coordinates.to(features.dtype).expand(batch, -1, -1, -1)
        query = self.query(torch.cat([features, place], 1))
        memory = self.from_codes(torch.cat([codes, place], 1)) + self.from_features(features)
        q, k, v = (
            x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3) for x in (query, *memory.chunk(2, 1))
        )  # B A N p/A each
        # The first position has no past: its row of the mask is not empty, so that softmax is defined, and its result
        # is multiplied by zero.
        n = q.shape[2]
        past = torch.ones(n, n, dtype=torch.bool, device=q.device).tril(-1)
        past[0, 0] = True
        has_past = torch.ones(n, 1, dtype=q.dtype, device=q.device)
        has_past[0] = 0
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=past) * has_past
        return self.output(read.transpose(2, 3).reshape(batch, width, height, columns))


class PriorLayer(nn.Module):
    """A gated layer of both streams, and attention if it has heads.

    Args:
        width: p.
        hidden: r.
        kernel_size: n of the n x n vertical and the 1 x n horizontal convolution, odd.
        conditioned: whether a map of conditions enters the gates.
        dropout: share of the gated features that training sets to zero.
        heads: A; 0 for no attention.
        shape: (h, w).
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        kernel_size: int,
        *,
        conditioned: bool,
        dropout: float,
        heads: int,
        shape: tuple[int, int],
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.vertical = VerticalConv2d(width, 2 * hidden, kernel_size, kernel_size // 2 + 1, shifted=False)
        self.vertical_out = nn.Conv2d(hidden, width, 1)
        self.link = nn.Conv2d(width, 2 * hidden, 1)
        self.horizontal = MaskedConv2d(width, 2 * hidden, kernel_size, mask="B", rows_above=0)
        self.horizontal_out = nn.Conv2d(hidden, width, 1)
        self.condition = nn.Conv2d(width, 4 * hidden, 1, bias=False) if conditioned else None
        self.attention = CausalAttention(width, heads, shape) if heads else None

    def forward(
        self, v: torch.Tensor, h: torch.Tensor, codes: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both streams, the embedded codes and the condition are (B, p, h, w) each; returns the streams."""
        to_v = to_h = None
        if self.condition is not None and condition is not None:
            to_v, to_h = self.condition(condition).chunk(2, 1)
        x = self.vertical(v)
        v = v + self.vertical_out(self._drop(gate(x if to_v is None else x + to_v)))
        x = self.horizontal.linked(h, v, self.link)
        h = h + self.horizontal_out(self._drop(gate(x if to_h is None else x + to_h)))
        if self.attention is not None:
            h = h + self.attention(h, codes)
        return v, h

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training)


class OutputLayer(nn.Module):
    """x + conv 1x1(ReLU(conv 1x1(ReLU(x)))): a layer of the output stack, which sees no other position."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(width, hidden, 1), nn.Conv2d(hidden, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, p, h, w) -> the same shape."""
        return x + self.outer(F.relu(self.inner(F.relu(x))))


class Prior(AutoregressiveModel):
    """The distribution of one level's map of codes, given a class and the maps above it.

    Args:
        image_shape: (1, h, w).
        levels: K.
        upper: (h, w) of the maps above, from the top down; empty for the top level.
        classes: how many classes there are; 0 for an unconditional prior.
        width: p, a multiple of `heads`.
        hidden: r.
        n_layers: gated layers.
        n_attention: how many of them are followed by attention, evenly spread.
        heads: A.
        kernel_size: of the gated layers, odd, at least 3.
        n_output: layers of the output stack.
        n_condition: residual blocks over the maps above.
        dropout: share of features that training sets to zero.
    """

    updates: torch.Tensor

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        levels: int,
        upper: tuple[tuple[int, int], ...] = (),
        classes: int = 0,
        width: int = 512,
        hidden: int = 2048,
        n_layers: int = 20,
        n_attention: int = 4,
        heads: int = 8,
        kernel_size: int = 5,
        n_output: int = 20,
        n_condition: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(image_shape=image_shape, levels=levels)
        if min(width, hidden, n_layers, heads) < 1 or min(n_attention, n_output, n_condition, classes) < 0:
            raise ValueError("sizes of a prior must be at least 1, and its numbers of parts at least 0")
        if n_attention > n_layers or (n_attention and width % heads):
            raise ValueError(f"a prior of {n_layers} layers and width {width} can't have {n_attention} x {heads} heads")
        if kernel_size < 3 or kernel_size % 2 == 0 or not 0 <= dropout < 1:
            raise ValueError(f"kernel_size must be odd, at least 3, and dropout below 1, not {kernel_size}, {dropout}")
        shape = image_shape[1:]
        self.upper, self.classes = upper, classes
        self.embedding = nn.Embedding(levels, width)
        self.label = nn.Embedding(classes, width) if classes else None
        self.upper_embeddings = nn.ModuleList(nn.Embedding(levels, width) for _ in upper)
        blocks = (Residual(width, hidden) for _ in range(n_condition if upper else 0))
        self.upper_blocks = nn.Sequential(*blocks)
        self.vertical = VerticalConv2d(width, width, kernel_size, kernel_size // 2, shifted=True)
        self.horizontal = MaskedConv2d(width, width, kernel_size, mask="A", rows_above=0)
        attended = {(i + 1) * n_layers // n_attention - 1 for i in range(n_attention)}
        self.layers = nn.ModuleList(
            PriorLayer(
                width,
                hidden,
                kernel_size,
                conditioned=bool(classes or upper),
                dropout=dropout,
                heads=heads if i in attended else 0,
                shape=shape,
            )
            for i in range(n_layers)
        )
        self.output_layers = nn.ModuleList(OutputLayer(width, hidden) for _ in range(n_output))
        self.output = nn.Conv2d(width, levels, 1)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))  # of training; 0 for random weights

    def conditions(self, source: Mapping[str, Any], n: int) -> dict[str, torch.Tensor]:
        """`label`, (n,), and `upper_0`, `upper_1`, ... (n, h, w), on the model's device."""
        found: dict[str, torch.Tensor] = {}
        if self.classes:
            if source.get("label") is None:
                raise OptionError("this prior is conditioned on a label; give label=...")
            found["label"] = self._labels(source["label"], n)
        for i, shape in enumerate(self.upper):
            codes = source.get(f"upper_{i}")
            if not isinstance(codes, torch.Tensor) or tuple(codes.shape) != (n, *shape):
                raise OptionError(f"this prior is conditioned on a map of codes above it, upper_{i} of {(n, *shape)}")
            found[f"upper_{i}"] = codes.to(self.device).long()
        return found

    def _labels(self, given: Any, n: int) -> torch.Tensor:
        labels = given if isinstance(given, torch.Tensor) else torch.as_tensor(given, device="cpu")
        labels = labels.expand(n) if labels.ndim == 0 or len(labels) == 1 else labels
        if labels.shape != (n,) or labels.is_floating_point():
            raise OptionError(f"label must be one class, or one for each of the {n} pictures")
        if labels.is_cpu and n and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            raise OptionError(f"label must be from 0 to {self.classes - 1}, not {labels.tolist()!r:.80}")
        return labels.to(self.device).long()

    def condition_map(self, **conditions: torch.Tensor) -> torch.Tensor | None:
        """What enters all gates, (B, p, h, w) or (B, p, 1, 1) of a label alone; None of an unconditional prior."""
        mixed = None
        for i, embedding in enumerate(self.upper_embeddings):
            x = embedding(conditions[f"upper_{i}"]).permute(0, 3, 1, 2)
            x = x if mixed is None else mixed + x
            if i == len(self.upper) - 1:
                x = self.upper_blocks(x)
            mixed = F.interpolate(x, size=self._below(i), mode="nearest")
        if self.label is not None:
            label = self.label(conditions["label"])[:, :, None, None]
            mixed = label if mixed is None else mixed + label
        return mixed

    def _below(self, i: int) -> tuple[int, int]:
        """The size of the next map below the i-th."""
        return self.upper[i + 1] if i + 1 < len(self.upper) else self.image_shape[1:]

    def forward(self, images: torch.Tensor, **conditions: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, 1, h, w) of codes (B, 1, h, w); conditions as `conditions` gives them."""
        codes = self.embedding(images[:, 0].long()).permute(0, 3, 1, 2)  # B p h w
        condition = self.condition_map(**conditions)
        v = self.vertical(codes)
        h = v + self.horizontal(codes)
        for layer in self.layers:
            v, h = layer(v, h, codes, condition)
        for layer in self.output_layers:
            h = layer(h)
        return self.output(F.relu(h)).unsqueeze(2)

    def cached(self, batch: int, **conditions: torch.Tensor) -> CachedPrior:
        """This network evaluated code by code, for `batch` maps."""
        return CachedPrior(self, batch, **conditions)
