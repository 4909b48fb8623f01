"""Networks of pix2pix and of Everybody Dance Now: U-Net, ResNet generator, PatchGAN, and their normalisation.

Sources: U-Net and PatchGAN of pix2pix (Isola et al., arXiv 1611.07004, section 6.1), the ResNet generator of Johnson et
al. (arXiv 1603.08155) as pix2pixHD has it (Wang et al., arXiv 1711.11585, section 3), discriminators of several scales
(pix2pixHD, section 3.2).

Shapes: B batch, C channels, H, W height and width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from zoo.errors import DataError
from zoo.nn.adversarial import from_pixels
from zoo_translation.small import double, halve

Kind = Literal["batch", "instance"]
EPS = 1e-5
SLOPE = 0.2
DROPPED = 0.5  # share of the features that dropout sets to zero
PATCHES = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}  # receptive field of a PatchGAN -> its halvings


class Norm(nn.Module):
    """Normalises each channel, then scales and shifts it.

    "instance" takes the statistics of each sample. "batch" takes those of the whole batch in training, and of each
    sample otherwise: pix2pix is tested with the statistics of the test picture, and a sample must not depend on those
    that happen to be drawn with it. At a batch of one the two are the same.

    With `people` each of them has scales and shifts of their own (Dumoulin et al., arXiv 1610.07629). A map that is the
    same everywhere would tell nothing: normalisation takes out what is constant.
    """

    def __init__(self, channels: int, kind: Kind = "batch", people: int = 0) -> None:
        super().__init__()
        self.kind, self.people = kind, people
        shape = (people, channels) if people else (channels,)
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        """(B, C, H, W), with `people` of the persons (B,), to the same shape."""
        weight, bias = (None, None) if self.people else (self.weight, self.bias)
        if self.kind == "batch" and self.training and len(x) > 1:
            x = F.batch_norm(x, None, None, weight, bias, training=True, eps=EPS)
        else:
            x = F.group_norm(x, x.shape[1], weight, bias, eps=EPS)  # a group for each channel
        return x * self.weight[label, :, None, None] + self.bias[label, :, None, None] if self.people else x


def initialise(module: nn.Module) -> None:
    """Weights of convolutions N(0, 0.02), scales of normalisations N(1, 0.02), all shifts 0 (pix2pix, section 6.2)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, Norm):
            nn.init.normal_(part.weight, 1.0, 0.02)


def drop(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Dropout by a mask of zeros and ones in the shape of x, or by one of torch's global generator."""
    return F.dropout(x, DROPPED, training=True) if mask is None else x * (mask / (1 - DROPPED))


def encode(condition: torch.Tensor, classes: int = 0) -> torch.Tensor:
    """A condition as the networks see it, float32.

    Args:
        condition: uint8 (B, C, H, W); with `classes` numbers of classes, of which C is 1.
        classes: K, or 0 for pictures.

    Returns:
        -1 to 1 in the same shape; with classes one channel of zeros and ones for each, (B, K, H, W).

    Raises:
        DataError: a label map with a number that is no class.
    """
    if not classes:
        return from_pixels(condition)
    if (most := int(condition.max())) >= classes:
        raise DataError(f"a condition has the value {most}, but classes are 0 to {classes - 1}")
    numbers = torch.arange(classes, device=condition.device).view(-1, 1, 1)
    return (condition == numbers).float()


class UNet(nn.Module):
    """Halves the picture until nothing is left, doubles it again, and joins what has the same size.

    Args:
        inputs, outputs: channels.
        depth: halvings.
        width, width_max: channels of the first layer, which double with every halving, up to the most.
        norm: normalisation.
        biases: of convolutions that a normalisation follows, which cancels them.
        dropout: decoder layers with dropout, counted from the innermost, 0.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int,
        width: int,
        width_max: int,
        norm: Kind,
        biases: bool,
        dropout: Iterable[int],
    ) -> None:
        super().__init__()
        widths = [min(width << i, width_max) for i in range(depth)]
        last = depth - 1
        self.dropout = {layer for layer in dropout if layer < last}
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.encoder_norms, self.decoder_norms = nn.ModuleDict(), nn.ModuleDict()
        for i, (before, after) in enumerate(zip([inputs, *widths], widths, strict=False)):
            self.encoder.append(nn.Conv2d(before, after, 4, 2, 1, bias=biases or i in (0, last)))
            if i not in (0, last):
                self.encoder_norms[str(i)] = Norm(after, norm)
        for i, after in enumerate([*widths[-2::-1], outputs]):
            before = widths[last - i] * (2 if i else 1)
            self.decoder.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=biases or i == last))
            if i < last:
                self.decoder_norms[str(i)] = Norm(after, norm)
        self.channels = [*widths[-2::-1], outputs]  # of the decoder's layers
        initialise(self)

    def mask_shapes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """The shape of each dropout mask, by the name of its layer, for pictures of this size."""
        depth = len(self.encoder)
        shapes = {}
        for i in sorted(self.dropout):
            halved = depth - 1 - i
            shapes[f"decoder {i}"] = (self.channels[i], height >> halved, width >> halved)
        return shapes

    def forward(self, x: torch.Tensor, masks: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """(B, C_in, H, W) to (B, C_out, H, W), -1 to 1; dropout by `masks`, or at random."""
        skips: list[torch.Tensor] = []
        for i, layer in enumerate(self.encoder):
            x = halve(layer, F.leaky_relu(x, SLOPE) if i else x)  # type: ignore[arg-type]
            if str(i) in self.encoder_norms:
                x = self.encoder_norms[str(i)](x)
            skips.append(x)  # B C_i H/2^(i+1) W/2^(i+1)
        skips.pop()
        for i, layer in enumerate(self.decoder):
            x = double(layer, F.relu(torch.cat([skips.pop(), x], 1) if i else x))  # type: ignore[arg-type]
            if str(i) in self.decoder_norms:
                x = self.decoder_norms[str(i)](x)
            if i in self.dropout:
                x = drop(x, masks[f"decoder {i}"] if masks is not None else None)
        return x.tanh()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with reflected borders, added to what they get."""

    def __init__(self, channels: int, *, norm: Kind, biases: bool, people: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, 1, 1, bias=biases, padding_mode="reflect")
        self.first_norm = Norm(channels, norm, people)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=biases, padding_mode="reflect")
        self.second_norm = Norm(channels, norm, people)

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        label: torch.Tensor | None = None,
        *,
        dropout: bool = False,
    ) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        h = F.relu(self.first_norm(self.first(x), label))
        if dropout:
            h = drop(h, mask)
        return x + self.second_norm(self.second(h), label)  # type: ignore[no-any-return]


class ResNetGenerator(nn.Module):
    """A 7x7 convolution, halvings, residual blocks, doublings, and a 7x7 convolution.

    Args:
        inputs, outputs: channels.
        downs: halvings.
        blocks: residual blocks at the lowest resolution.
        width, width_max, norm, biases: as of `UNet`.
        dropout: blocks with dropout between their convolutions.
        people: how many persons the label tells apart; 0 for none.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        downs: int,
        blocks: int,
        width: int,
        width_max: int,
        norm: Kind,
        biases: bool,
        dropout: Iterable[int] = (),
        people: int = 0,
    ) -> None:
        super().__init__()
        widths = [min(width << i, width_max) for i in range(downs + 1)]
        self.dropout = {block for block in dropout if block < blocks}
        self.downs, self.channels = downs, widths[-1]
        self.first = nn.Conv2d(inputs, width, 7, 1, 3, bias=biases, padding_mode="reflect")
        self.first_norm = Norm(width, norm, people)
        self.encoder, self.encoder_norms = nn.ModuleList(), nn.ModuleList()
        self.decoder, self.decoder_norms = nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise(widths):
            self.encoder.append(nn.Conv2d(before, after, 3, 2, 1, bias=biases))
            self.encoder_norms.append(Norm(after, norm, people))
        same: dict[str, Any] = {"norm": norm, "biases": biases, "people": people}
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1], **same) for _ in range(blocks))
        for before, after in pairwise(widths[::-1]):
            self.decoder.append(nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1, bias=biases))
            self.decoder_norms.append(Norm(after, norm, people))
        self.last = nn.Conv2d(width, outputs, 7, 1, 3, padding_mode="reflect")
        initialise(self)

    def mask_shapes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """The shape of each dropout mask, by the name of its block, for pictures of this size."""
        shape = (self.channels, height >> self.downs, width >> self.downs)
        return {f"block {i}": shape for i in sorted(self.dropout)}

    def forward(
        self, x: torch.Tensor, masks: dict[str, torch.Tensor] | None = None, label: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, C_in, H, W), with `people` of (B,), to (B, C_out, H, W), -1 to 1; dropout by `masks`, or at random."""
        x = F.relu(self.first_norm(self.first(x), label))
        for layer, norm in zip(self.encoder, self.encoder_norms, strict=True):
            x = F.relu(norm(layer(x), label))
        for i, block in enumerate(self.blocks):
            x = block(x, masks.get(f"block {i}") if masks is not None else None, label, dropout=i in self.dropout)
        for layer, norm in zip(self.decoder, self.decoder_norms, strict=True):
            x = F.relu(norm(layer(x), label))
        return self.last(x).tanh()  # type: ignore[no-any-return]


class PatchGAN(nn.Module):
    """Scores patches of a picture: strided 4x4 convolutions, or for a patch of one pixel 1x1 convolutions.

    Args:
        inputs: channels.
        patch: receptive field of a score in pixels: 1, 16, 34, 70, 142 or 286.
        width, width_max: channels of the first layer, which double with every layer, up to the most.
        norm, biases: as of `UNet`.
    """

    def __init__(
        self, inputs: int, *, patch: int = 70, width: int = 64, width_max: int = 512, norm: Kind, biases: bool
    ) -> None:
        super().__init__()
        halvings = PATCHES[patch]
        size, padding = (4, 1) if halvings else (1, 0)
        count = max(halvings, 1) + 1
        widths = [min(width << i, width_max) for i in range(count)]
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for i, (before, after) in enumerate(zip([inputs, *widths], widths, strict=False)):
            stride = 2 if i < halvings else 1
            self.layers.append(nn.Conv2d(before, after, size, stride, padding, bias=biases or i == 0))
            self.norms.append(Norm(after, norm) if i else nn.Identity())
        self.layers.append(nn.Conv2d(widths[-1], 1, size, 1, padding))
        initialise(self)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What each layer gives, the scores (B, 1, H', W') last."""
        found = []
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = F.leaky_relu(norm(layer(x)), SLOPE)
            found.append(x)
        return [*found, self.layers[-1](x)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (B, C, H, W) to scores (B, 1, H', W')."""
        return self.features(x)[-1]


class MultiScale(nn.Module):
    """PatchGANs that look at a picture and at halved ones (pix2pixHD, section 3.2)."""

    def __init__(self, parts: Sequence[PatchGAN]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def features(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        """For each scale what its layers give, the scores last."""
        found = []
        for i, part in enumerate(self.parts):
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if i else x
            found.append(part.features(x))  # type: ignore[operator]
        return found


def patch_scores(side: int, patch: int) -> int:
    """How many scores a PatchGAN gives along a side; below 1 the picture is too small for it."""
    halvings = PATCHES[patch]
    for _ in range(halvings):
        side //= 2
    return side - 2 if halvings else side


def check_halvings(height: int, width: int, count: int) -> None:
    """Raise ValueError unless sides can be halved so often and leave 2 pixels, as reflected borders need."""
    if height % (1 << count) or width % (1 << count):
        raise ValueError(f"{count} halvings do not divide {height}x{width}")
    if min(height, width) >> count < 2:
        raise ValueError(f"{height}x{width} is too small for {count} halvings, which must leave 2 pixels")


def check_shapes(shape: tuple[int, int, int], channels: int, classes: int, *widths: int) -> None:
    """Raise ValueError for pictures, conditions or widths that make no sense."""
    if shape[0] not in (1, 3) or min(shape) < 1:
        raise ValueError(f"image_shape must be (1 or 3, H, W), not {shape}")
    if channels not in (1, 3):
        raise ValueError(f"condition_channels must be 1 or 3, not {channels}")
    if classes and (channels != 1 or not 2 <= classes <= 256):
        raise ValueError(f"condition_classes needs one channel and 2 to 256 classes, not {channels} and {classes}")
    if min(widths) < 1:
        raise ValueError("widths must be at least 1")
