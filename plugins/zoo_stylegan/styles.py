"""What StyleGAN and StyleGAN2 have in common: w, style slots, noise, and what one does with them.

Shapes: B batch, C colour channels, H, W height and width, Z latent size, D size of w, S style slots.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from zoo_stylegan.gan import GAN
from zoo_stylegan.mapping import Mapping

Noise = Callable[[int, int], torch.Tensor]  # layer and size -> (B or 1, 1, size, size)


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, mapping: Mapping, synthesis: nn.Module) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis


class StyleBased(GAN):
    """A GAN whose generator maps z to w, and w, once for each style slot, to pictures."""

    generator: Generator
    style_mixing_prob: float = 0.0

    @property
    def slots(self) -> int:
        """S, styles of a picture."""
        return self.generator.synthesis.slots

    def styles(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        """Latents (B, Z) and classes (B,) to (B, S, D)."""
        return self.generator.mapping(z, label).unsqueeze(1).expand(-1, self.slots, -1)

    def mixed_styles(self, z: torch.Tensor, label: torch.Tensor | None, probability: float, lod: float) -> torch.Tensor:
        """As `styles`; with some probability the slots from a random one on take a second latent (section 3.1).

        The mean of w follows in passing, as it does in training.
        """
        w = self.generator.mapping(z, label)
        self.generator.mapping.track(w)
        slots = w.unsqueeze(1).expand(-1, self.slots, -1)
        active = self.slots - 2 * int(lod)
        chance, where = torch.rand(2).tolist()
        if probability <= chance or active < 2:
            return slots
        cut = 1 + int(where * (active - 1))
        other = self.generator.mapping(torch.randn_like(z), label).unsqueeze(1)
        return torch.cat([slots[:, :cut], other.expand(-1, self.slots - cut, -1)], 1)

    def fresh_noise(self, batch: int) -> Noise:
        """New noise for each picture and layer."""
        return lambda layer, size: torch.randn(batch, 1, size, size, device=self.device)

    def draw(self, z: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0) -> torch.Tensor:
        return self.generator.synthesis(self.styles(z, label), self.fresh_noise(len(z)), lod)
