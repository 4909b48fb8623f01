"""Gated PixelCNN: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu, Conditional Image Generation with
PixelCNN Decoders, NeurIPS 2016, arXiv 1606.05328, sections 2.1 and 2.2, figure 2.

Against PixelCNN: gates tanh x sigmoid in place of ReLU (eq. 2), and two stacks, so that no past pixel within reach is
out of sight. The first layer reaches 3 rows and columns, each further one adds 1: 26 of 28 in preset `mnist`, 17 of 28
in `binarized_mnist`, 17 of 32 in `cifar10`.

The vertical stack sees the rows above, over their full width; the horizontal one the pixels to the left, and the
vertical stack through a 1x1 link. The own row is left out of the vertical stack once, in its first layer; leaving it
out again in each layer would bring a blind wedge back. Conditioning (section 2.3) is in
`conditional_pixelcnn.py`; the layers here take its h.

Shapes: B batch, C colour channels, H, W height and width, L levels, p width.

Horizontal features are in C contiguous groups, R, G, B. Pre-gate maps of 2p features keep the two halves of each group
side by side: group 0's tanh part, group 0's sigmoid part, group 1's tanh part, and so on. The vertical stack needs no
groups: all channels of the rows above are past for everybody.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from zoo.model import Model
from zoo.nn.autoregressive import AutoregressiveModel
from zoo.nn.masked import MaskedConv2d, group_bounds
from zoo_pixelcnn.cached import CachedGatedPixelCNN


def gate(x: torch.Tensor, groups: int = 1) -> torch.Tensor:
    """Eq. 2: tanh of the first half of each group times sigmoid of the second, (B, 2p, H, W) -> (B, p, H, W).

    With features last, for backward joins the halves in this layout, and training has its maps in channels-last.
    """
    tanh, sigmoid = x.permute(0, 2, 3, 1).unflatten(3, (groups, 2, -1)).unbind(4)  # B H W C p/C each
    return (tanh.tanh() * sigmoid.sigmoid()).flatten(3, 4).permute(0, 3, 1, 2)


def places(old: int, new: int, parts: int) -> torch.Tensor:
    """Where `old` features are among `new` ones, both in contiguous parts, (old,): the first of each part."""
    starts = group_bounds(new, parts)
    sizes = (end - start for start, end in itertools.pairwise(group_bounds(old, parts)))
    return torch.cat([start + torch.arange(size) for start, size in zip(starts, sizes, strict=False)])


class VerticalConv2d(nn.Module):
    """A convolution over whole rows: `rows` of them ending at the own row, or at the one above if `shifted`.

    Its input at row i, if it is not the picture, holds rows < i alone, so its own row is past.
    """

    def __init__(self, in_features: int, out_features: int, kernel_size: int, rows: int, *, shifted: bool) -> None:
        super().__init__()
        self.rows, self.shifted, self.centre = rows, shifted, kernel_size // 2
        bound = 1 / math.sqrt(in_features * rows * kernel_size)
        self.weight = nn.Parameter(torch.empty(out_features, in_features, rows, kernel_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) -> (B, O, H, W)."""
        height = x.shape[2]
        x = F.pad(x, (self.centre, self.centre, self.rows if self.shifted else self.rows - 1, 0))
        return F.conv2d(x, self.weight, self.bias)[:, :, :height]


class GatedLayer(nn.Module):
    """Figure 2: one layer of both stacks.

    Args:
        in_features: of both inputs; C in the first layer, else p.
        width: p.
        kernel_size: n of the n x n vertical and the 1 x n horizontal convolution.
        groups: C.
        is_first: mask A, own row left out of the vertical stack, and no residual, which would show the pixel itself.
        is_last: the vertical stack ends in the link, before a gate that nobody would read.
        has_skip: a 1x1 convolution of the gate leads to the head; in the last layer in place of the residual one.
        condition: features of h, which enters every gate of both stacks as V^T h (eq. 4, without bias); 0 for none.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        kernel_size: int,
        groups: int,
        *,
        is_first: bool,
        is_last: bool,
        has_skip: bool = False,
        condition: int = 0,
    ) -> None:
        super().__init__()
        self.groups, self.is_first, self.is_last = groups, is_first, is_last
        rows = kernel_size // 2 + (0 if is_first else 1)
        self.vertical = VerticalConv2d(in_features, 2 * width, kernel_size, rows, shifted=is_first)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        mask = "A" if is_first else "B"
        self.horizontal = MaskedConv2d(in_features, 2 * width, kernel_size, mask=mask, groups=groups, rows_above=0)
        ends = is_last and has_skip
        self.project = None if ends else MaskedConv2d(width, width, 1, mask="B", groups=groups)
        self.skip = MaskedConv2d(width, width, 1, mask="B", groups=groups) if has_skip else None
        if condition:
            self.condition_horizontal = nn.Conv2d(condition, 2 * width, 1, bias=False)
            if not is_last:
                self.condition_vertical = nn.Conv2d(condition, 2 * width, 1, bias=False)

    def forward(
        self,
        v: torch.Tensor,
        h: torch.Tensor,
        skips: torch.Tensor | None = None,
        condition: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Both stacks and the sum of the skip connections so far, if there are any, (B, p, H, W) each.

        The condition is (B, F, H, W), or (B, F, 1, 1) if it is the same everywhere.
        """
        v = self.vertical(v)  # B 2p H W
        mixed = self.horizontal.linked(h, v, self.link)  # the link takes the vertical features before the gate
        if condition is not None:
            mixed = mixed + self.condition_horizontal(condition)
        gated = gate(mixed, self.groups)
        if self.skip is not None:
            skips = self.skip(gated) if skips is None else skips + self.skip(gated)
        if self.project is not None:
            h = self.project(gated) if self.is_first else h + self.project(gated)
        if self.is_last:
            return v, h, skips
        return gate(v if condition is None else v + self.condition_vertical(condition)), h, skips


class GatedPixelCNN(AutoregressiveModel):
    """Gated PixelCNN without a blind spot, with R, G, B channel masks.

    Args:
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel.
        n_layers: gated layers, the first included; 20 in the paper, for ImageNet.
        width: p, features of each stack, a multiple of C; 384 in the paper, for ImageNet.
        kernel_size: n of all layers but the first, odd; 5 in the paper for ImageNet, 3 for CIFAR-10.
        head_width: features of the head.
        skip_connections: the head reads a sum over all layers in place of the last layer's residual sum.
    """

    condition_features = 0  # of h; a conditional model has some

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        levels: int = 256,
        n_layers: int = 15,
        width: int = 126,
        kernel_size: int = 3,
        head_width: int = 512,
        skip_connections: bool = False,
    ) -> None:
        super().__init__(image_shape=image_shape, levels=levels)
        channels = image_shape[0]
        if n_layers < 1 or width < 1 or width % channels:
            raise ValueError(f"n_layers must be at least 1 and width a multiple of {channels} channels, not {width}")
        if kernel_size < 1:
            raise ValueError(f"kernel_size must be at least 1, not {kernel_size}")
        self.layers = nn.ModuleList(
            GatedLayer(
                width if i else channels,
                width,
                kernel_size if i else 7,
                channels,
                is_first=i == 0,
                is_last=i == n_layers - 1,
                has_skip=skip_connections,
                condition=self.condition_features,
            )
            for i in range(n_layers)
        )
        self.head = MaskedConv2d(width, head_width, 1, mask="B", groups=channels)
        self.output = MaskedConv2d(head_width, channels * levels, 1, mask="B", groups=channels)

    def grown(self, weights: Model) -> dict[str, torch.Tensor]:
        """Weights of a smaller network as those of this one, which computes the same then (after Chen, Goodfellow,
        Shlens, Net2Net, ICLR 2016, arXiv 1511.05641).

        What new layers add is zero at first, and skip connections that were not there are the residual ones, whose sum
        they replace. Features of a greater width or head_width are new ones, with fresh weights, which no old feature
        reads yet, where the paper has copies of old ones: those would need noise to learn anything of their own.
        """
        given, own = weights.state_dict(), self.state_dict()
        for name in own.keys() - given.keys():
            layer, _, rest = name.partition(".skip.")
            if rest and not weights.config["skip_connections"]:
                given[name] = given.get(f"{layer}.project.{rest}", torch.zeros_like(own[name]))
            elif rest or ".project." in name:
                given[name] = torch.zeros_like(own[name])
        last = f"layers.{len(self.layers) - 1}.project."  # which a last layer with a skip connection does not have
        kept = {name: value for name, value in given.items() if name in own or not name.startswith(last)}
        if (self.image_shape[0], self.levels) != (weights.image_shape[0], weights.levels):
            return kept  # more of these is no greater width: the core refuses them
        return {name: self._widened(name, value, own[name]) if name in own else value for name, value in kept.items()}

    def _widened(self, name: str, value: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """A parameter with the features of this network, or as it is where it has more of them, or another kernel."""
        c = self.image_shape[0]
        parts = {  # in how many parts, side by side, lie the features that a layer gives and those that it reads
            "vertical": (2, 1),
            "link": (2 * c, 2),
            "horizontal": (2 * c, c),
            "condition_vertical": (2, 1),
            "condition_horizontal": (2 * c, 1),
            **dict.fromkeys(("project", "skip", "head", "output"), (c, c)),
        }.get(name.split(".")[-2])
        sizes = list(zip(value.shape[:2], own.shape[:2], strict=True))
        if not parts or value.shape[2:] != own.shape[2:] or any(old > new for old, new in sizes):
            return value
        outputs, *inputs = (places(*both, count) for both, count in zip(sizes, parts, strict=False))
        grown = own.clone()
        grown[outputs] = 0  # what no new feature changes
        grown[(outputs[:, None], *inputs) if inputs else outputs] = value
        return grown

    def forward(self, images: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of every sub-pixel given those before it.

        Args:
            images: (B, C, H, W), integers from 0 to L - 1.
            condition: h of a conditional model, (B, F, H, W), or (B, F, 1, 1) if it is the same everywhere.

        Returns:
            (B, L, C, H, W).
        """
        v = h = self.scale(images)
        skips = None
        for layer in self.layers:
            v, h, skips = layer(v, h, skips, condition)  # B p H W
        x = h if skips is None else skips
        x = self.output(F.relu(self.head(F.relu(x))))  # B C*L H W
        return x.unflatten(1, (self.image_shape[0], self.levels)).transpose(1, 2)

    def cached(self, batch: int, condition: torch.Tensor | None = None) -> CachedGatedPixelCNN:
        """This network evaluated sub-pixel by sub-pixel, for `batch` pictures."""
        return CachedGatedPixelCNN(self, batch, condition)
