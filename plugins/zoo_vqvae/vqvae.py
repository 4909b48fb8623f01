"""The autoencoder of VQ-VAE-2: Razavi, van den Oord, Vinyals, Generating Diverse High-Fidelity Images with VQ-VAE-2,
NeurIPS 2019, arXiv 1906.00446, section 3.1, algorithm 1.

Against VQ-VAE (arXiv 1711.00937): maps of codes on several levels. The top one is encoded first; each lower one is
encoded given those above it, so that it needs to hold only what they lack. With one level it is VQ-VAE.

Three levels follow the same rule as two. Left out: what the paper leaves open for 1024 pixels.

Shapes: B batch, C colour channels, H, W height and width, D size of a code vector, K codes, h, w height and width of a
map of codes. Levels are counted from the top, 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from zoo_vqvae.quantise import Quantiser

STRIDES = (2, 4, 8)
NAMES = {1: ("codes",), 2: ("top", "bottom"), 3: ("top", "middle", "bottom")}  # of the levels, by their number


class Residual(nn.Module):
    """x + conv 1x1(ReLU(conv 3x3(ReLU(x))))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, hidden, 3, 1, 1), nn.ReLU(), nn.Conv2d(hidden, width, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, h, w) -> the same shape."""
        return x + self.layers(x)


def encoder(channels: int, width: int, hidden: int, blocks: int, stride: int) -> nn.Sequential:
    """(B, channels, H, W) -> (B, width, H / stride, W / stride)."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width // 2, 4, 2, 1), nn.ReLU()]
    features = width // 2
    while stride > 2:
        layers += [nn.Conv2d(features, width, 4, 2, 1), nn.ReLU()]
        features, stride = width, stride // 2
    layers.append(nn.Conv2d(features, width, 3, 1, 1))
    return nn.Sequential(*layers, *(Residual(width, hidden) for _ in range(blocks)), nn.ReLU())


def decoder(inputs: int, outputs: int, width: int, hidden: int, blocks: int, stride: int) -> nn.Sequential:
    """(B, inputs, h, w) -> (B, outputs, h * stride, w * stride)."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 3, 1, 1)]
    layers += [*(Residual(width, hidden) for _ in range(blocks)), nn.ReLU()]
    features = width
    while stride > 2:
        wider = width if stride > 4 else width // 2
        layers += [nn.ConvTranspose2d(features, wider, 4, 2, 1), nn.ReLU()]
        features, stride = wider, stride // 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(features, outputs, 4, 2, 1))


@dataclass
class Coded:
    """A batch of pictures through the autoencoder, lists from the top level down.

    Attributes:
        vectors: what was quantised, (B, D, h, w) each.
        codes: (B, h, w) each.
        images: the reconstruction, (B, C, H, W) of -1 to 1.
        commitment: the mean of (z - e)^2, which draws the encoder to its codes, summed over levels.
    """

    vectors: list[torch.Tensor]
    codes: list[torch.Tensor]
    images: torch.Tensor
    commitment: torch.Tensor


class Autoencoder(nn.Module):
    """Pictures to one to three maps of codes, and back.

    Args:
        image_shape: (C, H, W).
        n_levels: 1 to 3; each level above the bottom has half its height and width.
        stride: pixels along one side of a code of the bottom level: 2, 4 or 8.
        width: features of the hidden layers, even.
        residual_width: features within a residual block.
        n_residual: residual blocks of each encoder and decoder.
        codes: K of each level.
        code_size: D.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        n_levels: int,
        stride: int,
        width: int,
        residual_width: int,
        n_residual: int,
        codes: int,
        code_size: int,
    ) -> None:
        super().__init__()
        self.code_shapes = code_shapes(image_shape, n_levels, stride)
        if width < 2 or width % 2 or min(residual_width, code_size) < 1 or n_residual < 0:
            raise ValueError(f"width must be even and at least 2, not {width}, and other sizes at least 1")
        channels, self.n_levels, d = image_shape[0], n_levels, code_size
        sizes = (width, residual_width, n_residual)
        bottom = n_levels - 1
        self.encoders = nn.ModuleList(
            encoder(channels if i == bottom else width, *sizes, stride if i == bottom else 2) for i in range(n_levels)
        )
        self.to_codes = nn.ModuleList(nn.Conv2d(width + (d if i else 0), d, 1) for i in range(n_levels))
        self.quantisers = nn.ModuleList(Quantiser(codes, d) for _ in range(n_levels))
        merged = [d if i == 0 else 2 * d for i in range(n_levels)]  # features of all codes down to a level
        self.conditioners = nn.ModuleList(decoder(merged[i], d, *sizes, 2) for i in range(bottom))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(merged[i], d, 4, 2, 1) for i in range(bottom))
        self.decoder = decoder(merged[bottom], channels, *sizes, stride)

    def encode(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """Algorithm 1: pictures (B, C, H, W) of -1 to 1 to vectors, codes, all levels merged for the decoder, and the
        commitment loss; see `Coded`."""
        features: list[torch.Tensor] = []
        x = images
        for network in reversed(self.encoders):
            x = network(x)
            features.insert(0, x)
        vectors, codes, merged = [], [], None
        commitment = torch.zeros((), device=images.device)
        for i in range(self.n_levels):
            x = features[i]
            if merged is not None:
                x = torch.cat([self.conditioners[i - 1](merged), x], 1)
            z = self.to_codes[i](x)
            quantised, found = self.quantisers[i](z)
            commitment = commitment + F.mse_loss(z.float(), quantised.detach().float())
            vectors.append(z)
            codes.append(found)
            merged = quantised if merged is None else torch.cat([self.ups[i - 1](merged), quantised], 1)
        assert merged is not None
        return vectors, codes, merged, commitment

    def forward(self, images: torch.Tensor) -> Coded:
        """Pictures (B, C, H, W) of -1 to 1, there and back."""
        vectors, codes, merged, commitment = self.encode(images)
        return Coded(vectors, codes, self.decoder(merged), commitment)

    def decode(self, codes: list[torch.Tensor], known: int | None = None) -> torch.Tensor:
        """Maps of codes (B, h, w), from the top level down, to pictures (B, C, H, W) of about -1 to 1.

        Args:
            known: how many codes of each picture, from the first of the top level on in raster order, are known; in
                place of the others stands the mean vector of their level. None is all.
        """
        merged = None
        for i, (quantiser, level) in enumerate(zip(self.quantisers, codes, strict=True)):
            vectors = quantiser.lookup(level)
            if known is not None:
                is_known = torch.arange(level[0].numel(), device=level.device).view(level.shape[1:]) < known
                vectors = torch.where(is_known, vectors, quantiser.mean()[:, None, None])
                known -= level[0].numel()
            merged = vectors if merged is None else torch.cat([self.ups[i - 1](merged), vectors], 1)
        return self.decoder(merged)


def code_shapes(image_shape: tuple[int, int, int], n_levels: int, stride: int) -> list[tuple[int, int]]:
    """(h, w) of every level's map of codes, from the top down; raises ValueError for sizes that do not divide."""
    if n_levels not in NAMES or stride not in STRIDES:
        raise ValueError(f"n_levels must be 1 to 3 and stride 2, 4 or 8, not {n_levels} and {stride}")
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be (channels, height, width), all at least 1, not {image_shape}")
    _, height, width = image_shape
    whole = stride << (n_levels - 1)
    if height % whole or width % whole:
        raise ValueError(f"height and width must be multiples of {whole}, not {height} and {width}")
    sides = [stride << (n_levels - 1 - i) for i in range(n_levels)]
    return [(height // side, width // side) for side in sides]
