"""Layers that Progressive GAN, StyleGAN and StyleGAN2 share.

Equalised learning rate: weights are drawn from N(0, 1) and multiplied by gain / sqrt(fan-in) when used, so that Adam
moves all layers at one speed (Karras et al., Progressive Growing of GANs, ICLR 2018, arXiv 1710.10196, section 4.1).

Shapes: B batch, C features, H, W height and width, I, O features in and out, K kernel size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from zoo_stylegan.winograd import conv2d

ROOT2 = math.sqrt(2)


class EqualizedLinear(nn.Module):
    """Dense layer with equalised learning rate, (..., I) to (..., O).

    Args:
        inputs, outputs: I, O.
        gain: of the weights.
        rate: factor of the learning rate, of weights and bias.
        bias: its initial value; None for no bias.
    """

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = 1.0, rate: float = 1.0, bias: float | None = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate)) if bias is not None else None
        self.scale, self.rate = rate * gain / math.sqrt(inputs), rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.scale, None if self.bias is None else self.bias * self.rate)


class EqualizedConv2d(nn.Module):
    """Convolution with equalised learning rate that keeps the size; B I H W to B O H W.

    Args:
        inputs, outputs: I, O.
        kernel: K, odd.
        gain: of the weights.
        bias: whether there is one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = ROOT2, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel**2)

    def kernel(self, x: torch.Tensor) -> torch.Tensor:
        """The scaled weights (O, I, K, K), in the precision of `x`."""
        return (self.weight * self.scale).to(x.dtype)

    def offset(self, x: torch.Tensor) -> torch.Tensor | None:
        """The bias (O,), in the precision of `x`."""
        return None if self.bias is None else self.bias.to(x.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return conv2d(x, self.kernel(x), self.offset(x))


def pixel_norm(x: torch.Tensor) -> torch.Tensor:
    """Features of each pixel divided by their root mean square (Progressive GAN, section 4.2)."""
    # In fp16 by way of float32, as the square of 256 is beyond it.
    squares = (x.float() if x.dtype == torch.float16 else x).square()
    return x * (squares.mean(1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


def instance_norm(x: torch.Tensor) -> torch.Tensor:
    """Each feature map with mean 0 and variance 1 over its pixels."""
    return F.group_norm(x, x.shape[1], eps=1e-8)


def minibatch_stddev(x: torch.Tensor, group: int = 4) -> torch.Tensor:
    """B C H W with one more feature: the mean standard deviation over groups (Progressive GAN, section 3).

    Sample i shares its group with i + B / group, i + 2 B / group, and so on; a batch smaller than `group` is one group.

    Raises:
        ValueError: a batch that is no multiple of the group.
    """
    batch, _, height, width = x.shape
    group = min(group, batch)
    if batch % group:
        raise ValueError(f"a batch of {batch} pictures can't be split into groups of {group}")
    grouped = x.float().unflatten(0, (group, -1))  # group B/group C H W
    spread = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))  # B/group
    return torch.cat([x, spread.to(x.dtype).repeat(group).view(-1, 1, 1, 1).expand(-1, -1, height, width)], 1)


# Resampling


def spread_kernel(weight: torch.Tensor) -> torch.Tensor:
    """Weights (O, I, K, K) summed over the four one-pixel shifts, (O, I, K+1, K+1).

    Doubling pixels and then convolving with `weight` is one transposed convolution of stride 2 with these; convolving
    and then averaging 2x2 pixels is one convolution of stride 2 with a quarter of them.
    """
    size = weight.shape[-1]
    shifts = torch.eye(size + 1, size, dtype=weight.dtype, device=weight.device)
    shifts = shifts + shifts.roll(1, 0)  # of one dimension
    return (weight.flatten(2) @ torch.kron(shifts, shifts).mT).unflatten(2, (size + 1, size + 1))


def _outer(taps: Sequence[float], total: float, x: torch.Tensor) -> torch.Tensor:
    """taps x taps, scaled to the sum `total`, of the type and on the device of `x`."""
    if torch.compiler.is_compiling():  # a tensor of a traced graph must not be kept
        return _new_outer(tuple(taps), total, x.dtype, x.device)
    return _kept_outer(tuple(taps), total, x.dtype, x.device)


def _new_outer(taps: tuple[float, ...], total: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    kernel = [tap / sum(taps) * math.sqrt(total) for tap in taps]
    with torch.inference_mode(False):
        return torch.tensor([[a * b for a in kernel] for b in kernel], dtype=dtype, device=device)


_kept_outer = cache(_new_outer)  # every making is a copy to the device


def fir(x: torch.Tensor, taps: Sequence[float], pad: tuple[int, int], gain: float = 1.0, step: int = 1) -> torch.Tensor:
    """B C H W filtered with the separable kernel taps x taps, scaled to the sum `gain`.

    Args:
        x: feature maps or pictures.
        taps: of one dimension, symmetric.
        pad: zeros before and after, in both dimensions; may be negative.
        gain: sum of the two-dimensional kernel.
        step: keep every `step`-th pixel.
    """
    if _by_matrix(x, step):
        return _both_ways(x, *(_banded(size, tuple(taps), pad, gain, step, x.dtype) for size in x.shape[2:]))
    kernel = _outer(taps, gain, x).expand(x.shape[1], 1, -1, -1)
    if pad[0] == pad[1] >= 0:
        return F.conv2d(x, kernel, padding=pad[0], stride=step, groups=x.shape[1])
    return F.conv2d(F.pad(x, (*pad, *pad)), kernel, stride=step, groups=x.shape[1])


def upsample(x: torch.Tensor, taps: Sequence[float]) -> torch.Tensor:
    """B C H W to B C 2H 2W: zeros between the pixels, then the filter (StyleGAN2's upsampling of pictures)."""
    if _by_matrix(x, 2):
        pad = (len(taps) // 2 - 1,) * 2
        return _both_ways(x, *(_banded(2 * size, tuple(taps), pad, 4.0, 2, x.dtype).mT for size in x.shape[2:]))
    kernel = _outer(taps, 4.0, x).expand(x.shape[1], 1, -1, -1)
    return F.conv_transpose2d(x, kernel, stride=2, padding=len(taps) // 2 - 1, groups=x.shape[1])


def downsample(x: torch.Tensor, taps: Sequence[float]) -> torch.Tensor:
    """B C H W to B C H/2 W/2: the filter, then every other pixel."""
    return fir(x, taps, (len(taps) // 2 - 1,) * 2, step=2)


def _by_matrix(x: torch.Tensor, step: int) -> bool:
    """Whether to filter by matrix products: CPUs are slow at other ways in bf16, or at what autograd makes of them."""
    cpu = x.device.type == "cpu" and x.dtype == torch.bfloat16 and not torch.compiler.is_compiling()
    return cpu and (step > 1 or x.is_contiguous())


def _both_ways(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """B C H W to B C H' W' by (H', H) and (W', W)."""
    return rows @ (x @ columns.mT)


@cache
def _banded(
    size: int, taps: tuple[float, ...], pad: tuple[int, int], total: float, step: int, dtype: torch.dtype
) -> torch.Tensor:
    """`fir` of one dimension as a matrix (H', H), its sums the root of `total`."""
    with torch.inference_mode(False):
        kernel = torch.tensor(taps) / sum(taps) * math.sqrt(total)
        beyond = max(pad[1], 0)
        matrix = torch.zeros((size + sum(pad) - len(taps)) // step + 1, pad[0] + size + beyond)
        for i, row in enumerate(matrix):
            row[step * i : step * i + len(taps)] = kernel
        return F.pad(matrix, (-pad[0], -beyond)).to(dtype)


def doubled(x: torch.Tensor, times: int = 1) -> torch.Tensor:
    """B C H W to B C H 2^times W 2^times, each pixel repeated."""
    return F.interpolate(x, scale_factor=2.0**times, mode="nearest") if times else x


def halved(x: torch.Tensor, times: int = 1) -> torch.Tensor:
    """B C H W to B C H/2^times W/2^times, each pixel the mean of a box."""
    return F.avg_pool2d(x, 2**times) if times else x


# Precision


@contextmanager
def own_precision(device: torch.device) -> Iterator[torch.dtype | None]:
    """Leaves autocast; gives the data type of the one in force, None if there is none.

    The networks cast on their own: bf16 and fp16 pay in the layers of the highest resolutions and cost accuracy in the
    others (StyleGAN2-ADA, arXiv 2006.06676, appendix D.1).
    """
    if not torch.amp.is_autocast_available(device.type):
        yield None
        return
    reduced = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    with torch.autocast(device.type, enabled=False):
        yield reduced


# Sizes


def levels_of(resolution: int, name: str = "resolution") -> int:
    """log2 of a resolution; raises ValueError unless that is a whole number of at least 2."""
    level = max(resolution, 1).bit_length() - 1
    if 2**level != resolution or level < 2:
        raise ValueError(f"{name} must be a power of two of at least 4, not {resolution}")
    return level


def widths_of(level: int, base: int, most: int) -> dict[int, int]:
    """Features of the layers at each level 1 .. `level`: min(base / 2^(level - 1), most), at least 1.

    Progressive GAN and StyleGAN have base 8192, StyleGAN2's configuration F 16384, all at most 512.

    Raises:
        ValueError: a base or a limit below 1.
    """
    if min(base, most) < 1:
        raise ValueError(f"width_base and width_max must be at least 1, not {base} and {most}")
    return {r: max(1, min(base // 2 ** (r - 1), most)) for r in range(1, level + 1)}
