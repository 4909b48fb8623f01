"""VGAN: Vondrick, Pirsiavash, Torralba: Generating Videos with Scene Dynamics, NIPS 2016, arXiv 1609.02612.

The first GAN of clips. One latent makes a whole clip, in two streams: a moving foreground f by 3-D convolutions and a
still background b by 2-D ones, joined by a mask m (eq. 4): m * f + (1 - m) * b. A penalty on the mask lets the
background show wherever it can.

Left out: the encoder of the paper's section 3.4, which turns a still picture into a latent. Other sizes than the
paper's 32 frames of 64x64 are ours.

Shapes: B batch, C colour channels, T frames, H, W height and width, Z latent size.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from zoo.request import SampleRequest
from zoo_videogan.clips import SLOPE, FixedLength, check_sizes, initialise, levels_of, up

DEVIATION = 0.01


class Foreground(nn.Module):
    """A latent to moving pictures and the mask that says where they are seen."""

    def __init__(self, latent_size: int, widths: list[int], channels: int, first_frames: int) -> None:
        super().__init__()
        stages = [up(latent_size, widths[0], dims=3, first=(first_frames, 4, 4))]
        stages += [up(a, b, dims=3) for a, b in itertools.pairwise(widths)]
        self.trunk = nn.Sequential(*stages)
        self.video = nn.ConvTranspose3d(widths[-1], channels, 4, 2, 1)
        self.mask = nn.ConvTranspose3d(widths[-1], 1, 4, 2, 1)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, Z) to (B, C, T, H, W) of -1 to 1, and (B, 1, T, H, W) of 0 to 1."""
        x = self.trunk(z[:, :, None, None, None])
        return self.video(x).tanh(), self.mask(x).sigmoid()


class Generator(nn.Module):
    """A latent to the parts of a clip."""

    def __init__(self, latent_size: int, widths: list[int], channels: int, first_frames: int) -> None:
        super().__init__()
        self.foreground = Foreground(latent_size, widths, channels, first_frames)
        stages = [up(latent_size, widths[0], dims=2, first=(4, 4))]
        stages += [up(a, b, dims=2) for a, b in itertools.pairwise(widths)]
        self.background = nn.Sequential(*stages, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, Z) to foreground f (B, C, T, H, W), mask m (B, 1, T, H, W) and background b (B, C, 1, H, W)."""
        video, mask = self.foreground(z)
        return video, mask, self.background(z[:, :, None, None]).unsqueeze(2)


def compose(video: torch.Tensor, mask: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """m * f + (1 - m) * b (eq. 4), (B, C, T, H, W)."""
    return mask * video + (1 - mask) * background


class Discriminator(nn.Module):
    """A clip to a score; the paper's softmax of two outputs is the logistic function of their difference."""

    def __init__(self, channels: int, widths: list[int], last_frames: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv3d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv3d(a, b, 4, 2, 1, bias=False), nn.BatchNorm3d(b, eps=1e-3), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv3d(widths[-1], 2, (last_frames, 4, 4)))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B,), high for real clips."""
        outputs = self.layers(clips).flatten(1)  # B 2
        return outputs[:, 1] - outputs[:, 0]


class VGAN(FixedLength):
    """VGAN.

    Args:
        resolution: H = W, a power of two; 64 in the paper.
        frames: T, a multiple of resolution / 4; 32 in the paper.
        channels: C, 1 or 3.
        latent_size: Z.
        width: features of the generator before its last layer, and of the discriminator after its first; they double
            towards 4x4.
        discriminator: whether there is one; released weights come without.
    """

    def __init__(
        self,
        *,
        resolution: int = 64,
        frames: int = 32,
        channels: int = 3,
        latent_size: int = 100,
        width: int = 64,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(channels, latent_size=latent_size, width=width)
        levels = levels_of(resolution)
        first_frames = frames >> levels
        if first_frames < 1 or first_frames << levels != frames:
            raise ValueError(f"frames must be a multiple of {1 << levels} at {resolution} pixels, not {frames}")
        self.image_shape, self.frames, self.latent_size = (channels, resolution, resolution), frames, latent_size
        widths = [width << i for i in range(levels)]
        self.generator = Generator(latent_size, widths[::-1], channels, first_frames)
        self.discriminator = Discriminator(channels, widths, first_frames) if discriminator else None
        initialise(self, DEVIATION)

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]:
        return {"z": [(self.latent_size,)]}

    def latent_of(self, request: SampleRequest) -> torch.Tensor:
        """z (B, Z), standard normal."""
        return request.normal(self.latent_size)

    def draw(self, request: SampleRequest) -> torch.Tensor:
        """The clips of a request, (B, T, C, H, W), uint8, or the part of them that its option `part` names."""
        self.check_frames(request)
        video, mask, background = self.generator(self.z_of(request))
        parts = {
            "foreground": video,
            "background": background.expand_as(video),
            "mask": (2 * mask - 1).expand_as(video),
        }
        part = request.options.get("part")
        return self.cut(parts[part] if part else compose(video, mask, background), request)
