"""Progressive GAN: Karras, Aila, Laine, Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and
Variation, ICLR 2018, arXiv 1710.10196.

Both networks begin at a low resolution and grow: each new pair of layers is faded in while the older ones go on
training. `lod`, the level of detail that is missing, runs from log2(resolution) - 2 down to 0; its fraction is the
share that the lower resolution still has.

Shapes: B batch, C colour channels, H, W height and width, Z latent size, K classes, L log2 of the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from zoo_stylegan.gan import GAN, one_hot
from zoo_stylegan.layers import (
    ROOT2,
    EqualizedConv2d,
    EqualizedLinear,
    doubled,
    fir,
    halved,
    levels_of,
    minibatch_stddev,
    pixel_norm,
    spread_kernel,
    widths_of,
)


class UpConv(EqualizedConv2d):
    """Pixels doubled and convolved, as one transposed convolution; then, in StyleGAN, a blur with `taps`."""

    def __init__(self, inputs: int, outputs: int, taps: Sequence[float] = (), *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, bias=bias)
        self.taps = tuple(taps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = spread_kernel(self.kernel(x)).flip(2, 3).transpose(0, 1)  # I O 4 4
        x = F.conv_transpose2d(x, kernel, stride=2, padding=1)
        x = fir(x, self.taps, (len(self.taps) // 2,) * 2) if self.taps else x
        return x if self.bias is None else x + self.bias.view(-1, 1, 1)


class DownConv(EqualizedConv2d):
    """In StyleGAN, a blur with `taps`; then convolved and 2x2 pixels averaged, as one convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int, taps: Sequence[float] = ()) -> None:
        super().__init__(inputs, outputs, 3)
        self.taps = tuple(taps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = fir(x, self.taps, (len(self.taps) // 2,) * 2) if self.taps else x
        return F.conv2d(x, spread_kernel(self.kernel(x)) / 4, self.offset(x), stride=2, padding=1)


def shown(lod: float, level: int) -> tuple[int, float]:
    """The level that the networks work at, and the share of the level below it."""
    whole = math.floor(lod)
    return max(level - whole, 2), lod - whole if level - whole > 2 else 0.0


def faded(x: torch.Tensor, below: torch.Tensor | None, alpha: float, level: int, to_rgb: nn.ModuleList) -> torch.Tensor:
    """Features of a level, and of the one below, as pictures (B, C, H, W) of which the latter has the share alpha."""
    images: torch.Tensor = to_rgb[level - 2](x)
    return images if below is None or not alpha else images.lerp(doubled(to_rgb[level - 3](below)), alpha)


class GeneratorBlock(nn.Module):
    """Doubles the resolution: two convolutions, each with LeakyReLU and pixel norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up, self.conv = UpConv(inputs, outputs), EqualizedConv2d(outputs, outputs, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = pixel_norm(F.leaky_relu(self.up(x), 0.2))
        return pixel_norm(F.leaky_relu(self.conv(x), 0.2))


class Generator(nn.Module):
    """Table 2, left: z and a label to pictures."""

    def __init__(self, level: int, widths: dict[int, int], channels: int, classes: int, latent_size: int) -> None:
        super().__init__()
        self.level, self.classes = level, classes
        self.dense = EqualizedLinear(latent_size + classes, widths[2] * 16, gain=ROOT2 / 4, bias=None)
        self.bias = nn.Parameter(torch.zeros(widths[2], 1, 1))
        self.conv = EqualizedConv2d(widths[2], widths[2], 3)
        self.blocks = nn.ModuleList(GeneratorBlock(widths[r - 1], widths[r]) for r in range(3, level + 1))
        self.to_rgb = nn.ModuleList(EqualizedConv2d(widths[r], channels, 1, gain=1) for r in range(2, level + 1))

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0) -> torch.Tensor:
        """(B, Z) and (B,) to pictures (B, C, H, W), H = W = 2^(L - floor(lod)), about -1 to 1."""
        z = torch.cat([z, one_hot(label, self.classes)], 1) if label is not None and self.classes else z
        x = self.dense(pixel_norm(z)).unflatten(1, (-1, 4, 4))
        x = pixel_norm(F.leaky_relu(x + self.bias, 0.2))
        x = pixel_norm(F.leaky_relu(self.conv(x), 0.2))
        level, alpha = shown(lod, self.level)
        below = None
        for block in self.blocks[: level - 2]:
            x, below = block(x), x
        return faded(x, below, alpha, level, self.to_rgb)


class Discriminator(nn.Module):
    """Table 2, right: pictures to scores. With `taps` it is StyleGAN's, which blurs before it halves."""

    def __init__(
        self,
        level: int,
        widths: dict[int, int],
        channels: int,
        outputs: int,
        taps: Sequence[float] = (),
        group: int = 4,
    ) -> None:
        super().__init__()
        self.level, self.group = level, group
        self.from_rgb = nn.ModuleList(EqualizedConv2d(channels, widths[r], 1) for r in range(2, level + 1))
        self.convs = nn.ModuleList(EqualizedConv2d(widths[r], widths[r], 3) for r in range(3, level + 1))
        self.downs = nn.ModuleList(DownConv(widths[r], widths[r - 1], taps) for r in range(3, level + 1))
        self.conv = EqualizedConv2d(widths[2] + 1, widths[2], 3)
        self.dense = EqualizedLinear(widths[2] * 16, widths[1], gain=ROOT2)
        self.output = EqualizedLinear(widths[1], outputs)

    def forward(self, images: torch.Tensor, lod: float = 0.0) -> torch.Tensor:
        """(B, C, H, W), H = W = 2^(L - floor(lod)), to (B, outputs)."""
        level, alpha = shown(lod, self.level)
        x = F.leaky_relu(self.from_rgb[level - 2](images), 0.2)
        for r in range(level, 2, -1):
            x = F.leaky_relu(self.convs[r - 3](x), 0.2)
            x = F.leaky_relu(self.downs[r - 3](x), 0.2)
            if r == level and alpha:
                x = x.lerp(F.leaky_relu(self.from_rgb[r - 3](halved(images)), 0.2), alpha)
        x = F.leaky_relu(self.conv(minibatch_stddev(x, self.group)), 0.2)
        x = F.leaky_relu(self.dense(x.flatten(1)), 0.2)
        return self.output(x)


class ProGAN(GAN):
    """Progressive GAN, trained with WGAN-GP; classes by an auxiliary classifier (AC-GAN).

    Args:
        resolution: height and width of the pictures, a power of two.
        channels: C, 1 or 3.
        classes: K; 0 for none.
        latent_size: Z.
        width_base, width_max: a layer at resolution 2^r has min(width_base / 2^(r - 1), width_max) features.
        group: pictures over which the minibatch standard deviation is taken.
        start_resolution: where growing begins.
        stable_images, fade_images: pictures seen between two fades, and during one.
        discriminator: whether there is one; released weights come without.
    """

    def __init__(
        self,
        *,
        resolution: int = 1024,
        channels: int = 3,
        classes: int = 0,
        latent_size: int = 512,
        width_base: int = 8192,
        width_max: int = 512,
        group: int = 4,
        start_resolution: int = 4,
        stable_images: int = 600_000,
        fade_images: int = 600_000,
        discriminator: bool = True,
    ) -> None:
        super().__init__(
            resolution=resolution, channels=channels, classes=classes, latent_size=latent_size, group=group
        )
        level = levels_of(resolution)
        widths = widths_of(level, width_base, width_max)
        self.generator = Generator(level, widths, channels, classes, latent_size)
        self.discriminator = Discriminator(level, widths, channels, 1 + classes, group=group) if discriminator else None
        self.grows(start_resolution, stable_images, fade_images)

    def draw(self, z: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0) -> torch.Tensor:
        return self.generator(z, label, lod)

    def judge(
        self, images: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        outputs = self.discriminator(images, lod)
        return outputs[:, 0], outputs[:, 1:] if self.classes else None
