"""Layers of DVD-GAN's generator: batch normalisation frame by frame, recurrence of feature maps, residual blocks.

Source: section 3 of arXiv 1907.06571v2, and BigGAN (Brock et al., arXiv 1809.11096).

Shapes: B batch, T frames, C features, H, W height and width, Z latent and class together.
"""

from __future__ import annotations

import math

import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F

from zoo_videogan.spectral import Conv2d, Linear


def everywhere(means: torch.Tensor) -> torch.Tensor:
    """The mean over all processes, which hold equally many clips; gradients flow through it."""
    if not (dist.is_available() and dist.is_initialized()):
        return means
    summed: torch.Tensor = all_reduce(means)  # type: ignore[no-untyped-call]
    return summed / dist.get_world_size()


class FrameBatchNorm(nn.Module):
    """Batch normalisation in which each frame has statistics of its own, those of all processes together.

    Gain and offset come from latent and class; without a condition they are learned.

    Attributes:
        mean, var: running statistics, (T, C).
        momentum: of the newest batch in them; None makes them the mean of the batches since `reset_running_stats`,
            each process by itself.
    """

    mean: torch.Tensor
    var: torch.Tensor
    momentum: float | None = 0.1

    def __init__(self, features: int, condition: int, frames: int) -> None:
        super().__init__()
        self.gain = Linear(condition, features, bias=False) if condition else None
        self.offset = Linear(condition, features, bias=False) if condition else None
        self.affine = None if condition else nn.Parameter(torch.zeros(2, features))
        self.register_buffer("mean", torch.zeros(frames, features))
        self.register_buffer("var", torch.ones(frames, features))
        self._batches = 0  # since the last reset

    def reset_running_stats(self) -> None:
        """Forget the statistics, as layers of torch do."""
        self.mean.zero_()
        self.var.fill_(1)
        self._batches = 0

    def forward(self, x: torch.Tensor, condition: torch.Tensor, first: int = 0) -> torch.Tensor:
        """(B, T, C, H, W) and (B, Z) to the same shape; `first` is the number of the first frame."""
        b, t, c = x.shape[:3]
        x = x.float()
        frames = torch.arange(first, first + t, device=x.device).clamp(max=len(self.mean) - 1)
        if self.training:
            reference = self.mean[frames]  # near the mean, so that the difference of squares keeps its digits
            # Two sums are 20 times as fast as torch.var_mean over these axes.
            centred = x - reference[..., None, None]
            sums = torch.stack([centred.sum((3, 4)).sum(0), centred.square().sum((3, 4)).sum(0)])  # 2 T C
            means = sums / (b * x.shape[3] * x.shape[4])
            shift, square = means if self.momentum is None else everywhere(means)
            mean, var = reference + shift, (square - shift.square()).clamp(min=0)
            self._batches += 1
            rate = 1 / self._batches if self.momentum is None else self.momentum
            with torch.no_grad():
                self.mean[first : first + t].lerp_(mean, rate)
                self.var[first : first + t].lerp_(var, rate)
        else:
            mean, var = self.mean[frames], self.var[frames]
        # One multiplication and one addition a feature: x * scale + shift, of each clip and frame.
        if self.gain is not None and self.offset is not None:
            gain, offset = self.gain(condition).float().view(b, 1, c), self.offset(condition).float().view(b, 1, c)
        else:
            gain, offset = self.affine  # type: ignore[misc]
        scale = (1 + gain) * (var + 1e-5).rsqrt()  # B T C
        shift = offset - mean * scale
        return torch.addcmul(shift[..., None, None], x, scale[..., None, None])


class ConvGRU(nn.Module):
    """A gated recurrent unit of feature maps, with a rectified candidate.

    r = s(W_r * [h; x]), u = s(W_u * [h; x]), c = relu(W_c * [r h; x]), h' = u h + (1 - u) c.

    Each W is in two parts, that for x and that for h, so that x of all frames is convolved at once.

    At first features remember for 2 to T frames, evenly spread, T the length of a clip (after Tallec and Ollivier,
    arXiv 1804.11188, section 2, who draw them): the input of the first unit is the same at all frames, and without that
    all frames but the first few would be.
    """

    def __init__(self, features: int, frames: int) -> None:
        super().__init__()
        self.of_input = Conv2d(features, 3 * features)
        most = max(0, frames - 2) / max(1, features - 1)
        memory = torch.tensor([math.log(1 + i * most) for i in range(features)])
        with torch.no_grad():
            self.of_input.bias[features : 2 * features] = memory  # type: ignore[index]
        self.of_state = Conv2d(features, 2 * features, bias=False)
        self.of_reset = Conv2d(features, features, bias=False)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
        """Inputs (B, T, C, H, W) and the state before them (B, C, H, W), None for zeros, to the states after each."""
        b, t = x.shape[:2]
        inputs = self.of_input(x.flatten(0, 1)).unflatten(0, (b, t))  # B T 3C H W
        return self.recur(list(inputs.unbind(1)), state)

    def spread(self, x: torch.Tensor, t: int, state: torch.Tensor | None) -> torch.Tensor:
        """As `forward` of an input (B, C, H, W) that is the same at all T frames."""
        return self.recur([self.of_input(x)] * t, state)

    def recur(self, inputs: list[torch.Tensor], state: torch.Tensor | None) -> torch.Tensor:
        """The states (B, T, C, H, W) from what T inputs (B, 3C, H, W) add to the gates."""
        of_state, of_reset = self.of_state.normalised(), self.of_reset.normalised()
        states = []
        for gates, candidate in (parts.tensor_split([2 * parts.shape[1] // 3], 1) for parts in inputs):
            if state is None:
                state = torch.zeros_like(candidate)
            reset, update = (gates + F.conv2d(state, of_state, padding=1)).sigmoid().chunk(2, 1)
            fresh = (candidate + F.conv2d(reset * state, of_reset, padding=1)).relu()
            state = torch.lerp(fresh, state.to(fresh.dtype), update.to(fresh.dtype))
            states.append(state)
        return torch.stack(states, 1)


class GBlock(nn.Module):
    """A residual block of BigGAN over the frames of clips, which may double their size."""

    def __init__(self, c_in: int, c_out: int, condition: int, frames: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.norms = nn.ModuleList(FrameBatchNorm(c, condition, frames) for c in (c_in, c_out))
        self.convs = nn.ModuleList((Conv2d(c_in, c_out), Conv2d(c_out, c_out)))
        self.skip = Conv2d(c_in, c_out, 1) if c_in != c_out or up else None

    def forward(self, x: torch.Tensor, condition: torch.Tensor, first: int) -> torch.Tensor:
        """(B, T, C, H, W) to (B, T, C', H', W')."""
        b, t = x.shape[:2]
        h = self.norms[0](x, condition, first).relu().flatten(0, 1)
        h = self.convs[0](self._scaled(h)).unflatten(0, (b, t))
        h = self.convs[1](self.norms[1](h, condition, first).relu().flatten(0, 1))
        short = x.flatten(0, 1)
        if self.skip is not None:
            short = self._scaled(self.skip(short))  # 1x1, so that the smaller picture is convolved
        return (h + short).unflatten(0, (b, t))

    def _scaled(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.0) if self.up else x
