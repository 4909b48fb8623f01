"""TGAN: Saito, Matsumoto, Saito: Temporal Generative Adversarial Nets with Singular Value Clipping, ICCV 2017, arXiv
1611.06624.

Against VGAN: no split into foreground and background. A temporal generator makes a latent for each frame from that of
the clip, and an image generator makes each frame of the two. The discriminator is a Wasserstein critic which singular
value clipping keeps 1-Lipschitz layer by layer (section 3.2): see `zoo_videogan.train.TGANTrainer`.

Left out: the paper's conditional variant.

Shapes: B batch, C colour channels, T frames, H, W height and width, Z latent size.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from zoo.precision import float32
from zoo.request import SampleRequest
from zoo_videogan.clips import SLOPE, FixedLength, check_sizes, initialise, levels_of, up

DEVIATION = 0.02


class TemporalGenerator(nn.Module):
    """The latent of a clip to one for each frame (table 1): 1-D transposed convolutions double the length."""

    def __init__(self, latent_size: int, width: int, frames: int) -> None:
        super().__init__()
        doublings = frames.bit_length() - 1
        widths = [4 * width, 2 * width, *[width] * (doublings - 2)][:doublings]
        layers: list[nn.Module] = [nn.ConvTranspose1d(latent_size, widths[0], 1, bias=False)]
        for a, b in itertools.pairwise(widths):
            layers += [nn.BatchNorm1d(a), nn.ReLU(), nn.ConvTranspose1d(a, b, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm1d(widths[-1]), nn.ReLU(), nn.ConvTranspose1d(widths[-1], latent_size, 4, 2, 1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, Z) to (B, T, Z) of -1 to 1."""
        latents: torch.Tensor = self.layers(z.unsqueeze(2)).transpose(1, 2)
        return latents


class ImageGenerator(nn.Module):
    """The latents of a clip and of a frame to the frame (table 1)."""

    def __init__(self, latent_size: int, widths: list[int], channels: int) -> None:
        super().__init__()
        half = widths[0] * 16
        self.of_clip = nn.Sequential(nn.Linear(latent_size, half, bias=False), nn.BatchNorm1d(half), nn.ReLU())
        self.of_frame = nn.Sequential(nn.Linear(latent_size, half, bias=False), nn.BatchNorm1d(half), nn.ReLU())
        stages = [up(a, b, dims=2) for a, b in itertools.pairwise([2 * widths[0], *widths])]
        self.layers = nn.Sequential(*stages, nn.Conv2d(widths[-1], channels, 3, 1, 1), nn.Tanh())

    def forward(self, z: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """(B, Z) and (B, T, Z) to (B, C, T, H, W) of -1 to 1."""
        b, t, _ = latents.shape
        slow = self.of_clip(z).unflatten(1, (-1, 4, 4)).repeat_interleave(t, 0)  # BT F 4 4
        fast = self.of_frame(latents.flatten(0, 1)).unflatten(1, (-1, 4, 4))
        frames = self.layers(torch.cat([slow, fast], 1))
        return frames.unflatten(0, (b, t)).transpose(1, 2)


class Critic(nn.Module):
    """A clip to a score."""

    def __init__(self, channels: int, widths: list[int], last_frames: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv3d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv3d(a, b, 4, 2, 1, bias=False), nn.BatchNorm3d(b), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv3d(widths[-1], 1, (last_frames, 4, 4), bias=False))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B,)."""
        scores: torch.Tensor = self.layers(clips).flatten()
        return scores


@torch.no_grad()
def clip_singular_values(network: nn.Module) -> None:
    """No singular value of a layer beyond 1, nor a gain of batch norm beyond the deviation that it divides by.

    A convolution counts as the matrix of its output features by all else; gains stay above a hundredth of the deviation
    (section 3.2).
    """
    for layer in network.modules():
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            matrix = layer.weight.flatten(1).float()
            # From the eigenvectors of the smaller Gram matrix, whose eigenvalues are the squares.
            tall = matrix.shape[0] > matrix.shape[1]
            with float32(matrix.device):
                values, vectors = torch.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)
                shrink = values.clamp(min=1e-12).rsqrt().clamp(max=1.0)
                project = (vectors * shrink) @ vectors.T
                clipped = matrix @ project if tall else project @ matrix
            layer.weight.copy_(clipped.view_as(layer.weight))
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            assert layer.running_var is not None
            deviation = (layer.running_var + layer.eps).sqrt()
            layer.weight.copy_(torch.minimum(torch.maximum(layer.weight, 0.01 * deviation), deviation))


class TGAN(FixedLength):
    """TGAN.

    Args:
        resolution: H = W, a power of two; 64 in the paper.
        frames: T, a power of two of at least 4, and at least resolution / 4; 16 in the paper.
        channels: C, 1 or 3.
        latent_size: Z, of the clip and of a frame.
        width: features of the last stage of the image generator; they double towards 4x4. The critic begins with twice
            as many.
        temporal_width: features of the last layers of the temporal generator.
        discriminator: whether there is one; released weights come without.
    """

    def __init__(
        self,
        *,
        resolution: int = 64,
        frames: int = 16,
        channels: int = 3,
        latent_size: int = 100,
        width: int = 32,
        temporal_width: int = 128,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(channels, latent_size=latent_size, width=width, temporal_width=temporal_width)
        levels = levels_of(resolution)
        if frames < max(4, 1 << levels) or frames & (frames - 1):
            least = max(4, 1 << levels)
            raise ValueError(f"frames must be a power of two of at least {least} at {resolution} pixels, not {frames}")
        self.image_shape, self.frames, self.latent_size = (channels, resolution, resolution), frames, latent_size
        widths = [width << i for i in range(levels)]
        self.temporal = TemporalGenerator(latent_size, temporal_width, frames)
        self.image = ImageGenerator(latent_size, widths[::-1], channels)
        doubled = [2 * w for w in widths]
        self.discriminator = Critic(channels, doubled, frames >> levels) if discriminator else None
        initialise(self, DEVIATION)

    def clips(self, z: torch.Tensor) -> torch.Tensor:
        """Latents (B, Z) of -1 to 1 to clips (B, C, T, H, W) of -1 to 1."""
        frames: torch.Tensor = self.image(z, self.temporal(z))
        return frames

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]:
        return {"z": [(self.latent_size,)]}

    def latent_of(self, request: SampleRequest) -> torch.Tensor:
        """z (B, Z), uniform from -1 to 1."""
        return 2 * request.uniform(self.latent_size) - 1

    def draw(self, request: SampleRequest) -> torch.Tensor:
        """The clips of a request, (B, T, C, H, W), uint8."""
        self.check_frames(request)
        return self.cut(self.clips(self.z_of(request)), request)
