"""StyleGAN2: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, arXiv 1912.04958.

Against StyleGAN, styles scale the weights of the convolutions, and demodulation takes the place of instance norm
(configuration B); regularisation is lazy (C); the generator's map from w to pictures is kept smooth by path length
regularisation (D); skip connections of pictures and a residual discriminator take the place of growing (E); the layers
of the high resolutions are twice as wide (F). A is StyleGAN. Class conditioning is that of StyleGAN2-ADA (arXiv
2006.06676): an embedding beside z, and a projection in the discriminator.

Scaling the weights for each sample, w'_oik = s_i w_oik and w''_oik = d_o w'_oik (eq. 1 and 3), is the same as scaling
the features before and after one convolution of shared weights, which is much faster than a grouped convolution.

Shapes: B batch, C colour channels, H, W height and width, Z latent size, D size of w, S style slots, K classes,
I, O features in and out, L log2 of the resolution.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from zoo_stylegan import progan, stylegan
from zoo_stylegan.layers import (
    ROOT2,
    EqualizedConv2d,
    EqualizedLinear,
    doubled,
    downsample,
    fir,
    halved,
    minibatch_stddev,
    own_precision,
    upsample,
    widths_of,
)
from zoo_stylegan.mapping import Mapping
from zoo_stylegan.progan import shown
from zoo_stylegan.styles import Generator, Noise, StyleBased
from zoo_stylegan.winograd import conv2d

TAPS = (1, 3, 3, 1)
REDUCED_LEVELS = 4  # how many of the highest resolutions may run in bf16 or fp16
CLAMP = 256.0  # of fp16 activations


def clamped(x: torch.Tensor, limit: float, gain: float = 1.0) -> torch.Tensor:
    """`x` within +-limit gain. A limit of 0 means none, except in fp16, where it means 256."""
    limit = (limit or (CLAMP if x.dtype == torch.float16 else math.inf)) * gain
    return x if limit == math.inf else x.clamp(-limit, limit)


def modulated_conv2d(
    x: torch.Tensor, weight: torch.Tensor, style: torch.Tensor, *, demodulate: bool = True, up: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Convolution whose input features are scaled by a style, to be scaled by the second result (eq. 1 and 3).

    Args:
        x: (B, I, H, W).
        weight: (O, I, K, K).
        style: (B, I).
        demodulate: whether outputs are to have unit variance if inputs have.
        up: double the resolution.

    Returns:
        (B, O, H, W) or (B, O, 2H, 2W), and the factors (B, O) that are still missing, None without demodulation.
    """
    if x.dtype == torch.float16 and demodulate:  # neither products nor sums may leave the range; d_o undoes both
        weight = weight / (weight.abs().amax((1, 2, 3), keepdim=True) * math.sqrt(weight[0].numel()))
        style = style / style.abs().amax(1, keepdim=True)
    factors = None
    if demodulate:
        factors = (style.square() @ weight.square().sum((2, 3)).t() + 1e-8).rsqrt()
    x, weight = x * style.to(x.dtype)[..., None, None], weight.to(x.dtype)
    if up:
        return fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), TAPS, (1, 1), gain=4), factors
    return conv2d(x, weight), factors


class SynthesisLayer(nn.Module):
    """A modulated 3x3 convolution, noise, bias and LeakyReLU (figure 2d)."""

    def __init__(self, inputs: int, outputs: int, w_size: int, *, up: bool = False, clamp: float = 0.0) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.affine = EqualizedLinear(w_size, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W), (B, D) and (B or 1, 1, H, W) to (B, O, H, W); H and W of the noise double with `up`."""
        x, factors = modulated_conv2d(x, self.weight, self.affine(w), up=self.up)
        assert factors is not None
        # The gain sqrt 2 of the activation, taken before it. With features as the last dimension, the noise, which has
        # none, doesn't decide how the result lies in memory.
        offset = noise.reshape(-1, *x.shape[2:], 1) * (self.noise_strength * ROOT2) + self.bias * ROOT2
        factors = (factors * ROOT2).to(x.dtype)[:, None, None]
        x = F.leaky_relu(torch.addcmul(offset.to(x.dtype), x.permute(0, 2, 3, 1), factors), 0.2).permute(0, 3, 1, 2)
        return clamped(x, self.clamp)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution without demodulation."""

    def __init__(self, inputs: int, channels: int, w_size: int, clamp: float = 0.0) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualizedLinear(w_size, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) and (B, D) to (B, C, H, W), float32."""
        x, _ = modulated_conv2d(x, self.weight, self.affine(w) * self.scale, demodulate=False)
        return clamped(x + self.bias.to(x.dtype).view(-1, 1, 1), self.clamp).float()


class Block(nn.Module):
    """The layers of one resolution above 4x4."""

    def __init__(self, inputs: int, outputs: int, channels: int, w_size: int, clamp: float) -> None:
        super().__init__()
        self.up = SynthesisLayer(inputs, outputs, w_size, up=True, clamp=clamp)
        self.conv = SynthesisLayer(outputs, outputs, w_size, clamp=clamp)
        self.to_rgb = ToRGB(outputs, channels, w_size, clamp)


class Synthesis(nn.Module):
    """w to pictures, by adding up those of all resolutions (figure 7, skip), or growing (configurations B to D).

    Of the 2 (L - 1) style slots, a resolution 2^r has 2r - 5, 2r - 4 and 2r - 3: its picture shares the slot of the
    next resolution's first layer. While a resolution fades in, the one below is enlarged by repeating pixels, as in
    Progressive GAN, and not filtered.
    """

    def __init__(
        self, level: int, widths: dict[int, int], channels: int, w_size: int, *, growing: bool, clamp: float = 0.0
    ) -> None:
        super().__init__()
        self.level, self.slots, self.growing = level, 2 * (level - 1), growing
        width = widths[2]
        self.constant = nn.Parameter(torch.randn(1, width, 4, 4))
        self.conv = SynthesisLayer(width, width, w_size, clamp=clamp)
        self.to_rgb = ToRGB(width, channels, w_size, clamp)
        self.blocks = nn.ModuleList(
            Block(widths[r - 1], widths[r], channels, w_size, clamp) for r in range(3, level + 1)
        )
        for i in range(2 * level - 3):
            self.register_buffer(f"noise_{i}", torch.randn(1, 1, *[2 ** ((i + 5) // 2)] * 2))

    def constant_noise(self, layer: int, size: int) -> torch.Tensor:
        """The stored noise of a layer, (1, 1, size, size)."""
        return getattr(self, f"noise_{layer}")

    def forward(self, w: torch.Tensor, noise: Noise, lod: float = 0.0) -> torch.Tensor:
        """(B, S, D) to pictures (B, C, H, W), H = W = 2^(L - floor(lod)), about -1 to 1."""
        with own_precision(w.device) as reduced:
            w = w.float()
            level, alpha = shown(lod, self.level)
            x = self.conv(self.constant.expand(w.shape[0], -1, -1, -1), w[:, 0], noise(0, 4))
            images = self.to_rgb(x, w[:, 1]) if not self.growing or level - (alpha > 0) == 2 else None
            for r, block in enumerate(self.blocks[: level - 2], 3):
                x = x.to(reduced if reduced and r > self.level - REDUCED_LEVELS else torch.float32)
                x = block.up(x, w[:, 2 * r - 5], noise(2 * r - 5, 2**r))
                x = block.conv(x, w[:, 2 * r - 4], noise(2 * r - 4, 2**r))
                if not self.growing:
                    images = upsample(images, TAPS) + block.to_rgb(x, w[:, 2 * r - 3])
                elif r >= level - (alpha > 0):
                    ours = block.to_rgb(x, w[:, 2 * r - 3])
                    images = ours if images is None else ours.lerp(doubled(images), alpha)
            assert images is not None
            return images


def activate(x: torch.Tensor, clamp: float = 0.0, gain: float = 1.0) -> torch.Tensor:
    """LeakyReLU with gain sqrt 2, and `clamped`."""
    return clamped(F.leaky_relu(x, 0.2) * (ROOT2 * gain), clamp, gain)


class Conv(EqualizedConv2d):
    """A convolution whose gain is in the activation; with `down`, a filter first and then stride 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, down: bool = False, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, gain=1.0, bias=bias)
        self.down = down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.down:
            return super().forward(x)
        if self.weight.shape[-1] == 1:  # first drop the pixels that are not kept
            return F.conv2d(downsample(x, TAPS), self.kernel(x), self.offset(x))
        return F.conv2d(fir(x, TAPS, (2, 2)), self.kernel(x), self.offset(x), stride=2)


class DiscriminatorBlock(nn.Module):
    """Halves the resolution; with `residual`, beside a 1x1 convolution (figure 7, resnet)."""

    def __init__(self, inputs: int, outputs: int, *, residual: bool, clamp: float = 0.0) -> None:
        super().__init__()
        self.clamp = clamp
        self.conv = Conv(inputs, inputs, 3)
        self.down = Conv(inputs, outputs, 3, down=True)
        self.skip = Conv(inputs, outputs, 1, down=True, bias=False) if residual else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gain = 1.0 if self.skip is None else 1 / ROOT2  # keeps the variance of a sum of two
        y = activate(self.down(activate(self.conv(x), self.clamp)), self.clamp, gain)
        return y if self.skip is None else y + self.skip(x) * gain


class Discriminator(nn.Module):
    """Pictures to scores; residual, or growing (configurations B to D)."""

    def __init__(
        self,
        level: int,
        widths: dict[int, int],
        channels: int,
        classes: int,
        *,
        growing: bool,
        group: int = 4,
        clamp: float = 0.0,
    ) -> None:
        super().__init__()
        self.level, self.growing, self.group, self.classes, self.clamp = level, growing, group, classes, clamp
        first = 2 if growing else level
        self.from_rgb = nn.ModuleList(Conv(channels, widths[r], 1) for r in range(first, level + 1))
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(widths[r], widths[r - 1], residual=not growing, clamp=clamp) for r in range(3, level + 1)
        )
        self.conv = Conv(widths[2] + 1, widths[2], 3)
        self.dense = EqualizedLinear(widths[2] * 16, widths[2])
        self.output = EqualizedLinear(widths[2], widths[2] if classes else 1)
        self.mapping = Mapping(0, widths[2], 8, classes) if classes else None

    def forward(self, images: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0) -> torch.Tensor:
        """(B, C, H, W), H = W = 2^(L - floor(lod)), to (B,)."""
        with own_precision(images.device) as reduced:
            level, alpha = shown(lod, self.level)
            images = images.float()

            def cast(x: torch.Tensor, r: int) -> torch.Tensor:
                return x.to(reduced if reduced and r > self.level - REDUCED_LEVELS else torch.float32)

            x = activate(self.from_rgb[level - 2 if self.growing else 0](cast(images, level)), self.clamp)
            for r in range(level, 2, -1):
                x = self.blocks[r - 3](cast(x, r))
                if r == level and alpha:
                    below = activate(self.from_rgb[r - 3](cast(halved(images), r)), self.clamp)
                    x = x.lerp(below, alpha)
            x = activate(self.conv(minibatch_stddev(x.float(), self.group)), self.clamp)
            x = self.output(activate(self.dense(x.flatten(1))))
            if self.mapping is None or label is None:
                return x[:, 0]
            classes = self.mapping(label.new_zeros(len(x), 0, dtype=torch.float32), label)
            return (x * classes).sum(1) / math.sqrt(x.shape[1])  # projection


class StyleGAN2(StyleBased):
    """StyleGAN2, with the switches of table 1.

    Args:
        resolution: height and width of the pictures, a power of two.
        channels: C, 1 or 3.
        classes: K; 0 for none.
        latent_size, w_size: Z, D; without a mapping network w is z.
        mapping_layers: of the mapping network; 0 for none.
        width_base, width_max: a layer at resolution 2^r has min(width_base / 2^(r - 1), width_max) features.
        demodulation: styles scale weights, in place of StyleGAN's networks with AdaIN (from B).
        growing: grow the networks, in place of skip connections and a residual discriminator (A to D).
        clamp: limit of activations; 0 for none, but 256 in fp16. StyleGAN2-ADA's networks have 256 always.
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
        width_base: int = 16384,
        width_max: int = 512,
        demodulation: bool = True,
        growing: bool = False,
        clamp: float = 0.0,
        group: int = 4,
        start_resolution: int = 8,
        stable_images: int = 600_000,
        fade_images: int = 600_000,
        discriminator: bool = True,
    ) -> None:
        super().__init__(
            resolution=resolution, channels=channels, classes=classes, latent_size=latent_size, group=group
        )
        if not (demodulation or growing):
            raise ValueError("without demodulation the networks are StyleGAN's, which grow: set growing=true too")
        if not 0 <= clamp < math.inf:
            raise ValueError(f"clamp must be a positive number, or 0 for none, not {clamp}")
        widths = widths_of(self.level, width_base, width_max)
        mapping = Mapping(latent_size, w_size, mapping_layers, classes)
        w_size = len(mapping.mean_w)
        self.demodulation, self.discriminator = demodulation, None
        if demodulation:
            synthesis: nn.Module = Synthesis(self.level, widths, channels, w_size, growing=growing, clamp=clamp)
            if discriminator:
                self.discriminator = Discriminator(
                    self.level, widths, channels, classes, growing=growing, group=group, clamp=clamp
                )
        else:
            synthesis = stylegan.Synthesis(
                self.level, widths, channels, w_size, taps=stylegan.BLUR, constant=True, noise=True, style=True
            )
            if discriminator:
                self.discriminator = progan.Discriminator(
                    self.level, widths, channels, max(classes, 1), stylegan.BLUR, group
                )
        self.generator = Generator(mapping, synthesis)
        if growing:
            self.grows(start_resolution, stable_images, fade_images)

    def judge(
        self, images: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.demodulation:
            return self.discriminator(images, label, lod), None
        return stylegan.chosen(self.discriminator(images, lod), label, self.classes), None
