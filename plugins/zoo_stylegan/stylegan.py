"""StyleGAN: Karras, Laine, Aila, A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019,
arXiv 1812.04948.

Against Progressive GAN the latent no longer enters at the bottom: a mapping network turns it into w, which sets mean
and spread of every feature map (AdaIN), a learned constant takes the place of the first layer, and noise is added after
each convolution. Table 1 of the paper takes these steps one by one, from Progressive GAN (A) to the whole (F); the
switches of the constructor are its rows.

Shapes: B batch, C colour channels, H, W height and width, Z latent size, D size of w, S style slots, K classes,
L log2 of the resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from zoo_stylegan.layers import (
    ROOT2,
    EqualizedConv2d,
    EqualizedLinear,
    instance_norm,
    pixel_norm,
    widths_of,
)
from zoo_stylegan.mapping import Mapping
from zoo_stylegan.progan import Discriminator, UpConv, faded, shown
from zoo_stylegan.styles import Generator, Noise, StyleBased

BLUR = (1, 2, 1)


class Epilogue(nn.Module):
    """What follows each convolution: noise, bias, LeakyReLU, a norm, and a style (figure 1b)."""

    def __init__(self, width: int, w_size: int, noise: bool, style: bool) -> None:
        super().__init__()
        self.noise_strength = nn.Parameter(torch.zeros(width)) if noise else None
        self.bias = nn.Parameter(torch.zeros(width))
        self.affine = EqualizedLinear(w_size, 2 * width) if style else None

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        if self.noise_strength is not None and noise is not None:
            x = torch.addcmul(x, noise, self.noise_strength.view(-1, 1, 1))
        x = F.leaky_relu(x + self.bias.view(-1, 1, 1), 0.2)
        if self.affine is None:
            return pixel_norm(x)
        scale, shift = self.affine(w)[..., None, None].chunk(2, 1)  # B C 1 1
        return torch.addcmul(shift, instance_norm(x), scale + 1)  # AdaIN, eq. 1


class GeneratorBlock(nn.Module):
    """Doubles the resolution."""

    def __init__(self, inputs: int, outputs: int, taps: Sequence[float], w_size: int, noise: bool, style: bool) -> None:
        super().__init__()
        self.up, self.conv = UpConv(inputs, outputs, taps, bias=False), EqualizedConv2d(outputs, outputs, 3, bias=False)
        self.epilogues = nn.ModuleList(Epilogue(outputs, w_size, noise, style) for _ in range(2))

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, noise: tuple[torch.Tensor | None, torch.Tensor | None]
    ) -> torch.Tensor:
        x = self.epilogues[0](self.up(x), w[:, 0], noise[0])
        return self.epilogues[1](self.conv(x), w[:, 1], noise[1])


class Synthesis(nn.Module):
    """w to pictures; `slots` = 2 (L - 1) styles."""

    def __init__(
        self,
        level: int,
        widths: dict[int, int],
        channels: int,
        w_size: int,
        *,
        taps: Sequence[float],
        constant: bool,
        noise: bool,
        style: bool,
    ) -> None:
        super().__init__()
        self.level, self.slots, self.noisy = level, 2 * (level - 1), noise
        width = widths[2]
        self.constant = nn.Parameter(torch.ones(1, width, 4, 4)) if constant else None
        self.dense = None if constant else EqualizedLinear(w_size, width * 16, gain=ROOT2 / 4, bias=None)
        self.conv = EqualizedConv2d(width, width, 3, bias=False)
        self.epilogues = nn.ModuleList(Epilogue(width, w_size, noise, style) for _ in range(2))
        self.blocks = nn.ModuleList(
            GeneratorBlock(widths[r - 1], widths[r], taps, w_size, noise, style) for r in range(3, level + 1)
        )
        self.to_rgb = nn.ModuleList(EqualizedConv2d(widths[r], channels, 1, gain=1) for r in range(2, level + 1))
        if noise:
            for i in range(self.slots):
                self.register_buffer(f"noise_{i}", torch.randn(1, 1, *[2 ** (i // 2 + 2)] * 2))

    def constant_noise(self, layer: int, size: int) -> torch.Tensor:
        """The stored noise of a layer, (1, 1, size, size)."""
        return getattr(self, f"noise_{layer}")

    def forward(self, w: torch.Tensor, noise: Noise, lod: float = 0.0) -> torch.Tensor:
        """(B, S, D) to pictures (B, C, H, W), H = W = 2^(L - floor(lod)), about -1 to 1."""

        def noises(r: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
            return (noise(2 * r - 4, 2**r), noise(2 * r - 3, 2**r)) if self.noisy else (None, None)

        first, second = noises(2)
        if self.dense is not None:
            x = self.dense(w[:, 0]).unflatten(1, (-1, 4, 4))
        else:
            assert self.constant is not None
            x = self.constant.expand(w.shape[0], -1, -1, -1)
        x = self.epilogues[0](x, w[:, 0], first)
        x = self.epilogues[1](self.conv(x), w[:, 1], second)
        level, alpha = shown(lod, self.level)
        below = None
        for r, block in enumerate(self.blocks[: level - 2], 3):
            x, below = block(x, w[:, 2 * r - 4 : 2 * r - 2], noises(r)), x
        return faded(x, below, alpha, level, self.to_rgb)


def chosen(scores: torch.Tensor, label: torch.Tensor | None, classes: int) -> torch.Tensor:
    """Of the scores (B, max(K, 1)) that of each picture's class, (B,) (Mescheder et al., arXiv 1801.04406)."""
    return scores.gather(1, label.view(-1, 1))[:, 0] if classes and label is not None else scores[:, 0]


class StyleGAN(StyleBased):
    """The style-based generator, growing, with the switches of table 1.

    Args:
        resolution: height and width of the pictures, a power of two.
        channels: C, 1 or 3.
        classes: K; 0 for none.
        latent_size, w_size: Z, D; without a mapping network w is z.
        mapping_layers: of the mapping network; 0 for none (A and B).
        width_base, width_max: a layer at resolution 2^r has min(width_base / 2^(r - 1), width_max) features.
        blur: filter after upsampling and before downsampling, which makes both bilinear (from B).
        style: AdaIN in place of pixel norm (from C).
        constant: a learned constant in place of the dense first layer (from D).
        noise: after each convolution (from E).
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
        w_size: int = 512,
        mapping_layers: int = 8,
        width_base: int = 8192,
        width_max: int = 512,
        blur: bool = True,
        style: bool = True,
        constant: bool = True,
        noise: bool = True,
        group: int = 4,
        start_resolution: int = 8,
        stable_images: int = 600_000,
        fade_images: int = 600_000,
        discriminator: bool = True,
    ) -> None:
        super().__init__(
            resolution=resolution, channels=channels, classes=classes, latent_size=latent_size, group=group
        )
        taps = BLUR if blur else ()
        widths = widths_of(self.level, width_base, width_max)
        mapping = Mapping(latent_size, w_size, mapping_layers, classes)
        w_size = len(mapping.mean_w)
        synthesis = Synthesis(
            self.level, widths, channels, w_size, taps=taps, constant=constant, noise=noise, style=style
        )
        self.generator = Generator(mapping, synthesis)
        outputs = max(classes, 1)
        self.discriminator = (
            Discriminator(self.level, widths, channels, outputs, taps, group) if discriminator else None
        )
        self.grows(start_resolution, stable_images, fade_images)

    def judge(
        self, images: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return chosen(self.discriminator(images, lod), label, self.classes), None
