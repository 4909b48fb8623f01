"""The mapping network of StyleGAN and StyleGAN2: z to w (Karras, Laine, Aila, arXiv 1812.04948, section 2).

Shapes: B batch, Z latent size, D size of w, S style slots, K classes.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from zoo.precision import float32
from zoo_stylegan.gan import one_hot
from zoo_stylegan.layers import ROOT2, EqualizedLinear, pixel_norm

MEAN_DECAY = 0.995  # of the moving average of w


class Mapping(nn.Module):
    """z, and an embedded class beside it, through dense layers that learn at a hundredth of the rate.

    A class is embedded and normalised on its own, as in StyleGAN2-ADA; StyleGAN normalises z and class together.

    Args:
        latent_size, w_size, layers, classes: Z, D, number of dense layers, K.
    """

    mean_w: torch.Tensor

    def __init__(self, latent_size: int, w_size: int, layers: int, classes: int = 0) -> None:
        super().__init__()
        if w_size < 1 or layers < 0:
            raise ValueError(f"w_size must be at least 1, and mapping_layers not negative, not {w_size} and {layers}")
        self.classes = classes
        self.embed = EqualizedLinear(classes, w_size) if classes else None
        sizes = [latent_size + (w_size if classes else 0), *[w_size] * layers]
        self.layers = nn.ModuleList(EqualizedLinear(i, o, rate=0.01) for i, o in itertools.pairwise(sizes))
        self.register_buffer("mean_w", torch.zeros(sizes[-1]))

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        """(B, Z) and (B,) to w, (B, D), in float32 whatever the precision of the rest, as in StyleGAN2-ADA."""
        with float32(z.device):
            x = pixel_norm(z.float())
            if self.embed is not None and label is not None:
                x = torch.cat([x, pixel_norm(self.embed(one_hot(label, self.classes)))], 1)
            for layer in self.layers:
                x = F.leaky_relu(layer(x), 0.2) * ROOT2
            return x

    @torch.no_grad()
    def track(self, w: torch.Tensor) -> None:
        """Let `mean_w` follow a batch (B, D)."""
        self.mean_w.lerp_(w.float().mean(0), 1 - MEAN_DECAY)


def truncate(
    w: torch.Tensor, mean: torch.Tensor, truncation: float | torch.Tensor, slots: int | None = None
) -> torch.Tensor:
    """Pull w (B, S, D) towards the mean (D,) (section 4.2 and appendix B): mean + truncation (w - mean).

    Args:
        w: of each slot.
        mean: `Mapping.mean_w`.
        truncation: psi; 1 leaves w as it is. A number, or (B,).
        slots: how many of the first slots it concerns; all if None.
    """
    psi = torch.as_tensor(truncation, dtype=w.dtype, device=w.device).view(-1, 1, 1)
    truncated = mean + psi * (w - mean)
    return truncated if slots is None else torch.cat([truncated[:, :slots], w[:, slots:]], 1)
