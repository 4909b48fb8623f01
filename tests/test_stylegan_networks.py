"""The networks of the StyleGAN family written out a second time, as the papers say them, in plain operations.

The generator of StyleGAN2 is compared with another program's in `test_stylegan_import`.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from test_stylegan import SMALL, SMALL_STYLE, build, trained
from torch.nn import functional as F

from zoo_stylegan.layers import minibatch_stddev


def weight(layer: Any, gain: float = 1.0) -> torch.Tensor:
    """Of a layer with equalised learning rate: gain / sqrt(fan-in)."""
    return layer.weight * gain / math.sqrt(layer.weight[0].numel())


def leaky(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, 0.2 * x, x)


def normed(x: torch.Tensor) -> torch.Tensor:
    """Features of a pixel with a root mean square of 1."""
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def blurred(x: torch.Tensor, taps: tuple[int, ...], pad: int) -> torch.Tensor:
    kernel = torch.outer(torch.tensor(taps).float(), torch.tensor(taps).float()) / sum(taps) ** 2
    return F.conv2d(F.pad(x, (pad,) * 4), kernel.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])


def nearest(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def random_images(size: int = 16) -> torch.Tensor:
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(3))


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))


@pytest.mark.parametrize(
    ("config", "lod"),
    [({"clamp": 0.4}, 0.0), ({"classes": 3}, 0.0), ({"growing": True}, 0.0), ({"growing": True}, 0.25)],
)
def test_the_discriminator_of_stylegan2(config: dict[str, Any], lod: float) -> None:
    """Figure 7, resnet, or growing (B to D); filtered before it is halved; scores of classes by projection."""
    growing = "growing" in config
    network = trained(build("stylegan2", **SMALL_STYLE, **config)).discriminator
    images, limit = random_images(), config.get("clamp", math.inf)
    label = torch.tensor([0, 2, 1, 0]) if "classes" in config else None

    def activated(x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        return (leaky(x) * math.sqrt(2)).clamp(-limit, limit) * gain

    def from_rgb(x: torch.Tensor, number: int) -> torch.Tensor:
        return activated(F.conv2d(x, weight(network.from_rgb[number]), network.from_rgb[number].bias))

    x = from_rgb(images, -1)
    for number in (1, 0):
        block, gain = network.blocks[number], 1 if growing else math.sqrt(0.5)
        y = activated(F.conv2d(x, weight(block.conv), block.conv.bias, padding=1))
        y = blurred(y, (1, 3, 3, 1), 2)
        y = activated(F.conv2d(y, weight(block.down), block.down.bias, stride=2), gain)
        if not growing:
            y = y + F.conv2d(blurred(x, (1, 3, 3, 1), 1)[:, :, ::2, ::2], weight(block.skip)) * gain
        x = y
        if number and lod:
            x = 0.75 * x + 0.25 * from_rgb(F.avg_pool2d(images, 2), -2)
    x = minibatch_stddev(x, 4)
    x = activated(F.conv2d(x, weight(network.conv), network.conv.bias, padding=1))
    x = leaky(F.linear(x.flatten(1), weight(network.dense), network.dense.bias)) * math.sqrt(2)
    x = F.linear(x, weight(network.output), network.output.bias)
    if label is not None:
        x = (x * network.mapping(torch.zeros(4, 0), label)).sum(1, keepdim=True) / math.sqrt(x.shape[1])
    close(network(images, label, lod), x[:, 0])


@pytest.mark.parametrize("lod", [0.0, 0.25])
@pytest.mark.parametrize(("name", "taps"), [("progan", ()), ("stylegan", (1, 2, 1))])
def test_the_discriminator_of_progressive_gan_and_of_stylegan(name: str, taps: tuple[int, ...], lod: float) -> None:
    """Convolved and averaged; StyleGAN blurs before."""
    network = trained(build(name, **(SMALL if name == "progan" else SMALL_STYLE))).discriminator
    images, root = random_images(), math.sqrt(2)

    def from_rgb(x: torch.Tensor, number: int) -> torch.Tensor:
        return leaky(F.conv2d(x, weight(network.from_rgb[number], root), network.from_rgb[number].bias))

    x = from_rgb(images, -1)
    for number in (1, 0):
        conv, down = network.convs[number], network.downs[number]
        x = leaky(F.conv2d(x, weight(conv, root), conv.bias, padding=1))
        x = blurred(x, taps, 1) if taps else x
        x = leaky(F.avg_pool2d(F.conv2d(x, weight(down, root), down.bias, padding=1), 2))
        if number and lod:
            x = 0.75 * x + 0.25 * from_rgb(F.avg_pool2d(images, 2), -2)
    x = leaky(F.conv2d(minibatch_stddev(x, 4), weight(network.conv, root), network.conv.bias, padding=1))
    x = leaky(F.linear(x.flatten(1), weight(network.dense, root), network.dense.bias))
    close(network(images, lod), F.linear(x, weight(network.output), network.output.bias))


def test_the_generator_of_progressive_gan() -> None:
    """Table 2; a class enters beside z, before the norm."""
    model, root = trained(build("progan", **SMALL, classes=3)), math.sqrt(2)
    network, z = model.generator, torch.randn(4, 12)
    given = normed(torch.cat([z, torch.eye(3)[[0, 2, 1, 1]]], 1))
    x = (given @ weight(network.dense, root / 4).t()).view(4, -1, 4, 4)
    x = normed(leaky(x + network.bias))
    x = normed(leaky(F.conv2d(x, weight(network.conv, root), network.conv.bias, padding=1)))
    for block in network.blocks:
        x = normed(leaky(F.conv2d(nearest(x), weight(block.up, root), block.up.bias, padding=1)))
        x = normed(leaky(F.conv2d(x, weight(block.conv, root), block.conv.bias, padding=1)))
    expected = F.conv2d(x, weight(network.to_rgb[-1]), network.to_rgb[-1].bias)
    close(network(z, torch.tensor([0, 2, 1, 1])), expected)


@pytest.mark.parametrize("row", list("CEF"))
def test_the_generator_of_stylegan(row: str) -> None:
    """Figure 1b: after each convolution noise, bias, LeakyReLU, instance norm, and a style with scale 1 + y_s."""
    model, root = trained(build("stylegan", row, **SMALL_STYLE)), math.sqrt(2)
    network = model.generator.synthesis
    w = torch.randn(4, network.slots, 10)
    noise = [torch.randn(4, 1, size, size) for size in model.noise_sizes]

    def styled(x: torch.Tensor, epilogue: Any, slot: int) -> torch.Tensor:
        if noise:
            x = x + epilogue.noise_strength[:, None, None] * noise[slot]
        x = leaky(x + epilogue.bias[:, None, None])
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-8).sqrt()
        scale, shift = (w[:, slot] @ weight(epilogue.affine).t() + epilogue.affine.bias).chunk(2, 1)
        return x * (1 + scale[:, :, None, None]) + shift[:, :, None, None]

    if network.constant is None:
        x = (w[:, 0] @ weight(network.dense, root / 4).t()).view(4, -1, 4, 4)
    else:
        x = network.constant.expand(4, -1, -1, -1)
    x = styled(x, network.epilogues[0], 0)
    x = styled(F.conv2d(x, weight(network.conv, root), padding=1), network.epilogues[1], 1)
    for number, block in enumerate(network.blocks, 1):
        x = blurred(F.conv2d(nearest(x), weight(block.up, root), padding=1), (1, 2, 1), 1)
        x = styled(x, block.epilogues[0], 2 * number)
        x = styled(F.conv2d(x, weight(block.conv, root), padding=1), block.epilogues[1], 2 * number + 1)
    expected = F.conv2d(x, weight(network.to_rgb[-1]), network.to_rgb[-1].bias)
    close(network(w, lambda slot, _: noise[slot]), expected)
